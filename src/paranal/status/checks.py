"""The single questions of a diagnosis: each looks at one kind of fact and yields its reasons.

Pure functions ``(facts, direction) -> reasons``; no reason means that this fact stands in nobody's
way. Order within ``CHECKS`` is causal: our own half first, because it can explain all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from paranal.agreement.address import endpoint
from paranal.status.bounded import Unseen
from paranal.status.facts import (
    Certificate,
    Charon,
    Crl,
    Direction,
    Exchange,
    Facts,
    Ike,
    Reach,
)
from paranal.status.verdict import Reason, Side
from paranal.tunnels.charon import IkeSa

FRESH = timedelta(hours=24)
"""How long a good query goes on proving a direction: a quiet night is not a fault, a week is."""

STILL_FAILING = timedelta(minutes=15)
"""How long a failed query speaks of the present."""

SERVED_BY: dict[str, dict[str, str]] = {
    "person": {"asks": "paranal-national.service", "answers": "paranal-alliance.service"},
    "control": dict.fromkeys(("asks", "answers"), "paranal-control.service"),
}
"""Service -> way -> the unit that carries it; a service without units is judged by its tunnel."""

PROXY = "haproxy.service"

LOGGED = {"person"}
"""The services that keep a log of questions, in the database."""

LEAVES: dict[str, dict[str, tuple[str, ...]]] = {
    "person": {"asks": ("ike", "national", "asker"), "answers": ("ike", "operational")},
    "control": {"asks": ("ike", "control"), "answers": ("ike", "strategic")},
}
"""Service -> way -> our own leaves that it stands on; a service without any stands on ``ike``."""

TRACES = {
    Ike.NO_REPLY: ("PAR-0613", Side.LINE),
    Ike.NOT_SENT: ("PAR-0614", Side.OURS),
    Ike.THEY_REFUSED_US: ("PAR-0615", Side.PAIR),
    Ike.NO_PROPOSAL: ("PAR-0616", Side.PAIR),
    Ike.WE_DO_NOT_TRUST: ("PAR-0617", Side.PAIR),
    Ike.THEIRS_INVALID: ("PAR-0618", Side.THEIRS),
    Ike.OURS_MISSING: ("PAR-0619", Side.OURS),
    Ike.SELECTORS: ("PAR-0620", Side.PAIR),
    Ike.KEY_DIFFERS: ("PAR-0722", Side.PAIR),
    Ike.THEY_CLOSED: ("PAR-0626", Side.THEIRS),
}
"""What the log says of a pair that is down -> the message and the side."""

REACHES = {
    Reach.TCP_REFUSED: ("PAR-0630", Side.THEIRS),
    Reach.TCP_TIMEOUT: ("PAR-0631", Side.LINE),
    Reach.NO_ROUTE: ("PAR-0632", Side.OURS),
    Reach.NOT_AUTHORISED: ("PAR-0641", Side.PAIR),
    Reach.TLS_REFUSED: ("PAR-0633", Side.PAIR),
    Reach.TLS_UNTRUSTED: ("PAR-0634", Side.PAIR),
    Reach.HTTP_FAILED: ("PAR-0635", Side.THEIRS),
}
"""What a try of the peer's service came to -> the message and the side."""

FAILED = {
    "asks": {
        "TIMEOUT": ("PAR-0638", Side.THEIRS),
        "UNAVAILABLE": ("PAR-0639", Side.THEIRS),
        "NOT_AUTHORISED": ("PAR-0641", Side.PAIR),
    },
    "answers": {"UNAVAILABLE": ("PAR-0643", Side.OURS)},
}
"""Way -> how its last question ended -> the message and the side, where all before it is good.

``REFUSED`` is missing on purpose: a refused question proves that the answering end works.
"""

Check = Callable[[Facts, Direction], Iterator[Reason]]


HALF_UNSEEN = "PAR-0640"
"""The code that says that a part of our own half could not be looked at."""


def unseen(fact: Unseen, code: str = HALF_UNSEEN) -> Reason:
    """Return the reason that says that something could not be looked at."""
    return doubt(code, {"source": fact.source, "reason": fact.reason})


def doubt(code: str, params: dict[str, str]) -> Reason:
    """Return a reason that is no fault: something that was not seen to be right."""
    return Reason(code, Side.UNKNOWN, params, fault=False)


def unread(fact: Unseen) -> Reason:
    """Return the reason that says that a record of the past could not be read."""
    return unseen(fact, "PAR-0642")


