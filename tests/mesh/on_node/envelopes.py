"""Sign and open envelopes with the node's own ``paranal.signing``, as whoever runs this.

Given: ``typ``, the kind of all of them, and ``sign`` ({file of the signer: payload}) or ``open``
({name: [envelope, code of the member who must have signed]}). Printed, as JSON: what each gave, an
envelope or a payload, or the code that refuses it. With ``until``, a name of ``open``: opens all
over and over, as a service does that follows its files, until that one is refused; printed: ``at``
(seconds since 1970) and ``last``, what the last turn gave.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paranal.messages import Refusal
from paranal.serving.view import View, load
from paranal.signing import envelope
from paranal.signing.trust import Senders

WAIT_SECONDS = 60.0
given = json.loads(sys.argv[1])
view = load(Path("/etc/paranal/view.json"), View)
senders = Senders()


def signed(file: str, payload: str) -> str:
    """Return the envelope of a payload."""
    try:
        return envelope.sign(payload.encode(), given["typ"], envelope.read_signer(Path(file)))
    except Refusal as refusal:
        return refusal.code


def opened(text: str, code: str) -> str:
    """Return what a member signed."""
    try:
        member = view.member if view.member.code == code else view.peer(code)
        found = envelope.opened(text.encode(), given["typ"], senders(member), datetime.now(UTC))
    except Refusal as refusal:
        return refusal.code
    return found.payload.decode()


def looked() -> dict[str, str]:
    """Open all."""
    return {name: opened(*each) for name, each in given["open"].items()}


printed: dict[str, Any]
if "sign" in given:
    printed = {file: signed(file, payload) for file, payload in given["sign"].items()}
elif "until" in given:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (last := looked())[given["until"]].startswith("PAR-"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    printed = {"at": time.time(), "last": last}
else:
    printed = looked()
print(json.dumps(printed))  # noqa: T201
