"""Faults on the lines: an impaired WAN, a link that is down, two members parted."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from typing import Any

from paranal.lab import names, relay, wiring
from paranal.lab.lab import Lab
from paranal.messages import Refusal

_ANSWER_SECONDS = 5.0


def impair(lab: Lab, line: relay.Impairment) -> dict[str, Any]:
    """Make every WAN link what ``line`` says, each way, and return the relay's state."""
    return _ask_relay(lab, json.dumps(asdict(line)))


def set_link(lab: Lab, member: str, state: str) -> None:
    """Pull (``down``) or plug (``up``) a member's WAN cable at the provider's end."""
    _member(lab, member)
    wiring.set_link(lab.wan_pid(), names.wan_link(member), state)


def partition(lab: Lab, one: str, other: str) -> None:
    """Drop everything that two members send each other, both ways, without telling them."""
    if one == other:
        raise Refusal("PAR-0218", reason=f"partition {one} {other}")
    addresses = [str(_member(lab, code)["wan_address"]) for code in (one, other)]
    wiring.part_addresses(lab.wan_pid(), *addresses)


def clear(lab: Lab) -> None:
    """Remove every fault: perfect line, all links up, nobody parted."""
    impair(lab, relay.Impairment())
    wan = lab.wan_pid()
    wiring.heal_addresses(wan)
    for member in lab.facts()["members"]:
        wiring.set_link(wan, names.wan_link(member), "up")


def present(lab: Lab) -> dict[str, Any]:
    """Return the faults as the relay and the kernel tell them.

    ``{"line": impairment, "counters": {...}, "links_down": [member], "partitions": [[a, b]]}``
    """
    members = lab.facts()["members"]
    by_address = {str(_member(lab, code)["wan_address"]): code for code in members}
    wan = lab.wan_pid()
    down = wiring.links_down(wan, [names.wan_link(member) for member in members])
    pairs = {
        tuple(sorted((by_address[one], by_address[other]))) for one, other in wiring.partitions(wan)
    }
    return {
        **_ask_relay(lab, ""),
        "links_down": [member for member in members if names.wan_link(member) in down],
        "partitions": sorted(list(pair) for pair in pairs),
    }


def _member(lab: Lab, code: str) -> dict[str, Any]:
    members = lab.facts()["members"]
    if code not in members:
        raise Refusal("PAR-0213", part=code, lab=lab.name, parts=", ".join(sorted(members)))
    return lab.agreement().members[code]


def _ask_relay(lab: Lab, request: str) -> dict[str, Any]:
    """Send one line to the relay and return its answer. Raises ``Refusal`` PAR-0217."""
    lab.facts()
    folder = os.open(lab.home.wan, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(_ANSWER_SECONDS)
            # Through the descriptor: a socket's own path may not be longer than 107 bytes.
            control.connect(f"/proc/self/fd/{folder}/{relay.SOCKET_NAME}")
            control.sendall(f"{request}\n".encode())
            with control.makefile("r", encoding="utf-8") as lines:
                state: dict[str, Any] = json.loads(lines.readline())
    except (OSError, ValueError) as error:
        raise Refusal("PAR-0217", lab=lab.name, reason=error) from None
    finally:
        os.close(folder)
    if "error" in state:
        raise Refusal("PAR-0217", lab=lab.name, reason=state["error"])
    return state
