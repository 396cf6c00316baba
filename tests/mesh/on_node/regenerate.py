"""Give charon, by the product's own way, a pair's connection with other content.

Given: ``peer`` and ``change``: ``lifetime`` (fewer octets for a tunnel's keys) or ``CA`` (another
pinned root behind the same connection). Printed: what became of each connection.
"""

import hashlib
import json
import sys

from paranal.agreement import connections as agreed
from paranal.tunnels.anchors import declared_here
from paranal.tunnels.charon import Charon
from paranal.tunnels.gateway import read_view
from paranal.tunnels.reconcile import reconcile, swanctl_load_credentials
from paranal.tunnels.record import Declared, Paths, read_record

WAIT_SECONDS = 20
paths, given, view = Paths(), json.loads(sys.argv[1]), read_view()
if given["change"] == "lifetime":
    agreed.LIFE_BYTES //= 2
    changed = declared_here(view, paths)
else:
    roots = {
        peer["code"]: hashlib.sha256(f"another root of {peer['code']}".encode()).hexdigest()
        for peer in view["peers"]
    }
    changed = agreed.connections(view, roots)
record = read_record(paths)
others = [
    Declared(connection=held["connection"], text=held["text"])
    for held in record.held.values()
    if held["connection"]["peer"] != given["peer"]
]
mine = [
    Declared(connection=one, text=agreed.to_swanctl(one) + "\n")
    for one in changed
    if one["peer"] == given["peer"]
]
with paths.alone(wait=True), Charon() as charon:
    done = reconcile(
        charon,
        [*others, *mine],
        paths,
        {},  # no preshared key: what a pair of this profile has not
        wait_seconds=WAIT_SECONDS,
        load_credentials=swanctl_load_credentials,
    )
print(json.dumps(done.states))  # noqa: T201
