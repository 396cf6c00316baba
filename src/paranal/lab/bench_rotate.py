"""Rotate every leaf of all countries under load, 40 ms apart one way, and count what is lost.

``RATE`` queries a second, evenly over every open direction of ``person``, as each country's post
asks. Idle and rotation are measured in the same run by the same load, one after the other.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paranal.agreement import is_open, member_view
from paranal.lab import faults, load
from paranal.lab.bench_tunnel import DELAY_MS
from paranal.lab.figure import Figure
from paranal.lab.lab import Lab
from paranal.lab.names import border
from paranal.lab.people import DEMO_CLEAN_FIELDS
from paranal.lab.playbook import play
from paranal.lab.progress import step
from paranal.lab.relay import Impairment

RATE = 50.0
IDLE_SECONDS = 20.0
SETTLE_SECONDS = 6.0
"""So long four posts take to start and to make a connection for each direction, and more."""
AFTER_SECONDS = 3.0
DEADLINE_SECONDS = 5.0
WITHIN_SECONDS, P99_TIMES = 20, 2
STOP = "/run/load.stop"
Asked = tuple[float, float, str]


def measure(lab: Lab) -> dict[str, Figure]:
    """Measure a provisioned and equipped lab."""
    faults.impair(lab, Impairment(delay_ms=DELAY_MS))
    with asking(lab) as ended:
        time.sleep(SETTLE_SECONDS)  # the first question on each direction makes its connection
        idle_from = time.time()
        with step("idle"):
            time.sleep(IDLE_SECONDS)
        begun = time.time()
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        with step("rotating every leaf"):
            play(lab, "rotate_certificates", "--extra-vars", f"pki_rotate_before={moment}")
        over = time.time()
        time.sleep(AFTER_SECONDS)
        asked = ended()
    faults.impair(lab, Impairment())
    return figures(asked, idle_from, begun, over)


def figures(
    asked: Sequence[Asked], idle_from: float, begun: float, over: float
) -> dict[str, Figure]:
    """Return the figures of one run; what was asked until shortly after its end counts as in it."""
    idle = [each for each in asked if idle_from <= each[0] < begun]
    during = [each for each in asked if each[0] >= begun]
    lost = [each for each in during if ":" in each[2]]
    p99 = {"idle": _p99(idle), "rotation": _p99(during)}
    return {
        "rotation_seconds": Figure(round(over - begun, 1), "s", WITHIN_SECONDS),
        "asked_idle": Figure(len(idle), "queries"),
        "lost_idle": Figure(sum(":" in each[2] for each in idle), "queries", 0),
        "asked": Figure(len(during), "queries"),
        "lost": Figure(len(lost), "queries", 0),
        "p99_idle": Figure(round(p99["idle"], 1), "ms"),
        "p99_rotation": Figure(round(p99["rotation"], 1), "ms"),
        "ratio_p99": Figure(round(p99["rotation"] / p99["idle"], 2), "ratio", P99_TIMES),
        "worst": Figure(round(max(each[1] for each in during), 1), "ms"),
    }


def _p99(asked: Sequence[Asked]) -> float:
    return statistics.quantiles([each[1] for each in asked], n=100)[98]


@contextmanager
def asking(lab: Lab, rate: float = RATE, among: Collection[str] = ()) -> Iterator[Any]:
    """Have every country's post ask, ``rate`` questions a second in all, each of them once.

    ``among`` some countries only, or all. What is yielded ends it and returns all that was asked.
    """
    agreement = lab.agreement()
    asked = sorted(among or lab.facts()["members"])
    views = {code: member_view(agreement, code) for code in asked}
    peers = {code: _answerers(view, asked) for code, view in views.items()}
    total = sum(map(len, peers.values()))
    running = {
        code: _start(lab, views[code]["member"], asks, rate * len(asks) / total)
        for code, asks in peers.items()
        if asks
    }

    def ended() -> list[Asked]:
        stop(lab, running)
        outputs = [process.communicate()[0] for process in running.values()]
        return [tuple(each) for output in outputs for each in json.loads(output)["asked"]]

    try:
        yield ended
    finally:
        stop(lab, running)
        for process in running.values():
            with process:
                pass


def _answerers(view: dict[str, Any], among: Collection[str]) -> list[str]:
    """Return whom one country may ask about a person, of these."""
    return [
        peer["code"]
        for peer in view["peers"]
        if peer["code"] in among and is_open(peer["asks"]["person"])
    ]


def stop(lab: Lab, running: dict[str, subprocess.Popen[str]]) -> None:
    """Tell every post that asks to end."""
    for code, process in running.items():
        if process.poll() is None:
            lab.exec(border(code), "touch", STOP)


def _start(
    lab: Lab, member: dict[str, Any], peers: list[str], rate: float
) -> subprocess.Popen[str]:
    """Start one country's load and return when it asks."""
    given = {
        "address": member["addresses"]["national"],
        "port": 7440,
        "server_name": f"n.{member['domain']}",
        "credentials": "/etc/paranal/tls/post.pem",
        "peers": peers,
        "body": {"officer": "bench-1", "purpose": "border_entry", "person": DEMO_CLEAN_FIELDS},
        "rate": rate,
        "deadline": DEADLINE_SECONDS,
        "stop": STOP,
    }
    where = border(member["code"])
    lab.exec(where, "rm", "-f", STOP)
    source = Path(load.__file__).read_text(encoding="utf-8")
    process = subprocess.Popen(  # noqa: S603 - a list of words, no shell
        lab.command(where, ["python3", "-I", "-c", source, json.dumps(given)]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    process.stdout.readline()  # it asks
    return process
