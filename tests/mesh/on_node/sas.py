"""Print charon's IKE_SAs as a JSON list, straight from VICI, through none of our own code."""

import json
from typing import Any

import vici


def plain(value: Any) -> Any:  # noqa: ANN401 - a VICI message has any depth
    """Turn bytes into text, at any depth."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


listed = [(name, sa) for message in vici.Session().list_sas() for name, sa in message.items()]
print(json.dumps([{"name": name, **plain(sa)} for name, sa in listed]))  # noqa: T201
