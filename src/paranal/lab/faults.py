"""Faults on the lines: an impaired WAN, cables pulled, members parted, and who attacks from it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import permutations, product
from typing import Any

from paranal.lab import hostile, names, packets, relay, tampering, wiring
from paranal.lab.containers import RELAY_FOLDER
from paranal.lab.lab import Lab
from paranal.messages import Refusal

_ANSWER_SECONDS = 5.0
_ATTACKERS = (hostile, packets)
MTU = packets.MTU
LEAST_MTU = 1280
"""IPv6 needs as much of every link (RFC 8200)."""


def impair(lab: Lab, line: relay.Impairment) -> dict[str, Any]:
    """Make every WAN link what ``line`` says, each way, and return the relay's state."""
    return _ask_relay(lab, json.dumps(asdict(line)))


def set_link(lab: Lab, member: str, state: str) -> None:
    """Pull (``down``) or plug (``up``) a member's WAN cable at the provider's end."""
    _member(lab, member)
    wiring.set_link(lab.wan_pid(), names.wan_link(member), state)


def flap(lab: Lab, member: str, times: int, seconds: float) -> None:
    """Pull and plug a member's WAN cable ``times`` times, half a period each; it ends plugged."""
    try:
        for _ in range(times):
            for state in ("down", "up"):
                set_link(lab, member, state)
                time.sleep(seconds / 2)
    finally:
        set_link(lab, member, "up")


def lose(lab: Lab, directions: Iterable[tuple[str, str]]) -> None:
    """Lose everything that the first of each two members sends the second, without telling it."""
    wanted = {f"lost {one} {other}": (one, other) for one, other in directions}
    rules = []
    for name, (one, other) in wanted.items():
        if one == other:
            raise Refusal("PAR-0218", reason=f"{one} | {other}")
        rules.append((name, tampering.lost(_address(lab, one), _address(lab, other))))
    _tamper(lab, rules)


def partition(lab: Lab, *groups: Sequence[str]) -> None:
    """Part each group of members from every other group, both ways."""
    lose(lab, (pair for two in permutations(groups, 2) for pair in product(*two)))


def isolate(lab: Lab, member: str) -> None:
    """Part one member from all others."""
    partition(lab, [member], [other for other in lab.facts()["members"] if other != member])


def narrow(lab: Lab, member: str, octets: int, *, silent: bool) -> None:
    """Let only packets of ``octets`` at most through a member's WAN link.

    Both ends of the cable know, and the provider tells senders by ICMP; ``silent``: nobody knows
    and nobody is told. Raises ``Refusal`` PAR-0218 for what IP cannot do with.
    """
    if not LEAST_MTU <= octets < MTU:
        raise Refusal("PAR-0218", reason=f"mtu {octets}: {LEAST_MTU} ... {MTU - 1}")
    address = _address(lab, member)
    if silent:
        rules = tampering.narrow(address, octets)
        _tamper(lab, [(f"mtu {member} {octets}", rule) for rule in rules])
    else:
        _set_mtu(lab, member, octets)


def downgrade(lab: Lab, what: str) -> None:
    """Put a man in the middle who edits ``what`` (``tampering.DOWNGRADES``) in IKE_SA_INIT."""
    _tamper(lab, [(f"downgrade {what}", rule) for rule in tampering.edited(what)])


def attack(lab: Lab, kind: str, member: str, sources: Sequence[str] = (), **asked: object) -> None:
    """Start an attack (``hostile``) on a member under the addresses of ``sources``.

    Without a source, all its peers'. ``asked`` is what the kind needs, or other addresses to write
    into the packets: ``target``, ``under``. Raises ``Refusal`` PAR-0243 while another goes on.
    """
    if hostile.running(lab.home.wan):
        raise Refusal("PAR-0243", lab=lab.name)
    members = lab.facts()["members"]
    peers = list(sources) or [code for code in members if code != member]
    order = {
        "kind": kind,
        "member": member,
        "target": _address(lab, member),
        "via": _address(lab, member),
        "under": [_address(lab, code) for code in peers],
        "link": names.wan_link(peers[0]),
        **asked,
    }
    folder = lab.home.wan / "paranal" / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    for module in _ATTACKERS:
        shutil.copy(str(module.__file__), folder)
    program = ("python3", "-sm", hostile.__name__, json.dumps(order), RELAY_FOLDER)
    lab.exec(names.WAN, "env", f"PYTHONPATH={RELAY_FOLDER}", "PYTHONDONTWRITEBYTECODE=1", *program)


