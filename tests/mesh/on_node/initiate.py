"""Have charon initiate one childless IKE_SA with credentials given for this once.

Given: ``local``, ``remote`` (addresses), ``local_id``, ``remote_id``, ``proposal``, ``root`` (the
peer's CA, a file), ``key`` and ``certificate`` (PEM, or files). Printed: ``up`` and charon's own
``log`` of the attempt. Whatever came up is ended, and what was loaded is unloaded, again.
"""

import contextlib
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import vici
from vici.exception import CommandException

NAME = "for-this-once"


def pem(given: str) -> str:
    """Return PEM text that is given itself or as a file's path."""
    return given if given.startswith("-----") else Path(given).read_text(encoding="ascii")


def der(given: str) -> bytes:
    """Return the first certificate of a PEM text as DER."""
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(pem(given).partition(end)[0].strip() + "\n" + end)


def attempt(session: vici.Session, given: dict[str, Any]) -> dict[str, Any]:
    """Load, initiate, and tell."""
    session.load_conn(
        {
            NAME: {
                "version": "2",
                "local_addrs": [given["local"]],
                "remote_addrs": [given["remote"]],
                "proposals": [given["proposal"]],
                "childless": "force",
                "local": {
                    "auth": "pubkey",
                    "id": given["local_id"],
                    "certs": [der(given["certificate"])],
                },
                "remote": {
                    "auth": "pubkey",
                    "id": given["remote_id"],
                    "cacerts": [der(given["root"])],
                },
            }
        }
    )
    log: list[str] = []
    request = {"ike": NAME, "timeout": "8000", "loglevel": "1", "init-limits": "no"}
    try:
        for message in session.initiate(request):
            log.append(message["msg"].decode())
    except CommandException as error:
        return {"up": False, "log": [*log, str(error)]}
    return {"up": True, "log": log}


session = vici.Session()
given = json.loads(sys.argv[1])
key = session.load_key({"type": "any", "data": pem(given["key"])})["id"]
try:
    print(json.dumps(attempt(session, given)))  # noqa: T201
finally:
    with contextlib.suppress(CommandException):
        session.unload_conn({"name": NAME})
    with contextlib.suppress(CommandException):  # nothing came up, or the peer ended it first
        list(session.terminate({"ike": NAME, "timeout": "5000"}))
    if given["key"].startswith("-----"):
        session.unload_key({"id": key})
