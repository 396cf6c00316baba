"""Whatever breaks, no inner packet leaves or arrives in clear: packets are offered all the while.

``no_clear_text`` of the conftest ends the run at the first one seen in ``wan``. What it proves is
shown at the end: with both locks opened by hand, firewall and routes, it sees them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_network

import pytest
from testinfra.host import Host

from paranal.lab import names
from tests.mesh.breaking import (
    DROP_POLICIES,
    FLUSH,
    FLUSH_POLICIES,
    HEAL,
    START,
    STOP,
    broken,
    receiving,
    without_routes,
)
from tests.mesh.conftest import PLANE
from tests.mesh.flows import background
from tests.mesh.support import (
    SCRIPTS,
    Capture,
    Views,
    by_hand,
    eventually,
    on_node,
)

pytestmark = pytest.mark.req("R6", "B3")
HURT = ("co", "pe")
"""An initiator and a responder; the other two are left alone."""
HEALED_SECONDS = 15
SILENT_SECONDS = 15
"""More than DPD (3 s) and all retransmissions (5.5 s): the peers have given the node up."""
Watched = Callable[[], int]

RULES = "nft --stateless list table inet paranal"
KILL = "systemctl kill --kill-whom=main --signal={} strongswan.service"
REINSTALL = (SCRIPTS / "reinstall.sh").read_text(encoding="utf-8")
FAULTS = {
    "nftables installed anew": (REINSTALL, 1, ""),
    "flushed": (FLUSH, 2, HEAL),
    "firewall reloaded": ("systemctl reload paranal-firewall.service", 1, ""),
    "routes to nowhere set again": ("systemctl reload paranal-nowhere.service", 1, ""),
    "credentials and connections loaded again": ("swanctl --load-all --noprompt", 1, ""),
    "settings read again": ("paranal tunnels settings", 1, ""),
    "charon killed": (KILL.format("KILL"), 2, ""),
    "charon stopped": (STOP, 2, START),
    "flushed and charon stopped": (f"{STOP}; {FLUSH}", 2, f"{HEAL}; {START}"),
    "firewall restarted and charon with it": ("systemctl restart paranal-firewall.service", 2, ""),
    "charon frozen": (KILL.format("STOP"), SILENT_SECONDS, KILL.format("CONT")),
}
THIRD_LOCK = ("true", "")
"""How to take away, and put back, what a plane has beside firewall and routes."""
if PLANE == "kernel":
    THIRD_LOCK = (FLUSH_POLICIES, DROP_POLICIES)
    FAULTS["states flushed"] = ("ip xfrm state flush", 2, "")
    FAULTS["policies flushed"] = (FLUSH_POLICIES, 2, HEAL)


def _pairs(views: Views, member: str) -> list[tuple[str, str]]:
    """Return (source, target) that a node could send to its peers: by each tunnel, and by none."""
    view = views[member]
    own, found = view["member"]["addresses"], []
    for peer in view["peers"]:
        nobody = str(ip_network(peer["inner_prefix"])[-2])
        found += [(own[name], peer["addresses"][name]) for name in ("operational", "strategic")]
        found.append((own["national"], nobody))
    return found


@pytest.fixture(scope="module")
def offered(nodes: dict[str, Host], views: Views) -> Iterator[Watched]:
    """Two nodes offer inner packets without pause; tells how many both have offered by now."""
    with ExitStack() as stack:
        offers = [
            stack.enter_context(
                background(
                    nodes[code], "inner_traffic", "/run/inner.json", pairs=_pairs(views, code)
                )
            )
            for code in HURT
        ]
        assert eventually(lambda: all(offer() for offer in offers), 10)
        yield lambda: min(offer()["offered"] for offer in offers)


@pytest.mark.usefixtures("unattended")
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_leaves_in_clear(nodes: dict[str, Host], offered: Watched, fault: str) -> None:
    breaking, seconds, mending = FAULTS[fault]
    before, rules = offered(), nodes["pe"].run(RULES).stdout
    with ExitStack() as stack:
        for code in HURT:
            stack.enter_context(broken(nodes[code], breaking, mending))
        time.sleep(seconds)  # for so long the fault lasts
        assert offered() - before > 10 * seconds
        assert (nodes["pe"].run(RULES).stdout == rules) is (FLUSH not in breaking)
    # Debian's script restarts nftables.service, which flushes: it would, were it not masked.
    assert nodes["pe"].service("nftables").is_masked


@pytest.mark.usefixtures("unattended")
def test_nothing_leaves_in_clear_with_no_sa_and_no_trap(
    nodes: dict[str, Host], offered: Watched
) -> None:
    before = offered()
    try:
        for code in HURT:
            assert on_node(nodes[code], "bare") == 0
        assert eventually(lambda: offered() - before > 20, 5)
    finally:
        for code in HURT:
            nodes[code].check_output("systemctl restart strongswan.service")


def test_flushed_rules_are_reported_at_once_and_come_back_by_themselves(
    nodes: dict[str, Host], offered: Watched
) -> None:
    pe = nodes["pe"]
    rules, before = pe.run(RULES).stdout, offered()
    with by_hand(pe, "firewall-heal"):
        pe.check_output(FLUSH)
        shown = pe.run("paranal status --json --service person")
        assert (shown.rc, "PAR-0603" in shown.stdout) == (1, True)
        since = pe.check_output("date +@%s")
    assert eventually(lambda: pe.run(RULES).stdout == rules, HEALED_SECONDS)
    journal = "journalctl --unit=paranal-firewall-heal.service --output=cat --since=%s"
    assert "PAR-0730" in pe.check_output(journal, since)
    assert offered() > before


HIDE = "mv /var/lib/paranal/node/firewall.json /var/lib/paranal/node/firewall.hidden"
SHOW = "mv /var/lib/paranal/node/firewall.hidden /var/lib/paranal/node/firewall.json"
CALM = "systemctl reset-failed paranal-firewall-heal.service"


@pytest.mark.usefixtures("unattended")
def test_with_nothing_confirmed_to_load_no_tunnel_serves(
    nodes: dict[str, Host], offered: Watched
) -> None:
    pe, before = nodes["pe"], offered()
    with broken(pe, FLUSH, f"{HEAL}; {START}"), broken(pe, HIDE, f"{SHOW}; {CALM}"):
        assert pe.run(HEAL).rc != 0
        assert eventually(lambda: not pe.service("strongswan").is_running, 10)
        told = pe.check_output("journalctl --unit=paranal-firewall-heal.service --lines=5")
        assert "PAR-0731" in told
        assert offered() > before


@pytest.mark.usefixtures("unattended")
def test_either_lock_holds_alone_and_without_both_the_packets_are_in_clear(
    nodes: dict[str, Host],
    views: Views,
    watch: Capture,
    offered: Watched,
) -> None:
    pe, link = nodes["pe"], names.wan_link("pe")
    ours, theirs = (views[code]["member"]["addresses"]["operational"] for code in ("pe", "co"))
    before = offered()
    with receiving(pe, ours) as delivered, broken(pe, STOP, START):
        with broken(pe, FLUSH, HEAL):
            assert watch.plant(link, theirs, ours)
        with without_routes(pe):
            assert watch.plant(link, theirs, ours)
        assert offered() > before
        assert delivered() == 0
        assert watch.foreign() == []
        with (
            watch.expecting(link, theirs, ours) as seen,
            broken(pe, FLUSH, HEAL),
            without_routes(pe),
            broken(pe, *THIRD_LOCK),
        ):
            assert eventually(lambda: any(f"{ours}." in line for line in seen()), 5)
            assert watch.plant(link, theirs, ours)
            assert eventually(lambda: delivered() == 1, 5)
