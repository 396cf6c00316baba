"""The model of the proof beside the real kernel: packets sent for real, every verdict compared.

On the kernel data plane this kernel has no ESP, so that nothing here comes out of a tunnel or goes
into one there: what is compared is everything in the clear. The userspace plane is compared whole.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.service.proof.theatre import ROOT, Node, node

DRAWN, PACKETS = 11_000, 10_000
"""Packets sent; and those that reach the rules at least, because IP itself refuses some."""
SEED = 20180301

AGREEMENTS = [
    path.stem
    for path in sorted((ROOT / "agreement").glob("*.yml"))
    # One of each family of addresses; all-live has the rules of pacific-alliance, and more of them.
    if path.stem in ("pacific-alliance", "ipv6")
]


@pytest.mark.req("B3")
@pytest.mark.parametrize("agreement", AGREEMENTS)
@pytest.mark.parametrize("plane", ["userspace", "kernel"])
def test_ten_thousand_packets_end_as_the_model_says(plane: str, agreement: str) -> None:
    pe = node(plane, agreement)
    drawn = pe.draw(SEED, DRAWN)
    seen = pe.send(drawn, pe.flows())
    assert sum(bool(one["before"]) for one in seen) >= PACKETS
    compared = list(pe.compare(drawn, seen))
    assert [each for each in compared if each.passed not in each.model] == []
    # Only a rate leaves the model two answers.
    assert sum(len(each.model) > 1 for each in compared) < len(compared) / 50
    _is_a_fair_sample(pe, Counter(f"{each.hook} {each.passed}" for each in compared))
    decided = {rule for each in compared for rule in each.by}
    reachable = {
        str(rule)
        for chain in pe.ruleset.chains.values()
        for rule in chain.rules
        if rule.verdict in ("accept", "drop")
        and not (plane == "kernel" and {"decrypted", "encrypted"} & rule.condition.keys())
    }
    assert reachable - decided == set()


def _is_a_fair_sample(pe: Node, counted: Counter[str]) -> None:
    """Both verdicts, often, wherever the rules have both."""
    for hook in ("prerouting", "input", "output"):
        for passed in (True, False):
            assert counted[f"{hook} {passed}"] >= 100, counted
    assert counted["forward False"] >= 200
    assert counted["forward True"] == 0


@pytest.mark.req("B3")
def test_the_comparison_notices_a_model_that_reads_one_rule_wrongly() -> None:
    """The control: the kernel runs other rules than the model, by one word."""
    pe = node("userspace")
    other = pe.changed("tcp dport 22 accept", "tcp dport 23 accept")
    drawn = pe.draw(SEED, 2_000)
    compared = list(pe.compare(drawn, other.send(drawn, pe.flows())))
    assert [each for each in compared if each.passed not in each.model]


PMTU = (
    'iifname "wan" ip daddr 203.0.113.34 icmp type destination-unreachable',
    'iifname "wan" icmp type destination-unreachable',
)
GUARD = (
    'ip daddr @own_addresses iifname != { "lo", "ipsec0" } counter name "clear_in" jump drop_logged'
)
HOLES = {
    "a blanket established": [
        ('iif "lo" accept', 'iif "lo" accept\n    ct state established accept')
    ],
    "a port without its interface": [
        ('iif "lo" accept', 'iif "lo" accept\n    tcp dport 7443 accept')
    ],
    "a forward from the WAN": [
        (
            'counter name "dropped_forward" jump',
            'iifname "wan" accept\n    counter name "dropped_forward" jump',
        )
    ],
    "what would leave in the clear only counted": [
        (
            'ip daddr @peer_prefixes oifname != "ipsec0" counter name "clear_out" jump reject',
            'ip daddr @peer_prefixes oifname != "ipsec0" counter name "clear_out" # jump reject',
        )
    ],
    "an ICMP error to an address of the alliance (as it once was)": [PMTU, (GUARD, "")],
    "a reply of the country's clock to an address of the alliance (as it once was)": [(GUARD, "")],
}


@pytest.mark.req("B3")
@pytest.mark.parametrize("hole", HOLES)
def test_a_planted_hole_has_a_counterexample_that_really_passes(hole: str) -> None:
    sound = node("userspace")
    holed = sound
    for old, new in HOLES[hole]:
        holed = holed.changed(old, new)
    assert sound.broken() == []
    broken = holed.broken()
    assert broken
    for each in broken:
        assert each.broken
        assert holed.passes(each.broken), each
        assert not sound.passes(each.broken), each
