"""Who attacks from the wide area under a peer's own address, which the firewall lets through."""

from __future__ import annotations

import time

import pytest
from testinfra.host import Host

from paranal.lab import faults
from paranal.lab.lab import Lab
from tests.mesh.faults.conftest import Note
from tests.mesh.faults.support import (
    asking,
    attack_ended,
    between,
    carries,
    charon,
    every_sa,
    half_open,
    kept,
    not_ok,
    pairs_without,
    until,
)
from tests.mesh.support import (
    Capture,
    Views,
    capture,
    counted,
    eventually,
    every_spi,
    sas_with,
    spis,
)

COOKIES_FROM = 3
"""``cookie_threshold_ip`` of role ipsec: so many half-open IKE_SAs one address may have."""
RECONNECTED_SECONDS = 15.0
UNDER_WAY_SECONDS = 0.5
"""Until the end of a connection that the last question closed has crossed, 40 ms at a time."""
GROWTH_KIB = 2048
"""What charon may keep after thousands of malformed packets: its caches, not the packets."""


def _restarted(node: Host) -> None:
    node.check_output("kill -9 $(pidof charon-systemd)")


@pytest.mark.quick
@pytest.mark.req("B3", "B4")
def test_under_a_flood_in_its_peers_names_tunnels_stay_and_a_true_peer_connects(
    lab: Lab, nodes: dict[str, Host], views: Views, note: Note
) -> None:
    """Colombia's charon dies while Peru is asked 500 times a second, in Colombia's name too."""
    pe = nodes["pe"]
    before, others = charon(pe), kept(nodes, [("mx", "pe"), ("cl", "pe"), ("cl", "mx")])
    with capture(lab, "udp port 500") as seen, asking(lab, views, "pe", ["mx", "cl"], 20) as asked:
        faults.attack(lab, "flood", "pe", seed=1, rate=500, seconds=20.0)
        assert eventually(lambda: half_open(nodes, "pe") > 0, 5), "the flood reaches charon"
        _restarted(nodes["co"])
        most = 0

        def connected() -> bool:
            nonlocal most
            most = max(most, half_open(nodes, "pe"))
            return any(map(carries, between(every_sa(nodes), "co", "pe")))

        seconds = until(connected, RECONNECTED_SECONDS)
        assert seconds is not None, "the true peer is locked out"
        assert faults.present(lab)["attack"], "it connected under the flood, not after it"
        sent = attack_ended(lab, 30)["sent"]
    note("peer connected after s", round(seconds, 1))
    note("half-open at most", most)
    assert sent == 10_000
    # 3 of each of three addresses and, for a moment, the true peer's own.
    assert most <= 3 * COOKIES_FROM + 2
    answers = asked.result()
    note("queries", len(answers))
    assert not_ok(answers) == []
    assert kept(nodes, [("mx", "pe"), ("cl", "pe"), ("cl", "mx")]) == others
    now = charon(pe)
    assert (now["pid"], now["started"]) == (before["pid"], before["started"])
    assert now["rss_kib"] - before["rss_kib"] <= GROWTH_KIB
    # A cookie and nothing else: an answer without a key exchange, short.
    cookies = sum("ikev2_init[R]" in one for one in seen.seen)
    note("cookies", cookies)
    assert cookies > sent / 2, seen.seen[-3:]


@pytest.mark.quick
@pytest.mark.req("B4")
def test_malformed_packets_end_nothing_and_leave_nothing(
    lab: Lab, nodes: dict[str, Host], views: Views, note: Note
) -> None:
    pe = nodes["pe"]
    # Once beforehand, so that what charon allocates for good is there.
    faults.attack(lab, "fuzz", "pe", seed=1, rate=500, count=900)
    attack_ended(lab, 30)
    before, tunnels = charon(pe), kept(nodes, pairs_without())
    with asking(lab, views, "pe", ["co", "mx", "cl"], 8) as asked:
        faults.attack(lab, "fuzz", "pe", seed=2, rate=400, count=2700)
        found = attack_ended(lab, 30)
    assert found["sent"] == 2700
    assert {"oversized", "wrong version", "zero SPI", "length lie", "random ESP"} <= set(found)
    assert not_ok(asked.result()) == []
    assert until(lambda: half_open(nodes, "pe") == 0, 30) is not None
    now = charon(pe)
    note("charon's memory KiB", [before["rss_kib"], now["rss_kib"]])
    assert (now["pid"], now["started"]) == (before["pid"], before["started"])
    assert now["rss_kib"] - before["rss_kib"] <= GROWTH_KIB
    assert kept(nodes, pairs_without()) == tunnels
    journal = pe.check_output("journalctl --unit=strongswan --since=-60s --output=cat")
    assert "received invalid IKE header" in journal, "the reason is named"


