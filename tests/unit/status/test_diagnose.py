"""The truth table of ``paranal status``: what is broken, whose fault it is, what went unseen."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paranal.agreement.suspension import Suspension, Suspensions
from paranal.control.notice import Closed, Heard, Notice, Window
from paranal.messages import catalogue
from paranal.status.bounded import Unseen
from paranal.status.diagnose import diagnose, exit_code, warnings
from paranal.status.facts import (
    Certificate,
    Charon,
    Exchange,
    Facts,
    Ike,
    LineCheck,
    Reach,
    Services,
)
from paranal.status.verdict import DirectionStatus, PairStatus, Side, State
from paranal.tunnels.charon import IkeSa

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
"""The ``now`` of the ``healthy`` facts."""

UNSEEN = Unseen("charon", "5 s")
ASKS = ("asks", "co", "person")
ANSWERS = ("answers", "co", "person")


def direction(facts: Facts, flow: tuple[str, str, str]) -> DirectionStatus:
    way, peer, service = flow
    return next(
        each
        for pair in diagnose(facts)
        if pair.peer == peer
        for each in pair.directions
        if (each.way, each.service) == (way, service)
    )


def pair(facts: Facts, peer: str) -> PairStatus:
    return next(pair for pair in diagnose(facts) if pair.peer == peer)


def tunnel(facts: Facts, peer: str, channels: list[str], state: str = "ESTABLISHED") -> IkeSa:
    model = tunnels_of(facts)[0]
    identities = next(each for each in facts.view["peers"] if each["code"] == peer)
    return replace(
        model,
        unique_id="9",
        state=state,
        remote_id=identities["identities"]["ike"],
        remote_host=identities["wan_address"],
        children=tuple(replace(model.children[0], name=name) for name in channels),
    )


def with_tunnels(facts: Facts, *tunnels: IkeSa) -> Facts:
    assert isinstance(facts.charon, Charon)
    return replace(facts, charon=replace(facts.charon, tunnels=tunnels))


def tunnels_of(facts: Facts) -> tuple[IkeSa, ...]:
    assert isinstance(facts.charon, Charon)
    return facts.charon.tunnels


def blinded(facts: Facts, *fields: str) -> Facts:
    unseen: dict[str, Any] = {field: Unseen(field, "5 s") for field in fields}
    return replace(facts, **unseen)


def codes(status: DirectionStatus) -> list[str]:
    """Return the codes of the reasons, each of which has all the values of its text."""
    return [reason.as_dict()["code"] for reason in status.reasons]


def without_tunnel(facts: Facts, peer: str) -> Facts:
    left = (sa for sa in tunnels_of(facts) if peer not in sa.name.split("-"))
    return with_tunnels(facts, *left)


def with_unit(facts: Facts, unit: str, state: str) -> Facts:
    assert isinstance(facts.services, Services)
    units = {**facts.services.units, unit: state}
    return replace(facts, services=replace(facts.services, units=units))


@pytest.mark.req("R9")
def test_a_healthy_gateway_is_good_and_names_nobody(healthy: Facts) -> None:
    for flow in (ASKS, ANSWERS):
        status = direction(healthy, flow)
        assert (status.state, status.side) == (State.GOOD, Side.NONE)
        assert status.reasons == ()
        assert status.contact == {}
        assert status.enforced == "open"
    assert direction(healthy, ASKS).last_good == NOW - timedelta(minutes=5)
    assert direction(blinded(healthy, "exchange"), ASKS).last_good == Unseen("exchange", "5 s")


@pytest.mark.req("R12")
def test_pending_chile_is_pending_with_its_line_check(checking: Facts) -> None:
    chile = pair(checking, "cl")
    assert {each.state for each in chile.directions} == {State.PENDING}
    assert {each.enforced for each in chile.directions} == {"closed"}
    assert chile.tunnel is None
    assert chile.line == LineCheck(NOW - timedelta(hours=1), ok=True, reason="")
    assert (chile.line_by, chile.line_reasons) == ("pe", ())


def test_a_failed_or_missing_line_check_is_told_and_is_no_error(checking: Facts) -> None:
    failed = replace(checking, lines={"cl": LineCheck(NOW, ok=False, reason="no reply")})
    (reason,) = pair(failed, "cl").line_reasons
    assert reason.code == "PAR-0653"
    assert "no reply" in reason.text("es")
    assert pair(failed, "cl").line_contact["name"] == "Turno 24/7 Chile"
    assert {each.state for each in pair(failed, "cl").directions} == {State.PENDING}
    for lines in ({}, {"cl": LineCheck(NOW - timedelta(days=3), ok=True, reason="")}):
        reasons = pair(replace(checking, lines=lines), "cl").line_reasons
        assert [each.as_dict()["code"] for each in reasons] == ["PAR-0652"]


def test_the_line_that_the_other_end_checks_is_not_missed_here(healthy: Facts) -> None:
    chile = pair(replace(healthy, lines={}), "cl")
    assert (chile.line_by, chile.line_ours) == ("cl", False)
    assert (chile.line, chile.line_reasons) == (None, ())


@pytest.mark.req("R12")
def test_a_closed_direction_that_passes_is_our_fault(healthy: Facts) -> None:
    flow = ("answers", "cl", "person")
    assert not isinstance(healthy.firewall, Unseen)
    for ajar in (
        replace(healthy.firewall, flows=healthy.firewall.flows | {flow}),
        replace(healthy.firewall, partial=frozenset({flow})),
    ):
        status = direction(replace(healthy, firewall=ajar), flow)
        assert (status.state, status.side, codes(status)) == (State.BROKEN, Side.OURS, ["PAR-0605"])

    extra = tunnel(healthy, "cl", ["operational"])
    status = direction(with_tunnels(healthy, *tunnels_of(healthy), extra), flow)
    assert (status.state, codes(status)) == (State.BROKEN, ["PAR-0624"])


def test_a_line_check_under_way_is_no_open_channel(healthy: Facts) -> None:
    checked = with_tunnels(healthy, *tunnels_of(healthy), tunnel(healthy, "cl", []))
    assert {each.state for each in pair(checked, "cl").directions} == {State.PENDING}


OWN_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "charon down": ({"charon": Charon(running=False)}, "PAR-0601"),
    "connection not loaded": (
        {"charon": lambda facts: replace(facts.charon, loaded=frozenset())},
        "PAR-0602",
    ),
    "other data plane": (
        {"charon": lambda facts: replace(facts.charon, data_plane="kernel")},
        "PAR-0623",
    ),
    "no firewall": ({"firewall": lambda facts: replace(facts.firewall, present=False)}, "PAR-0603"),
    "accepts by default": (
        {"firewall": lambda facts: replace(facts.firewall, drops=False)},
        "PAR-0603",
    ),
    "no drop policies": (
        {"firewall": lambda facts: replace(facts.firewall, policies=False)},
        "PAR-0737",
    ),
    "rules of the next boot": (
        {"firewall": lambda facts: replace(facts.firewall, boots=False)},
        "PAR-0733",
    ),
    "connections of the next start": (
        {"charon": lambda facts: replace(facts.charon, boots=False)},
        "PAR-0734",
    ),
    "rule missing": (
        {"firewall": lambda facts: replace(facts.firewall, flows=frozenset())},
        "PAR-0604",
    ),
    "leaf missing": ({"certificates": ()}, "PAR-0606"),
    "leaf expired": (
        {"certificates": lambda facts: _aged(facts, timedelta(days=90))},
        "PAR-0607",
    ),
    "leaf of tomorrow": (
        {"certificates": lambda facts: _aged(facts, timedelta(days=-2))},
        "PAR-0607",
    ),
    "CRL missing": ({"crls": ()}, "PAR-0608"),
    "own CRL expired": (
        {"crls": lambda facts: _crl_expired(facts, "pe")},
        "PAR-0609",
    ),
    "IKE not sent": (
        {"charon": lambda facts: _no_sa(facts), "traces": {"co": Ike.NOT_SENT}},
        "PAR-0614",
    ),
    "own credential missing": (
        {"charon": lambda facts: _no_sa(facts), "traces": {"co": Ike.OURS_MISSING}},
        "PAR-0619",
    ),
}


def _aged(facts: Facts, by: timedelta) -> tuple[Certificate, ...]:
    assert not isinstance(facts.certificates, Unseen)
    return tuple(
        replace(leaf, not_before=leaf.not_before - by, not_after=leaf.not_after - by)
        for leaf in facts.certificates
    )


def _crl_expired(facts: Facts, country: str) -> tuple[Any, ...]:
    assert not isinstance(facts.crls, Unseen)
    return tuple(
        replace(crl, next_update=NOW) if crl.country == country else crl for crl in facts.crls
    )


def _no_sa(facts: Facts) -> Charon:
    charon = without_tunnel(facts, "co").charon
    assert isinstance(charon, Charon)
    return charon


def broken(facts: Facts, changes: dict[str, Any]) -> Facts:
    made = {key: value(facts) if callable(value) else value for key, value in changes.items()}
    return replace(facts, **made)


@pytest.mark.parametrize("name", OWN_FAULTS)
def test_a_fault_of_our_half_is_ours_and_calls_our_own_shift(healthy: Facts, name: str) -> None:
    changes, code = OWN_FAULTS[name]
    for flow in (ASKS, ANSWERS):
        status = direction(broken(healthy, changes), flow)
        assert (status.state, status.side) == (State.BROKEN, Side.OURS)
        assert status.reasons[0].code == code
        assert status.contact == healthy.view["member"]["contact"]


@pytest.mark.parametrize(
    ("unit", "flows", "code"),
    [
        ("haproxy.service", {ASKS, ANSWERS}, "PAR-0610"),
        ("postgresql@17-main.service", {ASKS, ANSWERS}, "PAR-0611"),
        ("paranal-national.service", {ASKS}, "PAR-0610"),
        ("paranal-alliance.service", {ANSWERS}, "PAR-0610"),
    ],
)
@pytest.mark.parametrize("state", ["failed", "inactive", "activating", "absent"])
def test_a_unit_that_is_down_breaks_the_ways_that_need_it(
    healthy: Facts, unit: str, flows: set[tuple[str, str, str]], code: str, state: str
) -> None:
    facts = with_unit(healthy, unit, state)
    for flow in (ASKS, ANSWERS):
        status = direction(facts, flow)
        assert (code in codes(status)) == (flow in flows)
        assert status.side is (Side.OURS if flow in flows else Side.NONE)


def test_a_service_that_runs_without_its_database_is_our_fault(healthy: Facts) -> None:
    assert isinstance(healthy.services, Services)
    facts = replace(healthy, services=replace(healthy.services, healthy=frozenset()))
    assert codes(direction(facts, ANSWERS)) == ["PAR-0625"]


def test_a_closed_port_of_ours_concerns_only_what_we_answer(healthy: Facts) -> None:
    assert isinstance(healthy.services, Services)
    facts = replace(healthy, services=replace(healthy.services, listening=frozenset()))
    assert codes(direction(facts, ANSWERS)) == ["PAR-0612"]
    assert direction(facts, ASKS).state is State.GOOD


BEYOND = {
    Ike.NO_REPLY: ("PAR-0613", Side.LINE),
    Ike.THEY_REFUSED_US: ("PAR-0615", Side.PAIR),
    Ike.NO_PROPOSAL: ("PAR-0616", Side.PAIR),
    Ike.WE_DO_NOT_TRUST: ("PAR-0617", Side.PAIR),
    Ike.THEIRS_INVALID: ("PAR-0618", Side.THEIRS),
    Ike.SELECTORS: ("PAR-0620", Side.PAIR),
    Ike.THEY_CLOSED: ("PAR-0626", Side.THEIRS),
    Ike.KEY_DIFFERS: ("PAR-0722", Side.PAIR),
    None: ("PAR-0621", Side.UNKNOWN),
}


@pytest.mark.parametrize("trace", BEYOND)
def test_a_tunnel_that_is_down_is_placed_by_what_the_log_tells(
    healthy: Facts, trace: Ike | None
) -> None:
    code, side = BEYOND[trace]
    facts = replace(without_tunnel(healthy, "co"), traces={"co": trace} if trace else {})
    for flow in (ASKS, ANSWERS):
        status = direction(facts, flow)
        assert (status.state, status.side) == (State.BROKEN, side)
        assert status.reasons[0].code == code
        assert status.contact["name"] == "Turno 24/7 CECAM"
    assert direction(facts, ("asks", "mx", "person")).state is State.GOOD


def test_every_trace_has_its_row() -> None:
    own = {Ike.NOT_SENT, Ike.OURS_MISSING}
    assert set(BEYOND) - {None} == set(Ike) - own


def test_a_missing_child_breaks_only_its_own_channel(healthy: Facts) -> None:
    half = with_tunnels(healthy, *_no_sa(healthy).tunnels, tunnel(healthy, "co", ["strategic"]))
    status = direction(half, ASKS)
    assert (status.state, codes(status)) == (State.BROKEN, ["PAR-0622"])
    assert "PAR-0622" not in codes(direction(half, ("asks", "co", "control")))


@pytest.mark.parametrize("state", ["CONNECTING", "DELETING"])
def test_of_two_tunnels_the_one_that_carries_speaks(healthy: Facts, state: str) -> None:
    spare, others = tunnel(healthy, "co", [], state), tunnels_of(healthy)
    for tunnels in ((*others, spare), (spare, *others)):
        assert direction(with_tunnels(healthy, *tunnels), ASKS).state is State.GOOD


def test_an_established_tunnel_speaks_before_one_that_is_being_tried(healthy: Facts) -> None:
    up, tried = tunnel(healthy, "co", []), tunnel(healthy, "co", [], "CONNECTING")
    for tunnels in ((up, tried), (tried, up)):
        status = direction(with_tunnels(healthy, *tunnels), ASKS)
        assert codes(status) == ["PAR-0622"]


def test_of_two_equal_tunnels_the_younger_is_shown(healthy: Facts) -> None:
    younger = tunnel(healthy, "co", ["operational", "strategic"])
    for tunnels in ((*tunnels_of(healthy), younger), (younger, *tunnels_of(healthy))):
        assert pair(with_tunnels(healthy, *tunnels), "co").tunnel == younger


REACHED = {
    Reach.TCP_REFUSED: ("PAR-0630", Side.THEIRS),
    Reach.TCP_TIMEOUT: ("PAR-0631", Side.LINE),
    Reach.NO_ROUTE: ("PAR-0632", Side.OURS),
    Reach.NOT_AUTHORISED: ("PAR-0641", Side.PAIR),
    Reach.TLS_REFUSED: ("PAR-0633", Side.PAIR),
    Reach.TLS_UNTRUSTED: ("PAR-0634", Side.PAIR),
    Reach.HTTP_FAILED: ("PAR-0635", Side.THEIRS),
}


@pytest.mark.parametrize("reach", REACHED)
def test_an_active_try_places_the_fault_where_we_ask(healthy: Facts, reach: Reach) -> None:
    code, side = REACHED[reach]
    facts = replace(healthy, reached={("co", "person"): reach})
    status = direction(facts, ASKS)
    assert (status.state, status.side, codes(status)) == (State.BROKEN, side, [code])
    assert direction(facts, ANSWERS).state is State.GOOD
    assert set(REACHED) == set(Reach) - {Reach.ANSWERED}


def test_an_active_try_over_a_tunnel_that_is_down_adds_nothing(healthy: Facts) -> None:
    down = replace(without_tunnel(healthy, "co"), traces={"co": Ike.NO_REPLY})
    for reach in Reach:
        status = direction(replace(down, reached={("co", "person"): reach}), ASKS)
        assert codes(status) == ["PAR-0613"]
    failed = replace(down, exchange={ASKS: Exchange(None, NOW, "TIMEOUT")})
    assert codes(direction(failed, ASKS)) == ["PAR-0613"]


def test_a_try_that_could_not_be_made_is_told_and_the_log_goes_on_speaking(
    healthy: Facts,
) -> None:
    facts = replace(healthy, reached={("co", "person"): Unseen("--probe co person", "12 s")})
    status = direction(facts, ASKS)
    assert (status.state, codes(status)) == (State.UNKNOWN, ["PAR-0642"])
    assert direction(facts, ANSWERS).state is State.GOOD
    failed = replace(facts, exchange={ASKS: Exchange(None, NOW, "TIMEOUT")})
    assert codes(direction(failed, ASKS)) == ["PAR-0638", "PAR-0642"]


def test_a_try_that_found_no_route_accuses_nobody_while_the_tunnel_is_unseen(
    healthy: Facts,
) -> None:
    facts = replace(blinded(healthy, "charon"), reached={("co", "person"): Reach.NO_ROUTE})
    assert codes(direction(facts, ASKS)) == ["PAR-0640"]


def test_an_answered_try_proves_a_direction_never_asked(healthy: Facts) -> None:
    silent = replace(healthy, exchange={})
    assert codes(direction(silent, ASKS)) == ["PAR-0637"]
    assert direction(silent, ASKS).state is State.UNKNOWN
    tried = replace(silent, reached={("co", "person"): Reach.ANSWERED})
    assert direction(tried, ASKS).state is State.GOOD


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (Exchange(None, NOW, "TIMEOUT"), "PAR-0638"),
        (Exchange(NOW - timedelta(minutes=2), NOW, "UNAVAILABLE"), "PAR-0639"),
        (Exchange(None, NOW, "NOT_AUTHORISED"), "PAR-0641"),
        (Exchange(None, NOW - timedelta(hours=1), "TIMEOUT"), "PAR-0637"),
        (Exchange(NOW - timedelta(hours=25), NOW - timedelta(hours=25), "GOOD"), "PAR-0637"),
        (Exchange(NOW - timedelta(hours=23), NOW - timedelta(hours=1), "TIMEOUT"), None),
        (Exchange(NOW - timedelta(hours=1), NOW, "REFUSED"), None),
    ],
)
def test_our_last_question_proves_or_breaks_what_we_ask(
    healthy: Facts, last: Exchange, code: str | None
) -> None:
    status = direction(replace(healthy, exchange={ASKS: last}), ASKS)
    assert codes(status) == ([code] if code else [])


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (Exchange(NOW, NOW, "UNAVAILABLE"), "PAR-0643"),
        (Exchange(None, NOW - timedelta(hours=1), "UNAVAILABLE"), None),
        (Exchange(None, NOW, "NOT_AUTHORISED"), None),
        (Exchange(None, NOW, "REFUSED"), None),
        (Exchange(NOW - timedelta(days=9), NOW - timedelta(days=9), "GOOD"), None),
        (Exchange(None), None),
    ],
)
def test_where_we_answer_only_our_own_failure_is_a_fault(
    healthy: Facts, last: Exchange, code: str | None
) -> None:
    status = direction(replace(healthy, exchange={ANSWERS: last}), ANSWERS)
    assert codes(status) == ([code] if code else [])
    assert status.side is (Side.OURS if code else Side.NONE)


def test_a_peers_expired_crl_is_theirs_to_publish(healthy: Facts) -> None:
    facts = replace(healthy, crls=_crl_expired(healthy, "co"))
    assert direction(facts, ASKS).side is Side.THEIRS
    assert direction(facts, ("asks", "mx", "person")).state is State.GOOD


def test_a_service_that_this_version_does_not_serve_is_never_good(healthy: Facts) -> None:
    status = direction(healthy, ("asks", "co", "strategic"))
    assert (status.state, codes(status)) == (State.UNKNOWN, ["PAR-0636"])


def test_control_is_good_where_it_answers_and_where_a_try_was_answered(healthy: Facts) -> None:
    """It keeps no log that could prove it: with our half alone we do not know of theirs."""
    answers, asks = ("answers", "co", "control"), ("asks", "co", "control")
    assert direction(healthy, answers).state is State.GOOD
    assert codes(direction(healthy, asks)) == ["PAR-0637"]
    tried = replace(healthy, reached={("co", "control"): Reach.ANSWERED})
    assert direction(tried, asks).state is State.GOOD
    refused = replace(healthy, reached={("co", "control"): Reach.TLS_REFUSED})
    assert codes(direction(refused, asks)) == ["PAR-0633"]


def test_control_stands_on_its_own_unit_leaves_and_listener_and_on_no_database(
    healthy: Facts,
) -> None:
    answers = ("answers", "co", "control")
    down = with_unit(healthy, "paranal-control.service", "failed")
    assert codes(direction(down, answers)) == ["PAR-0610"]
    assert direction(with_unit(healthy, "postgresql@17-main.service", "failed"), answers).state is (
        State.GOOD
    )
    assert not isinstance(healthy.certificates, Unseen)
    kept = tuple(each for each in healthy.certificates if each.name != "strategic")
    assert codes(direction(replace(healthy, certificates=kept), answers)) == ["PAR-0606"]
    assert not isinstance(healthy.services, Unseen)
    deaf = replace(healthy.services, listening=frozenset())
    assert codes(direction(replace(healthy, services=deaf), answers)) == ["PAR-0612"]


HALF = ("charon", "firewall", "services", "certificates", "crls")
MEMORY = ("exchange", "traces", "lines")


@pytest.mark.parametrize("field", HALF)
def test_what_could_not_be_seen_is_never_good(healthy: Facts, field: str) -> None:
    facts = blinded(healthy, field)
    for flow in (ASKS, ANSWERS):
        status = direction(facts, flow)
        assert (status.state, status.side) == (State.UNKNOWN, Side.UNKNOWN)
        assert codes(status) == ["PAR-0640"]


@pytest.mark.parametrize("field", HALF[1:])
def test_a_fault_beyond_a_half_not_seen_whole_is_nobodys_yet(healthy: Facts, field: str) -> None:
    down = replace(without_tunnel(healthy, "co"), traces={"co": Ike.NO_REPLY})
    status = direction(blinded(down, field), ASKS)
    assert (status.state, status.side) == (State.BROKEN, Side.UNKNOWN)


def test_a_fault_of_ours_stays_ours_whatever_else_is_unseen(healthy: Facts) -> None:
    others = [field for field in (*HALF, *MEMORY) if field != "services"]
    facts = with_unit(blinded(healthy, *others), "postgresql@17-main.service", "failed")
    assert direction(facts, ASKS).side is Side.OURS
    assert direction(facts, ASKS).reasons[0].code == "PAR-0611"


def test_the_log_unread_leaves_a_down_tunnel_broken_on_no_side(healthy: Facts) -> None:
    facts = replace(without_tunnel(healthy, "co"), traces=Unseen("journal", "5 s"))
    status = direction(facts, ASKS)
    assert (status.state, status.side) == (State.BROKEN, Side.UNKNOWN)
    assert codes(status) == ["PAR-0621", "PAR-0642"]


def test_every_combination_is_judged_and_none_is_good_that_was_not_seen_whole(
    healthy: Facts,
) -> None:
    """Total over every mix of seen, unseen and broken; every text renders in both languages."""
    narrow = {
        **healthy.view,
        "services": {"person": healthy.view["services"]["person"]},
        "peers": [peer for peer in healthy.view["peers"] if peer["code"] == "co"],
    }
    healthy = replace(healthy, view=narrow)
    down = without_tunnel(healthy, "co").charon
    options: dict[str, list[Any]] = {
        "charon": [healthy.charon, UNSEEN, Charon(running=False), down],
        "firewall": [healthy.firewall, UNSEEN, OWN_FAULTS["no firewall"][0]["firewall"](healthy)],
        "services": [healthy.services, UNSEEN],
        "certificates": [healthy.certificates, UNSEEN, ()],
        "crls": [healthy.crls, UNSEEN, _crl_expired(healthy, "co")],
        "exchange": [healthy.exchange, UNSEEN, {ASKS: Exchange(None, NOW, "TIMEOUT")}],
        "traces": [{}, UNSEEN, {"co": Ike.NO_REPLY}],
        "reached": [{}, {("co", "person"): Reach.NO_ROUTE}, {("co", "person"): UNSEEN}],
    }
    for values in itertools.product(*options.values()):
        changes = dict(zip(options, values, strict=True))
        (only,) = diagnose(replace(healthy, **changes))
        for flow, status in zip((ASKS, ANSWERS), only.directions, strict=True):
            whole = all(changes[field] is options[field][0] for field in HALF)
            whole = whole and not isinstance(changes["exchange"], Unseen)
            if flow == ASKS:
                whole = whole and changes["exchange"] is healthy.exchange and not changes["reached"]
            assert (status.state is State.GOOD) == whole, changes
            assert (status.side is Side.NONE) == whole
            for reason in status.reasons:
                assert reason.text("es")
                assert reason.text("en")
                assert catalogue()[reason.code].runbook


def test_the_exit_code_says_broken_before_unseen(healthy: Facts) -> None:
    assert exit_code(diagnose(healthy)) == 2
    person = [
        dataclasses.replace(
            pair, directions=tuple(each for each in pair.directions if each.service == "person")
        )
        for pair in diagnose(healthy)
    ]
    assert exit_code(person) == 0
    down = with_unit(replace(healthy, crls=UNSEEN), "haproxy.service", "failed")
    assert exit_code(diagnose(down)) == 1


def test_warnings_start_when_a_third_of_life_is_left(healthy: Facts) -> None:
    assert warnings(healthy) == []
    late = replace(healthy, certificates=_aged(healthy, timedelta(days=60)))
    assert {each.code for each in warnings(late)} == {"PAR-0650"}
    assert not isinstance(healthy.crls, Unseen)
    crls = tuple(replace(crl, next_update=NOW + timedelta(hours=10)) for crl in healthy.crls)
    assert {each.code for each in warnings(replace(healthy, crls=crls))} == {"PAR-0651"}
    assert warnings(replace(healthy, certificates=UNSEEN, crls=UNSEEN)) == []


def test_what_ran_out_is_told_where_no_open_direction_needs_it(healthy: Facts) -> None:
    old = replace(healthy, certificates=_aged(healthy, timedelta(days=90)))
    assert {each.as_dict()["code"] for each in warnings(old)} == {"PAR-0607"}
    lists = replace(healthy, crls=_crl_expired(healthy, "cl"))
    assert {(each.code, each.side) for each in warnings(lists)} == {("PAR-0609", Side.THEIRS)}
    assert all(each.state is State.PENDING for each in pair(lists, "cl").directions)


def test_what_we_suspended_by_ourselves_is_told_and_is_no_fault(healthy: Facts) -> None:
    entry = Suspension("co>pe", "", "2026-11-25T10:00:00+00:00", "ana", "orden 7")
    (told,) = warnings(replace(healthy, suspended=Suspensions((entry,))))
    assert (told.code, told.fault) == ("PAR-0746", False)
    assert {"ana", "orden 7", "co>pe", "*"} <= {*told.params.values()}
    (told,) = warnings(replace(healthy, suspended=Suspensions(unreadable="x")))
    assert told.code == "PAR-0744"


def test_a_peers_notice_is_told_while_it_lasts_and_is_no_fault(healthy: Facts) -> None:
    hour = timedelta(hours=1)
    windows = (Window(NOW - hour, NOW + hour, "disco"), Window(NOW - 2 * hour, NOW - hour, "red"))
    heard = Heard(NOW, Notice((Closed("co>pe", "person", NOW),), windows))
    facts = replace(healthy, notices={"co": heard})
    told = warnings(facts)
    assert [reason.code for reason in told] == ["PAR-0654", "PAR-0655"]
    assert not any(reason.fault for reason in told)
    assert "disco" in told[1].text("es")
    assert exit_code(diagnose(facts)) == exit_code(diagnose(healthy))
