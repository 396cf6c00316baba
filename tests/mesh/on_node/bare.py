"""Take every trap and every IKE_SA from charon by hand; print how many traps are left."""

import contextlib
import json

import vici
from vici.exception import CommandException

session = vici.Session()
traps = [trap for listed in session.list_policies({"trap": "yes"}) for trap in listed.values()]
for trap in traps:
    session.uninstall({"ike": trap["ike"], "child": trap["child"]})
names = [name for listed in session.list_sas() for name in listed]
for name in names:
    with contextlib.suppress(CommandException):  # the peer was first
        list(session.terminate({"ike": name, "force": "yes", "timeout": "2000"}))
print(json.dumps(len(list(session.list_policies({"trap": "yes"})))))  # noqa: T201
