"""Judge a gateway's facts: a total, pure function from ``Facts`` to one status per pair.

Rules of judgement, in this order: a fault of our own half explains everything behind it; a fault
further out is only placed there when our half was seen whole, else its side is unknown; nothing
wrong but something unseen is ``unknown``, never ``good``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from paranal.agreement.suspension import RECORD
from paranal.control.notice import current
from paranal.status import checks
from paranal.status.bounded import Unseen
from paranal.status.facts import Certificate, Direction, Facts, LineCheck, directions
from paranal.status.verdict import DirectionStatus, PairStatus, Reason, Side, State

LINE_CHECK_FRESH = timedelta(hours=3)
"""A line check older than this has missed its hourly turn more than once."""


def diagnose(facts: Facts) -> list[PairStatus]:
    """Return one status per pair of the view's member, in the view's order."""
    return [_pair(facts, peer) for peer in facts.view["peers"]]


def exit_code(pairs: Iterable[PairStatus]) -> int:
    """Return 0 all good, 1 something is broken, 2 nothing broken but something not seen."""
    states = {direction.state for pair in pairs for direction in pair.directions}
    if State.BROKEN in states:
        return 1
    return 2 if State.UNKNOWN in states else 0


def warnings(facts: Facts) -> list[Reason]:
    """Return what we suspended by ourselves, what peers gave notice of, and what to renew.

    To renew are our own leaves and every CRL with a third of life left, or none.
    What has run out is here too, because an open direction tells of it and a closed one does not.
    """
    found = [*_suspended(facts), *_noticed(facts)]
    leaves: tuple[Certificate, ...] = ()
    if not isinstance(facts.certificates, Unseen):
        leaves = facts.certificates
    for leaf in leaves:
        found += checks.invalid_leaf(facts, leaf)
        left = leaf.not_after - facts.now
        if timedelta(0) < left <= (leaf.not_after - leaf.not_before) / 3:
            found.append(Reason("PAR-0650", Side.OURS, {"path": leaf.path, "days": left.days}))
    for crl in () if isinstance(facts.crls, Unseen) else facts.crls:
        found += checks.expired_crl(facts, crl)
        left = crl.next_update - facts.now
        if timedelta(0) < left <= (crl.next_update - crl.this_update) / 3:
            params = {"country": crl.country, "authority": crl.authority, "days": left.days}
            found.append(Reason("PAR-0651", checks.publisher(facts, crl), params))
    return found


def _suspended(facts: Facts) -> Iterator[Reason]:
    """Say of each suspension of our own since when, by whom and why; it is no fault."""
    if facts.suspended.unreadable:
        params = {"path": RECORD, "reason": facts.suspended.unreadable}
        yield Reason("PAR-0744", Side.OURS, params)
    for entry in facts.suspended.entries:
        given = {**vars(entry), "service": entry.service or "*"}
        yield Reason("PAR-0746", Side.OURS, given, fault=False)


def _noticed(facts: Facts) -> Iterator[Reason]:
    """Say what peers suspended by themselves, and when they will be at work; it is no fault."""
    for peer, heard in () if isinstance(facts.notices, Unseen) else facts.notices.items():
        for closed in heard.notice.closed:
            since = closed.since.isoformat() if closed.since else "?"
            params = {"direction": closed.direction, "service": closed.service, "since": since}
            yield Reason("PAR-0654", Side.THEIRS, {"peer": peer, **params}, fault=False)
        for window in current(heard.notice.windows, facts.now):
            begin, end = (at.isoformat(timespec="minutes") for at in (window.begin, window.end))
            params = {"begin": begin, "end": end, "text": window.text}
            yield Reason("PAR-0655", Side.THEIRS, {"peer": peer, **params}, fault=False)


def _pair(facts: Facts, peer: Mapping[str, Any]) -> PairStatus:
    pair = peer["pair"]
    line, line_reasons = _line(facts, peer)
    return PairStatus(
        name=pair["name"],
        peer=peer["code"],
        crypto_profile=pair["crypto_profile"],
        parity=pair["parity"],
        tunnel=checks.tunnel_of(facts, peer["identities"]["ike"], peer["wan_address"]),
        data_plane="unknown" if isinstance(facts.charon, Unseen) else facts.charon.data_plane,
        line_by=pair["initiator"] if pair["line_check"] else None,
        line_ours=pair["line_check"] and pair["initiates"],
        line=line,
        line_reasons=line_reasons,
        line_contact=peer["contact"] if any(each.fault for each in line_reasons) else {},
        directions=tuple(_direction(facts, each) for each in directions(facts.view, peer)),
    )


def _line(
    facts: Facts, peer: Mapping[str, Any]
) -> tuple[LineCheck | Unseen | None, tuple[Reason, ...]]:
    """Return the line check of a closed pair, where it is ours to make, and what to say of it."""
    if not (peer["pair"]["line_check"] and peer["pair"]["initiates"]):
        return None, ()
    if isinstance(facts.lines, Unseen):
        return facts.lines, (checks.unread(facts.lines),)
    line = facts.lines.get(peer["code"])
    if line is None or facts.now - line.at > LINE_CHECK_FRESH:
        return line, (checks.doubt("PAR-0652", {"peer": peer["code"]}),)
    if not line.ok:
        params = {"peer": peer["code"], "reason": line.reason}
        return line, (Reason("PAR-0653", Side.LINE, params),)
    return line, ()


def _direction(facts: Facts, direction: Direction) -> DirectionStatus:
    us, peer = facts.view["member"], direction.peer
    if direction.open:
        reasons = _distinct(reason for check in checks.CHECKS for reason in check(facts, direction))
        state, side = _judge(reasons)
    else:
        reasons = _distinct(checks.closed(facts, direction))
        state, side = _judge(reasons)
        state = State(direction.status) if state is State.GOOD else state
    asker, answerer = (us, peer) if direction.way == "asks" else (peer, us)
    return DirectionStatus(
        way=direction.way,
        asker=asker["code"],
        answerer=answerer["code"],
        service=direction.service,
        declared=direction.status,
        enforced=_enforced(facts, direction),
        state=state,
        side=side,
        reasons=reasons,
        last_good=_last_good(facts, direction),
        contact=_contact(side, us, peer),
    )


def _judge(reasons: tuple[Reason, ...]) -> tuple[State, Side]:
    sides = [reason.side for reason in reasons if reason.fault]
    if not reasons:
        return State.GOOD, Side.NONE
    if not sides:
        return State.UNKNOWN, Side.UNKNOWN
    if Side.OURS in sides:
        return State.BROKEN, Side.OURS
    half_unseen = any(reason.code == checks.HALF_UNSEEN for reason in reasons)
    return State.BROKEN, Side.UNKNOWN if half_unseen else sides[0]


def _distinct(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return each reason once: our own faults, other faults, doubts, each in causal order."""
    unique: list[Reason] = []
    for reason in reasons:
        if reason not in unique:
            unique.append(reason)
    return tuple(sorted(unique, key=lambda each: (not each.fault, each.side is not Side.OURS)))


def _enforced(facts: Facts, direction: Direction) -> str:
    if isinstance(facts.firewall, Unseen) or not facts.firewall.present:
        return "unknown"
    return "open" if direction.flow in facts.firewall.flows else "closed"


def _last_good(facts: Facts, direction: Direction) -> datetime | Unseen | None:
    if isinstance(facts.exchange, Unseen):
        return facts.exchange
    last = facts.exchange.get(direction.flow)
    return last.last_good if last else None


def _contact(side: Side, us: Mapping[str, Any], peer: Mapping[str, Any]) -> dict[str, str]:
    """Return who to call: our own shift for our own faults, the peer's for all beyond our half."""
    if side is Side.NONE:
        return {}
    contact: dict[str, str] = (us if side is Side.OURS else peer)["contact"]
    return contact
