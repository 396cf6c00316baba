"""Stop one of our modules while it changes the node; print its process id.

Given: ``number`` (of the modules that take the node in turn, from 1), ``after`` (a file; they count
from the one that is next when ``mark`` is in it no more, "" for the first of all), ``seconds``
(after it took the node) and ``within`` (seconds, for it to come). Printed: the process that is
stopped there, or null when none came or when it had ended by then.
"""

import fcntl
import json
import os
import signal
import struct
import sys
import time
from pathlib import Path

WORKING = "/var/lib/paranal/node/working"
LAYOUT = "hhqqi4x"
"""``struct flock``: kind, whence, start, length, process."""

given = json.loads(sys.argv[1])
file = os.open(WORKING, os.O_RDWR | os.O_CREAT, 0o600)
until = time.monotonic() + given["within"]


def at_work() -> int:
    """Return the process that holds the node for a change, 0 when none does."""
    asked = struct.pack(LAYOUT, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, process = struct.unpack(LAYOUT, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else process


def nth(number: int) -> int:
    """Wait for the module of that number; return its process, 0 when time is over."""
    last, seen = at_work(), 0
    while time.monotonic() < until:
        if (now := at_work()) not in (0, last):
            seen += 1
            if seen == number:
                return now
        last = now or last
    return 0


while given["after"] and given["mark"] in Path(given["after"]).read_text(encoding="utf-8"):
    time.sleep(0.01)
    if time.monotonic() > until:
        break
process = nth(given["number"])
time.sleep(given["seconds"])
alive = process != 0 and at_work() == process
if alive:
    os.kill(process, signal.SIGSTOP)
print(json.dumps(process if alive else None))  # noqa: T201
