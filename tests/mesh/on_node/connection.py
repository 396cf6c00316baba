"""Load one connection into charon by hand and start its children, or forget it again.

Given: ``name`` and ``config`` (a swanctl section whose ``cacerts`` are names of files), ``start``
(children to initiate) and perhaps ``keys`` (preshared keys in hexadecimal digits, by name), or
``forget`` alone. Printed: charon's answer for each child started, None when it came up.
"""

import contextlib
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import vici
from vici.exception import CommandException

TRUST = Path("/etc/swanctl/x509ca")
session = vici.Session()


def load(name: str, config: dict[str, Any]) -> None:
    """Load the connection with its certificates read, as swanctl does."""
    texts = [(TRUST / file).read_text(encoding="ascii") for file in config["remote"]["cacerts"]]
    remote = {**config["remote"], "cacerts": [ssl.PEM_cert_to_DER_cert(text) for text in texts]}
    session.load_conn({name: {**config, "remote": remote}})


def hold(name: str, key: str) -> None:
    """Have charon know a preshared key, beside those it has."""
    session.load_shared(
        {"id": f"lent-{name}", "type": "ppk", "data": bytes.fromhex(key), "owners": [name]}
    )


def start(name: str, child: str) -> str | None:
    """Initiate a child; return why it did not come up."""
    try:
        list(
            session.initiate({"ike": name, "child": child, "timeout": "8000", "init-limits": "no"})
        )
    except CommandException as error:
        return str(error)
    return None


def forget(name: str) -> None:
    """Unload the connection and lent keys, end its SAs; not there, or the peer first, is fine."""
    for key in session.get_shared()["keys"]:
        if key.startswith(b"lent-"):
            session.unload_shared({"id": key.decode()})
    with contextlib.suppress(CommandException):
        session.unload_conn({"name": name})
    with contextlib.suppress(CommandException):
        list(session.terminate({"ike": name, "force": "yes", "timeout": "5000"}))


given = json.loads(sys.argv[1])
answers: dict[str, str | None] = {}
if "forget" in given:
    forget(given["forget"])
else:
    for key in given.get("keys", {}).items():
        hold(*key)
    load(given["name"], given["config"])
    answers = {child: start(given["name"], child) for child in given["start"]}
print(json.dumps(answers))  # noqa: T201