def replay(
    lab: Lab, one: str, other: str, count: int, after: float, copies: int, ahead: int = 0
) -> None:
    """Take ``count`` ESP packets from one to another off the line; send them ``after`` seconds.

    ``ahead`` forges their sequence numbers (``hostile.replay``).
    """
    asked = {"count": count, "after": after, "copies": copies, "ahead": ahead}
    attack(lab, "replay", other, [one], **asked)


def attacked(lab: Lab) -> dict[str, Any] | None:
    """Return the present or last attack with what it ``counted``, None before the first."""
    try:
        found: dict[str, Any] = json.loads((lab.home.wan / hostile.REPORT).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return {**found, "ended": not hostile.running(lab.home.wan)}


def clear(lab: Lab) -> None:
    """Remove every fault: perfect line, all links up and wide, nobody parted, nobody attacking."""
    last = attacked(lab)
    if last and not last["ended"]:
        lab.exec(names.WAN, "kill", str(last["pid"]))
    impair(lab, relay.Impairment())
    _nft(lab, tampering.CLEAR)
    for member in lab.facts()["members"]:
        wiring.set_link(lab.wan_pid(), names.wan_link(member), "up")
    for member in _narrowed(lab):
        _set_mtu(lab, member, MTU)


def present(lab: Lab) -> dict[str, Any]:
    """Return the faults as the relay, the kernel and the attacker tell them.

    ``{"line": impairment, "counters": {...}, "links_down": [member], "partitions": [[a, b]],
    "oneway": [[from, to]], "mtu": {member: octets}, "silent_mtu": {member: octets},
    "downgrades": [what], "caught": {"lost co pe": packets, ...},
    "attack": None | {"kind", "member", "counted", ...}}``
    """
    members = lab.facts()["members"]
    down = wiring.links_down(lab.wan_pid(), [names.wan_link(member) for member in members])
    line = _ask_relay(lab, "")
    caught = _caught(lab)
    words: dict[str, list[list[str]]] = {"lost": [], "mtu": [], "downgrade": []}
    for name in caught:
        kind, *rest = name.split()
        words[kind].append(rest)
    lost = sorted(words["lost"])
    last = attacked(lab)
    return {
        **line,
        "links_down": [member for member in members if names.wan_link(member) in down],
        "partitions": [pair for pair in lost if pair == sorted(pair) and pair[::-1] in lost],
        "oneway": [pair for pair in lost if pair[::-1] not in lost],
        "mtu": _narrowed(lab),
        "silent_mtu": {member: int(octets) for member, octets in words["mtu"]},
        "downgrades": [what for (what,) in words["downgrade"]],
        "caught": caught,
        "attack": last if last and not last["ended"] else None,
    }


def _member(lab: Lab, code: str) -> dict[str, Any]:
    members = lab.facts()["members"]
    if code not in members:
        raise Refusal("PAR-0213", part=code, lab=lab.name, parts=", ".join(sorted(members)))
    return lab.agreement().members[code]


def _address(lab: Lab, code: str) -> str:
    return str(_member(lab, code)["wan_address"])


def _tamper(lab: Lab, rules: Sequence[tuple[str, str]]) -> None:
    """Add the rules whose name is not there yet."""
    there = _caught(lab)
    _nft(lab, tampering.script(rule for rule in rules if rule[0] not in there))


def _caught(lab: Lab) -> dict[str, int]:
    lab.wan_pid()  # refused (PAR-0212) when the namespace has gone
    listing = lab.exec(names.WAN, "nft", "--json", "list", "ruleset")
    return tampering.present(listing.stdout.decode())


def _nft(lab: Lab, script: str) -> None:
    lab.exec(names.WAN, "nft", "--file", "-", given=script.encode())


def _set_mtu(lab: Lab, member: str, octets: int) -> None:
    for part, link in ((names.WAN, names.wan_link(member)), (member, "wan")):
        lab.exec(part, "ip", "link", "set", "dev", link, "mtu", str(octets))


def _narrowed(lab: Lab) -> dict[str, int]:
    links = json.loads(lab.exec(names.WAN, "ip", "-json", "link", "show").stdout)
    mtus = {link["ifname"]: int(link["mtu"]) for link in links}
    members = lab.facts()["members"]
    found = {member: mtus[names.wan_link(member)] for member in members}
    return {member: octets for member, octets in found.items() if octets < MTU}


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
