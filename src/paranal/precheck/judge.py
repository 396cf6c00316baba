"""Does the line serve? Pure: from what one end knows to one check for each thing and way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from paranal.messages import Refusal
from paranal.precheck.knowledge import WANTED_PACKET, Clock, Knowledge
from paranal.precheck.message import Carrier

CLOCK_SECONDS = 5.0
"""How far two clocks may be apart (PKI-013)."""
PASS, FAIL, UNKNOWN, NOT_TESTED = "pass", "fail", "unknown", "not-tested"
IN, OUT = "in", "out"
"""From the peer to us, from us to the peer."""
NAMES = {Carrier.IKE: "UDP 500", Carrier.NAT: "UDP 4500", Carrier.ESP: "ESP"}


@dataclass(frozen=True)
class Check:
    """One thing that was tried, its verdict, and what there is to say of it."""

    name: str
    way: str
    """``in``, ``out``, or empty for what has no way."""
    verdict: str
    value: dict[str, Any] = field(default_factory=dict)
    finding: Refusal | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON data."""
        found = self.finding.as_dict() if self.finding else None
        head = {"name": self.name, "way": self.way or None, "verdict": self.verdict}
        return {**head, **self.value, "finding": found}


def judge(
    known: Knowledge, peer: str, without_esp: Refusal | None, unsent: dict[Carrier, str]
) -> list[Check]:
    """Return every check of a line to ``peer``.

    ``without_esp`` says why ESP was not tried though it is declared; ``unsent``, by carrier, why
    our own machine did not let a packet out.
    """
    carriers = [check for one in known.carriers for check in _carrier(known, one, peer, unsent)]
    if without_esp:
        carriers += [Check(NAMES[Carrier.ESP], way, UNKNOWN, {}, without_esp) for way in (IN, OUT)]
    elif Carrier.ESP not in known.carriers:
        carriers += [Check(NAMES[Carrier.ESP], way, NOT_TESTED) for way in (IN, OUT)]
    return [*carriers, _clock(known.clock), *_path_mtu(known)]


def verdict(checks: list[Check]) -> str:
    """Return the whole line's: what does not pass outweighs what is not known."""
    found = {check.verdict for check in checks}
    return next((one for one in (FAIL, UNKNOWN) if one in found), PASS)


def _carrier(
    known: Knowledge, carrier: Carrier, peer: str, unsent: dict[Carrier, str]
) -> Iterator[Check]:
    name = NAMES[carrier]
    arrives, confirmed = known.heard & carrier.bit, known.confirmed & carrier.bit
    if arrives:
        yield Check(name, IN, PASS)
    else:
        code = "PAR-1020" if known.heard else "PAR-1022"
        yield Check(name, IN, FAIL, {}, Refusal(code, name=name, peer=peer))
    if confirmed:
        yield Check(name, OUT, PASS)
    elif carrier in unsent:
        said = Refusal("PAR-1029", name=name, reason=unsent[carrier])
        yield Check(name, OUT, FAIL, {}, said)
    elif known.reported:
        yield Check(name, OUT, FAIL, {}, Refusal("PAR-1021", name=name, peer=peer))
    else:
        yield Check(name, OUT, UNKNOWN, {}, Refusal("PAR-1028", name=name, peer=peer))


def _clock(found: Clock | None) -> Check:
    if found is None:
        return Check("clock", "", UNKNOWN, {}, Refusal("PAR-1024"))
    value = {"ahead": round(found.ahead, 4), "uncertainty": round(found.uncertainty, 4)}
    most, least = (abs(found.ahead) + found.uncertainty, abs(found.ahead) - found.uncertainty)
    if most < CLOCK_SECONDS:
        return Check("clock", "", PASS, value)
    if least < CLOCK_SECONDS:
        return Check("clock", "", UNKNOWN, value, Refusal("PAR-1024"))
    seconds = f"{found.ahead:+.1f}"
    said = Refusal("PAR-1023", seconds=seconds, limit=CLOCK_SECONDS)
    return Check("clock", "", FAIL, value, said)


def _path_mtu(known: Knowledge) -> Iterator[Check]:
    bit = Carrier.NAT.bit
    found = {IN: known.peer_found, OUT: known.found or 0}
    passed = {
        IN: known.largest if known.heard & bit else 0,
        OUT: known.confirmed_octets if known.confirmed & bit else 0,
    }
    for way in (IN, OUT):
        value = {"octets": found[way] or passed[way], "exact": bool(found[way])}
        if value["octets"] >= WANTED_PACKET:
            yield Check("MTU", way, PASS, value)
        elif found[way]:
            code = {IN: "PAR-1025", OUT: "PAR-1026"}[way]
            said = Refusal(code, octets=found[way], wanted=WANTED_PACKET)
            yield Check("MTU", way, FAIL, value, said)
        else:
            yield Check("MTU", way, UNKNOWN, value, Refusal("PAR-1027", wanted=WANTED_PACKET))
