"""Have charon keep ever more over VICI, until it ends or keeps ``pieces`` (given) of 60 KiB.

Printed: how many it kept. One without memory may first close a connection only.
"""

import json
import sys
from contextlib import suppress

import vici

PIECE = bytes(60 * 1024)
given = json.loads(sys.argv[1])
kept = 0
with suppress(OSError):
    while kept < given["pieces"]:
        session = vici.Session()
        with suppress(OSError):
            while kept < given["pieces"]:
                session.load_shared({"id": f"fill-{kept}", "type": "EAP", "data": PIECE})
                kept += 1
print(kept)  # noqa: T201