@pytest.mark.quick
@pytest.mark.req("B3", "B4")
def test_broken_fragments_are_put_together_or_dropped(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    pe, target = nodes["pe"], views["pe"]["member"]["wan_address"]
    before, tunnels = charon(pe), kept(nodes, pairs_without())
    source = views["co"]["member"]["wan_address"]
    with capture(lab, f"src host {target} and dst host {source} and udp port 500") as seen:
        faults.attack(lab, "fragments", "pe", ["co"], seed=1)
        attack_ended(lab, 10)
    # Three of the six can be put together, and charon answers them; it may answer one again.
    answers = [one for one in seen.seen if "ikev2_init[R]" in one]
    assert len(answers) >= 3, seen.seen
    now = charon(pe)
    assert (now["pid"], now["started"]) == (before["pid"], before["started"])
    assert kept(nodes, pairs_without()) == tunnels


@pytest.mark.req("B3", "B4")
def test_fragments_of_inner_packets_in_clear_are_dropped_and_counted(
    lab: Lab, nodes: dict[str, Host], views: Views, watch: Capture
) -> None:
    """A firewall that reads ports must not be passed by cutting them off."""
    own, peer = views["pe"]["member"], views["co"]["member"]["addresses"]["operational"]
    forged = _neighbour(peer)
    watch.expect(f"{forged}.")
    watch.expect(f"{forged} ")
    before = counted(nodes["pe"], "clear_in")
    target = own["addresses"]["operational"]
    faults.attack(lab, "fragments", "pe", seed=1, under=[forged], target=target)
    attack_ended(lab, 10)
    # The three that can be put together are seen whole; of the others the kernel makes no packet.
    assert counted(nodes["pe"], "clear_in") == before + 3


def _neighbour(address: str) -> str:
    """Return another address of the same member: the last number is 99."""
    separator = ":" if ":" in address else "."
    return f"{address.rpartition(separator)[0]}{separator}99"


def _packets_in(node: Host, peer: str) -> int:
    """Return how many packets the pair's CHILD_SAs have taken in so far."""
    children = [child for sa in sas_with(node, peer) for child in sa["child-sas"].values()]
    return sum(int(child["packets-in"]) for child in children)


@pytest.mark.req("B3", "B4")
@pytest.mark.parametrize(
    ("rekeyed", "ahead"),
    [pytest.param(False, 0, marks=pytest.mark.quick), (True, 0), (False, 1000)],
    ids=["at once", "after a rekey", "from the future"],
)
def test_replayed_packets_are_not_delivered_and_true_ones_still_are(
    lab: Lab, nodes: dict[str, Host], views: Views, rekeyed: bool, ahead: int
) -> None:
    """A forged number must not move the window on, or the true packets would be too old."""
    pe = nodes["pe"]
    with asking(lab, views, "co", ["pe"], 2) as asked:
        faults.replay(lab, "co", "pe", 10, 14.0 if rekeyed else 6.0, 2, ahead)
    assert not_ok(asked.result()) == []
    found = faults.attacked(lab)
    assert found is not None
    assert found["counted"] == {"taken": 10, "sent": 0}
    if rekeyed:
        (name,) = {sa["name"] for sa in sas_with(pe, "co")}
        old = spis(pe, "co")["operational"]
        pe.check_output("swanctl --rekey --ike %s --child operational", name)
        # charon takes in what was under way for some seconds more.
        assert eventually(lambda: old not in every_spi(pe), 10)
    else:
        time.sleep(UNDER_WAY_SECONDS)
    before, device = _packets_in(pe, "co"), _received(pe)
    assert attack_ended(lab, 20)["sent"] == 20
    assert _packets_in(pe, "co") == before
    assert _received(pe) == device
    with asking(lab, views, "co", ["pe"], 1) as asked:
        pass
    assert not_ok(asked.result()) == []
    assert _packets_in(pe, "co") > before


@pytest.mark.req("B3", "B4")
def test_a_packet_that_was_kept_back_is_delivered_once(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    """The control of the replay: the same run delivers what the line lost, and only once."""
    pe = nodes["pe"]
    faults.lose(lab, [("co", "pe")])
    before = _packets_in(pe, "co")
    faults.replay(lab, "co", "pe", 2, 1.0, 3)
    with asking(lab, views, "co", ["pe"], 1):
        assert attack_ended(lab, 40) == {"taken": 2, "sent": 6}
        assert _packets_in(pe, "co") == before + 2


def _received(node: Host) -> int:
    """Return how many packets have come out of the tunnels' device."""
    return int(node.file("/sys/class/net/ipsec0/statistics/rx_packets").content_string)