def tunnel_of(facts: Facts, peer: str, address: str) -> IkeSa | Unseen | None:
    """Return the pair's best IKE_SA, None when charon has none.

    During make-before-break there are two: an established one speaks for the pair, and of those
    the one with most children in place, then the youngest.
    """
    if isinstance(facts.charon, Unseen):
        return facts.charon
    mine = [sa for sa in facts.charon.tunnels if sa.remote_id == peer or sa.remote_host == address]
    ranked = sorted(mine, key=lambda sa: (sa.established, len(sa.installed()), int(sa.unique_id)))
    return ranked[-1] if ranked else None


def direction_tunnel(facts: Facts, direction: Direction) -> IkeSa | Unseen | None:
    """Return the IKE_SA under a direction (see ``tunnel_of``)."""
    peer = direction.peer
    return tunnel_of(facts, peer["identities"]["ike"], peer["wan_address"])


def charon(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """Is our IKE daemon up, with this peer loaded, on the declared data plane?"""
    if isinstance(facts.charon, Unseen):
        yield unseen(facts.charon)
        return
    if not facts.charon.boots:
        yield Reason("PAR-0734", Side.OURS)
    if not facts.charon.running:
        yield Reason("PAR-0601", Side.OURS)
        return
    peer = direction.peer
    if peer["identities"]["ike"] not in facts.charon.loaded:
        yield Reason("PAR-0602", Side.OURS, {"peer": peer["code"]})
    declared = facts.view["member"]["data_plane"]
    if facts.charon.data_plane != declared:
        params = {"declared": declared, "running": facts.charon.data_plane}
        yield Reason("PAR-0623", Side.OURS, params)


def firewall(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """Does our firewall stand, dropping by default, with exactly the open directions open?"""
    if isinstance(facts.firewall, Unseen):
        yield unseen(facts.firewall)
        return
    if not facts.firewall.boots:
        yield Reason("PAR-0733", Side.OURS)
    if not facts.firewall.policies:
        yield Reason("PAR-0737", Side.OURS)
    if not (facts.firewall.present and facts.firewall.drops):
        yield Reason("PAR-0603", Side.OURS)
    elif direction.open and direction.flow not in facts.firewall.flows:
        yield Reason("PAR-0604", Side.OURS, _named(facts, direction))
    elif not direction.open and direction.flow in facts.firewall.flows | facts.firewall.partial:
        yield Reason("PAR-0605", Side.OURS, _named(facts, direction))


def certificates(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """Are all our own leaves that this way needs there and valid now?"""
    if isinstance(facts.certificates, Unseen):
        yield unseen(facts.certificates)
        return
    held = {leaf.name: leaf for leaf in facts.certificates}
    for name in LEAVES.get(direction.service, {}).get(direction.way, ("ike",)):
        leaf = held.get(name)
        if leaf is None:
            yield Reason("PAR-0606", Side.OURS, {"name": name})
        else:
            yield from invalid_leaf(facts, leaf)


def invalid_leaf(facts: Facts, leaf: Certificate) -> Iterator[Reason]:
    """Is a leaf of ours outside its validity now?"""
    if not leaf.not_before <= facts.now < leaf.not_after:
        yield Reason("PAR-0607", Side.OURS, {"path": leaf.path, "until": _day(leaf.not_after)})


def crls(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """Are both CRLs of both countries here and current? (Strict revocation refuses otherwise.)"""
    if isinstance(facts.crls, Unseen):
        yield unseen(facts.crls)
        return
    held = {(crl.country, crl.authority): crl for crl in facts.crls}
    for country in (facts.view["member"]["code"], direction.peer["code"]):
        for authority in ("root", "issuing"):
            crl = held.get((country, authority))
            if crl is None:
                yield Reason("PAR-0608", Side.OURS, {"country": country, "authority": authority})
            else:
                yield from expired_crl(facts, crl)


def publisher(facts: Facts, crl: Crl) -> Side:
    """Return whose it is to publish the next list."""
    return Side.OURS if crl.country == facts.view["member"]["code"] else Side.THEIRS


def expired_crl(facts: Facts, crl: Crl) -> Iterator[Reason]:
    """Is a list past its next update?"""
    if facts.now >= crl.next_update:
        until = _day(crl.next_update)
        params = {"country": crl.country, "authority": crl.authority, "until": until}
        yield Reason("PAR-0609", publisher(facts, crl), params)


def services(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """Do our own proxy, database and service run, and listen where the agreement says?"""
    units = SERVED_BY.get(direction.service)
    if units is None:
        yield doubt("PAR-0636", {"service": direction.service})
        return
    if isinstance(facts.services, Unseen):
        yield unseen(facts.services)
        return
    database = (facts.services.database,) if direction.service in LOGGED else ()
    for unit in (PROXY, *database, units[direction.way]):
        found = facts.services.units.get(unit, "absent")
        if found not in ("active", "reloading"):
            code = "PAR-0611" if unit.startswith("postgresql") else "PAR-0610"
            yield Reason(code, Side.OURS, {"unit": unit, "found": found})
    if units[direction.way] not in facts.services.healthy:
        yield Reason("PAR-0625", Side.OURS, {"unit": units[direction.way]})
    address = facts.view["member"]["addresses"][direction.channel]
    if direction.way == "answers" and (address, direction.port) not in facts.services.listening:
        yield Reason("PAR-0612", Side.OURS, {"place": endpoint(address, direction.port)})


def tunnel(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """Is the pair's tunnel up with this direction's child, and if not, what does the log tell?"""
    if not _down(facts, direction) or not _running(facts.charon):
        return  # it is up, or ``charon`` has told why nobody can know
    if isinstance(facts.traces, Unseen):
        yield unread(facts.traces)
    traces = {} if isinstance(facts.traces, Unseen) else facts.traces
    trace = traces.get(direction.peer["code"])
    code, side = TRACES[trace] if trace else _untraced(facts, direction)
    yield Reason(code, side, _named(facts, direction))


def _untraced(facts: Facts, direction: Direction) -> tuple[str, Side]:
    found = direction_tunnel(facts, direction)
    half_up = isinstance(found, IkeSa) and found.established
    return ("PAR-0622" if half_up else "PAR-0621", Side.UNKNOWN)


def reached(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """What did the active try of the peer's service come to (only where we ask)?

    It says nothing more when the tunnel is known to be down.
    """
    reach = facts.reached.get((direction.peer["code"], direction.service), Reach.ANSWERED)
    if direction.way == "answers" or reach is Reach.ANSWERED or _down(facts, direction):
        return
    if isinstance(reach, Unseen):
        yield unread(reach)
        return
    code, side = REACHES[reach]
    if not (reach is Reach.NO_ROUTE and isinstance(facts.charon, Unseen)):
        yield Reason(code, side, {**_named(facts, direction), "at": _minute(facts.now)})


def exchange(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """What does the log prove? Where we ask, a good question of late; where we answer, no failure.

    A try that was answered is later than any question and settles it. A peer that does not ask us
    is no fault.
    """
    if direction.service not in SERVED_BY or _down(facts, direction):
        return
    tried = facts.reached.get((direction.peer["code"], direction.service))
    if direction.way == "asks" and isinstance(tried, Reach):
        return
    if direction.service not in LOGGED:
        yield from (doubt("PAR-0637", _named(facts, direction)),) if direction.way == "asks" else ()
        return
    if isinstance(facts.exchange, Unseen):
        yield unread(facts.exchange)
        return
    last = facts.exchange.get(direction.flow, Exchange(None))
    failed = FAILED[direction.way].get(last.outcome or "")
    if failed and last.last_at and facts.now - last.last_at <= STILL_FAILING:
        code, side = failed
        yield Reason(code, side, {**_named(facts, direction), "at": _minute(last.last_at)})
    elif direction.way == "asks" and not _is_fresh(facts, last):
        yield doubt("PAR-0637", _named(facts, direction))


CHECKS: tuple[Check, ...] = (
    charon,
    firewall,
    certificates,
    crls,
    services,
    tunnel,
    reached,
    exchange,
)


def closed(facts: Facts, direction: Direction) -> Iterator[Reason]:
    """Is a direction that the agreement closes closed here (firewall rule, tunnel)?

    Not being able to look is a reason here too: a closed door is not taken on trust.
    """
    yield from firewall(facts, direction)
    if isinstance(facts.charon, Unseen):
        yield unseen(facts.charon)
        return
    channel_closed = direction.channel not in direction.peer["pair"]["channels"]
    if channel_closed and not _down(facts, direction):
        params = {**_named(facts, direction), "channel": direction.channel}
        yield Reason("PAR-0624", Side.OURS, params)


def _down(facts: Facts, direction: Direction) -> bool:
    """Tell whether charon was seen without the child that carries this direction."""
    found = direction_tunnel(facts, direction)
    if isinstance(found, Unseen):
        return False
    return not found or direction.channel not in found.installed()


def _is_fresh(facts: Facts, last: Exchange) -> bool:
    return last.last_good is not None and facts.now - last.last_good <= FRESH


def _running(found: Charon | Unseen) -> bool:
    return isinstance(found, Charon) and found.running


def _named(facts: Facts, direction: Direction) -> dict[str, str]:
    us, peer = facts.view["member"]["code"], direction.peer["code"]
    asker, answerer = (us, peer) if direction.way == "asks" else (peer, us)
    return {
        "peer": peer,
        "direction": f"{asker}>{answerer}",
        "service": direction.service,
        "parity": direction.peer["pair"]["parity"][:16],
    }


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _minute(moment: datetime) -> str:
    return moment.strftime("%H:%M UTC")
