"""Measure the tunnels of a lab: how soon they are up, how soon they are back, what they carry.

Judged at 40 ms one way by what both ends of every pair hold (``paranal.lab.watching``); only the
rate and the round trip are measured on a perfect line, where the tunnel is what limits. Beside the
handshake of another crypto profile stands that of ``classic``, between the same two afterwards.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from paranal.agreement.crypto import PROFILES
from paranal.lab import faults, handshake, pump
from paranal.lab.figure import Figure
from paranal.lab.lab import Lab
from paranal.lab.playbook import play
from paranal.lab.progress import step
from paranal.lab.relay import Impairment
from paranal.lab.watching import Pair, Watch, now, pairs_of, until
from paranal.lab.wish import with_profile

DELAY_MS = 40
SAMPLES = 3
LONGEST_SECONDS = 60.0
HANDSHAKES = 5
QUIET_SECONDS = 2.0
"""So long must the mesh stay whole to have been whole."""
TRIPS, PUMP_SECONDS = 500, 5.0
BASELINE = "classic"
SERVICE = "strategic"
"""Its port is open in the firewall, and no daemon of ours listens there."""


def measure(lab: Lab) -> dict[str, Figure]:
    """Measure a provisioned lab in which every pair is open."""
    pairs = pairs_of(lab)
    pair = measured_pair(lab, pairs)
    carried = carries(lab, pair)
    faults.impair(lab, Impairment(delay_ms=DELAY_MS))
    with Watch(lab, sorted(lab.facts()["members"])) as watch:
        everything = [establish(lab, watch, pairs) for _ in range(SAMPLES)]
        one = [establish(lab, watch, [pair]) for _ in range(SAMPLES)]
        establish(lab, watch, pairs)
        back = {
            "back_initiator": [killed(lab, watch, pairs, pair.one) for _ in range(SAMPLES)],
            "back_responder": [killed(lab, watch, pairs, pair.other) for _ in range(SAMPLES)],
            "back_partition": [parted(lab, watch, pairs, pair.other)],
        }
        timed = handshakes(lab, watch, pair)
    faults.impair(lab, Impairment())
    established_all, established_one = statistics.median(everything), statistics.median(one)
    return {
        "established_all": Figure(round(established_all, 2), "s", 3),
        "established_one": Figure(round(established_one, 2), "s"),
        "ratio_all_to_one": Figure(round(established_all / established_one, 2), "ratio", 2),
        **{name: Figure(round(max(seconds), 2), "s", 10) for name, seconds in back.items()},
        **timed,
        **carried,
    }


def measured_pair(lab: Lab, pairs: Sequence[Pair]) -> Pair:
    """Return the pair of the first and the last member on the data plane that is measured.

    That is the kernel's where a member has it, and a pair of two such members is not mixed.
    """
    planes = {code: each["data_plane"] for code, each in sorted(lab.facts()["members"].items())}
    plane = "kernel" if "kernel" in planes.values() else "userspace"
    first, *_, last = (code for code, its in planes.items() if its == plane)
    return next(pair for pair in pairs if (pair.one, pair.other) == (first, last))


def establish(lab: Lab, watch: Watch, pairs: Sequence[Pair]) -> float:
    """Start the daemons of some pairs at once, the others being down; return the seconds.

    From the start of the first of them to the moment when both ends of each pair hold everything.
    """
    members = sorted({code for pair in pairs for code in (pair.one, pair.other)})
    everywhere(lab, watch.accounts, "systemctl", "stop", "strongswan")
    begun = now()
    with step(f"starting {', '.join(members)}"):
        everywhere(lab, members, "systemctl", "start", "strongswan")
        since = watch.back(pairs, begun, LONGEST_SECONDS, QUIET_SECONDS)
    starts: list[float] = [watch.accounts[code].at(since)["charon"] for code in members]
    return since - min(starts)


def killed(lab: Lab, watch: Watch, pairs: Sequence[Pair], member: str) -> float:
    """Kill one daemon, which its unit starts again; return the seconds until all is whole.

    From the moment when its own gateway finds it gone: to tell a machine so takes seconds.
    """
    account, asked = watch.accounts[member], now()
    with step(f"killing the daemon of {member}"):
        lab.exec(member, "systemctl", "kill", "--signal=KILL", "strongswan")
        until(lambda: account.gone(asked) < now(), LONGEST_SECONDS)
        begun = min(account.gone(asked), now())
        return watch.back(pairs, begun, LONGEST_SECONDS, QUIET_SECONDS) - begun


def parted(lab: Lab, watch: Watch, pairs: Sequence[Pair], member: str) -> float:
    """Part one country from all until its tunnels are gone; return the seconds from the heal."""
    with step(f"parting {member} from all"):
        faults.isolate(lab, member)
        until(lambda: watch.accounts[member].at(now())["sas"] == {}, LONGEST_SECONDS)
        begun = now()
        faults.clear(lab)
        faults.impair(lab, Impairment(delay_ms=DELAY_MS))
        return watch.back(pairs, begun, LONGEST_SECONDS, QUIET_SECONDS) - begun


def handshakes(lab: Lab, watch: Watch, pair: Pair) -> dict[str, Figure]:
    """Time the pair's handshake, and that of ``classic`` beside it, which it goes to for that.

    The lab's agreement says afterwards what it said; its nodes do not run it.
    """
    agreement = lab.agreement()
    (profile,) = {
        each["crypto_profile"]
        for each in agreement.document["pairs"]
        if each["members"] == [pair.one, pair.other]
    }
    own = shaken(lab, watch, pair, profile)
    found = {"handshake": Figure(round(own, 3), "s")}
    if profile == BASELINE:
        return found
    try:
        lab.declare(with_profile(agreement, BASELINE).document)
        with step(f"taking {pair.one} and {pair.other} to {BASELINE}"):
            play(lab, "site", "--limit", f"{pair.one},{pair.other}")
        plain = shaken(lab, watch, pair, BASELINE)
    finally:
        lab.declare(agreement.document)
    return found | {
        "handshake_classic": Figure(round(plain, 3), "s"),
        "handshake_extra": Figure(round(own - plain, 3), "s"),
    }


def shaken(lab: Lab, watch: Watch, pair: Pair, profile: str) -> float:
    """Make a pair's tunnels anew, no timer helping; return the median of the seconds.

    Raises ``Refusal`` PAR-0222 when the pair does not run the profile and nothing else by then.
    """
    source = Path(handshake.__file__).read_text(encoding="utf-8")
    asked = {
        "peer": watch.accounts[pair.other].identity,
        "children": sorted(pair.channels),
        "key_exchange": PROFILES[profile].key_exchange,
    }

    def made(times: int, *, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        given = json.dumps({**asked, "times": times})
        return lab.exec(pair.one, "python3", "-I", "-c", source, given, check=check)

    with step(f"handshakes of {pair.one} with {pair.other}, {profile}"):
        until(lambda: made(0, check=False).returncode == 0, LONGEST_SECONDS)
        with timerless(lab, pair.one):
            took: list[float] = json.loads(made(HANDSHAKES).stdout)
    return statistics.median(took)


@contextmanager
def timerless(lab: Lab, member: str) -> Iterator[None]:
    """Keep a member's upkeep from starting tunnels meanwhile."""
    units = [f"paranal-heal.{kind}" for kind in ("timer", "service")]
    try:
        lab.exec(member, "systemctl", "stop", *units)
        yield
    finally:
        lab.exec(member, "systemctl", "start", units[0])


