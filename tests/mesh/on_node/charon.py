"""Print charon's IKE_SAs (given ``ask``: ``sas``) or its loaded connections (``connections``).

Straight from VICI, through none of our own code: a list of ``[name, entry]``.
"""

import json
import sys
from typing import Any

import vici


def plain(value: Any) -> Any:  # noqa: ANN401 - a VICI message has any depth
    """Turn bytes into text, at any depth."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


session = vici.Session()
commands = {"sas": session.list_sas, "connections": session.list_conns}
answer = commands[json.loads(sys.argv[1])["ask"]]()
print(json.dumps([plain(list(item)) for message in answer for item in message.items()]))  # noqa: T201
