"""Load one connection into charon by hand and start its children, or forget it again.

Given: ``name`` and ``config`` (a swanctl section whose ``cacerts`` are names of files), ``start``
(children to initiate), or ``forget`` alone. Printed: charon's answer for each child started, None
when it came up.
"""

import json
import ssl
import sys
from pathlib import Path

import vici
from vici.exception import CommandException

TRUST = Path("/etc/swanctl/x509ca")

given = json.loads(sys.argv[1])
session = vici.Session()
answers: dict[str, str | None] = {}
if given.get("forget"):
    session.unload_conn({"name": given["forget"]})
    for sa in [sa for message in session.list_sas() for sa in message.items()]:
        if sa[0] == given["forget"]:
            list(session.terminate({"ike-id": sa[1]["uniqueid"].decode(), "timeout": "5000"}))
else:
    config = given["config"]
    names = config["remote"]["cacerts"]
    certificates = [(TRUST / name).read_text(encoding="ascii") for name in names]
    config["remote"]["cacerts"] = [ssl.PEM_cert_to_DER_cert(text) for text in certificates]
    session.load_conn({given["name"]: config})
    for child in given["start"]:
        request = {"ike": given["name"], "child": child, "timeout": "8000", "init-limits": "no"}
        try:
            list(session.initiate(request))
            answers[child] = None
        except CommandException as error:
            answers[child] = str(error)
print(json.dumps(answers))  # noqa: T201