def carries(lab: Lab, pair: Pair) -> dict[str, Figure]:
    """Measure rate and round trip through a tunnel, and in clear on the same wires."""
    agreement = lab.agreement()
    port = agreement.document["services"][SERVICE]["port"]
    ends = [agreement.members[code] for code in (pair.one, pair.other)]
    inside = measured(lab, pair, [end["addresses"][SERVICE] for end in ends], port)
    with opened(lab, pair, port):
        clear = measured(lab, pair, [end["wan_address"] for end in ends], port)
    return {
        "rate_tunnel": Figure(round(inside["mbit_s"], 1), "Mbit/s"),
        "rate_clear": Figure(round(clear["mbit_s"], 1), "Mbit/s"),
        "ratio_rate": Figure(round(inside["mbit_s"] / clear["mbit_s"], 4), "ratio"),
        "rtt_tunnel": Figure(round(inside["rtt_ms"], 3), "ms"),
        "rtt_clear": Figure(round(clear["rtt_ms"], 3), "ms"),
        "ratio_rtt": Figure(round(inside["rtt_ms"] / clear["rtt_ms"], 2), "ratio"),
    }


def measured(
    lab: Lab,
    pair: Pair,
    addresses: Sequence[str],
    port: int,
    trips: int = TRIPS,
    seconds: float = PUMP_SECONDS,
) -> dict[str, float]:
    """Pump between two addresses of a pair and return what the caller measured."""
    source = Path(pump.__file__).read_text(encoding="utf-8")

    def words(**given: object) -> list[str]:
        return ["python3", "-I", "-c", source, json.dumps(given)]

    ours, theirs = addresses
    with (
        step(f"pumping from {ours} to {theirs}"),
        subprocess.Popen(  # noqa: S603 - a list of words, no shell
            lab.command(pair.other, words(serve=[theirs, port])), stdout=subprocess.PIPE
        ) as serving,
    ):
        assert serving.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        serving.stdout.readline()  # it listens
        asked = words(call=[theirs, port], source=ours, trips=trips, seconds=seconds)
        found: dict[str, float] = json.loads(lab.exec(pair.one, *asked).stdout)
    return found


@contextmanager
def opened(lab: Lab, pair: Pair, port: int) -> Iterator[None]:
    """Let one port pass in clear between two gateways, and have their own rules again after."""
    members = (pair.one, pair.other)
    rules = "".join(
        f'insert rule inet paranal {chain} {side} "wan" tcp {end} {port} accept\n'
        for chain, side in (("input", "iifname"), ("output", "oifname"))
        for end in ("sport", "dport")
    )
    try:
        for code in members:
            lab.exec(code, "nft", "-f", "-", given=rules.encode())
        yield
    finally:
        everywhere(lab, members, "systemctl", "reload", "paranal-firewall")


def everywhere(lab: Lab, members: Iterable[str], *words: str) -> None:
    """Run a command on several nodes at once."""

    def run(code: str) -> Callable[[], object]:
        return lambda: lab.exec(code, *words)

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(run(code)) for code in members]:
            done.result()
