"""Measure: ``paranal bench agreement|provision|rotate|tunnel`` prints each figure beside its mark.

Marks are those of the issue that asked for them; a figure without one is there to explain another.
Both sides of a ratio come from the same run on the same hosts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from paranal.lab import (
    bench_agreement,
    bench_rotate,
    bench_tunnel,
    demo,
    engine,
    image,
    lowering,
    raising,
)
from paranal.lab.cli import crypto_profile
from paranal.lab.figure import Figure
from paranal.lab.lab import Lab
from paranal.lab.playbook import play
from paranal.lab.progress import step
from paranal.lab.wish import DEFAULT_SUITE, Wish

BENCH_LAB = "bench"
AGREEMENTS = {"provision": "pacific-alliance", "rotate": "all-live", "tunnel": "all-live"}
"""Bench -> the agreement that it measures unless told otherwise."""
WITHOUT_LAB = "agreement"
"""The bench that needs no lab: an agreement of many members."""
AIMS = {"lab_up_to_first_answer": 40, "second_converge": 5, "rotation_seconds": 10}
"""What the figures strive for beyond their marks (s)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the benches and their options."""
    parser.add_argument("bench", choices=sorted({*AGREEMENTS, WITHOUT_LAB}))
    parser.add_argument("--name", default=BENCH_LAB, help=f"the lab's name (default {BENCH_LAB})")
    known = ", ".join(f"{bench}: {word}" for bench, word in sorted(AGREEMENTS.items()))
    parser.add_argument("--agreement", help=f"default {known}")
    crypto_profile(parser)
    parser.add_argument("--data-plane", choices=["userspace", "kernel"], help="as lab up takes it")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")


def run(args: argparse.Namespace) -> int:
    """Run one bench; 0 when every mark is met, 1 otherwise."""
    if args.bench == WITHOUT_LAB:
        figures, ran = bench_agreement.measure(), dict[str, str]()
    else:
        figures, ran = _in_lab(args)
    if args.json:
        sys.stdout.write(json.dumps(as_dict(args.bench, figures, ran), indent=2) + "\n")
    else:
        _print(figures)
    return 0 if all(figure.met is not False for figure in figures.values()) else 1


def _in_lab(args: argparse.Namespace) -> tuple[dict[str, Figure], dict[str, str]]:
    """Run one bench in a lab of its own; return its figures and what the lab ran with."""
    lab = Lab(args.name)
    lowering.down(lab)
    try:
        # The kernel plane has an agreement of its own, which an up by that plane finds.
        agreement = None if args.data_plane == "kernel" else AGREEMENTS[args.bench]
        wish = Wish(
            agreement=args.agreement or agreement,
            crypto_profile=args.crypto_profile,
            data_plane=args.data_plane,
        )
        if args.bench == "tunnel":
            figures = tunnel(lab, wish)
        elif args.bench == "rotate":
            figures = rotate(lab, wish)
        else:
            figures = {**image_build(), **provision(lab, wish), **alone(lab, wish)}
        planes = sorted({each["data_plane"] for each in lab.facts()["members"].values()})
        profiles = sorted({p["crypto_profile"] for p in lab.agreement().document["pairs"]})
        ran = {"data_plane": ", ".join(planes), "crypto_profile": ", ".join(profiles)}
    finally:
        lowering.down(lab)
    return figures, ran


def as_dict(bench: str, figures: dict[str, Figure], ran: dict[str, str]) -> dict[str, Any]:
    """Return the house's shape of a bench: its name, figures with marks, and conditions.

    ``ran`` is what the lab ran with: data plane and crypto profile.
    """
    return {
        "bench": bench,
        "figures": {name: {**asdict(each), "met": each.met} for name, each in figures.items()},
        "conditions": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            **ran,
            "delay_one_way_ms": 0 if bench == "provision" else bench_tunnel.DELAY_MS,
            "load_1min": round(os.getloadavg()[0], 2),
            "ansible": "stock strategy, pipelining",
            "image": "cached, but for image_build",
            "aims": AIMS,
        },
    }


def image_build() -> dict[str, Figure]:
    """Build the node image anew beside the cached one, and see that this is there for what follows.

    Packages come from the Debian mirror, so the network is in the figure.
    """
    docker, recipe = engine.ensure(), image.RECIPES[DEFAULT_SUITE]
    anew, scratch = replace(recipe, hooks=(*recipe.hooks, ": bench")), engine.STATE / "build"
    docker.attempt("rmi", anew.tag)
    try:
        seconds, _ = _timed("image build", lambda: image.ensure(docker, anew, scratch))
    finally:
        docker.attempt("rmi", anew.tag)
    image.ensure(docker, recipe, scratch)
    return {"image_build": Figure(seconds, "s", 90)}


def provision(lab: Lab, wish: Wish) -> dict[str, Figure]:
    """Bring a lab up, provision it twice, ask, and verify it; the image is cached."""
    started = time.monotonic()
    cpu_before = _children_cpu()
    create, facts = _timed("create", lambda: raising.up(lab, wish, os.getpid()))
    members = sorted(facts["members"])
    converge, _ = _timed("first converge", lambda: demo.provision(lab))
    first_runs = _module_runs(lab, members)
    ask, _ = _timed("first consolidated answer", lambda: demo.first_answer(lab))
    first_answer = time.monotonic() - started
    cpu_first = _children_cpu() - cpu_before
    before = _run_cpu(lab, members)
    second, _ = _timed("second converge", lambda: play(lab, "site"))
    cpu_all = before.to(_run_cpu(lab, members))
    second_runs = {
        host: runs - first_runs[host] for host, runs in _module_runs(lab, members).items()
    }
    before = _run_cpu(lab, members)
    _timed("one member", lambda: play(lab, "site", "--limit", members[-1]))
    cpu_one = before.to(_run_cpu(lab, members))
    empty, _ = _timed("empty play", lambda: play(lab, "empty"))
    verify, _ = _timed("verify", lambda: _verify(lab, members))
    return {
        "lab_up_to_first_answer": Figure(round(first_answer, 1), "s", 60),
        "create": Figure(create, "s"),
        "converge": Figure(converge, "s"),
        "ask": Figure(ask, "s"),
        "controller_cpu_first": Figure(round(cpu_first, 1), "CPU s"),
        "second_converge": Figure(second, "s", 8),
        "controller_cpu_second": Figure(round(cpu_all.controller, 1), "CPU s"),
        "controller_cpu_one_member": Figure(round(cpu_one.controller, 1), "CPU s"),
        "run_cpu_second": Figure(round(cpu_all.whole, 1), "CPU s"),
        "run_cpu_one_member": Figure(round(cpu_one.whole, 1), "CPU s"),
        "one_member_unchanged_cpu_ratio": Figure(cpu_one.over(cpu_all), "ratio"),
        "empty_play": Figure(empty, "s"),
        "verify": Figure(verify, "s"),
        "second_to_empty_ratio": Figure(round(second / empty, 2), "ratio"),
        "module_runs_first": Figure(max(first_runs.values()), "runs per host", 15),
        "module_runs_unchanged": Figure(max(second_runs.values()), "runs per host", 6),
        "memory_four_nodes": Figure(_memory_mib(lab, members), "MiB", 4096),
    }


def alone(lab: Lab, wish: Wish) -> dict[str, Figure]:
    """Provision fresh nodes, all in one run and then one alone, and compare what the runs cost.

    A run that finds nothing to do is mostly Ansible's own start, which no number of nodes divides;
    its ratio stands beside this one, without a mark (``one_member_unchanged_cpu_ratio``).
    """
    cost = {}
    for which, limit in (("all", []), ("one", ["--limit", demo.ASKER])):
        lowering.down(lab)
        members = sorted(raising.up(lab, wish, os.getpid())["members"])
        before = _run_cpu(lab, members)
        _timed(f"first run, {which}", partial(play, lab, "site", *limit))
        cost[which] = before.to(_run_cpu(lab, members))
    return {
        "run_cpu_first": Figure(round(cost["all"].whole, 1), "CPU s"),
        "run_cpu_first_one_member": Figure(round(cost["one"].whole, 1), "CPU s"),
        "one_member_cpu_ratio": Figure(cost["one"].over(cost["all"]), "ratio", 0.33),
    }


def tunnel(lab: Lab, wish: Wish) -> dict[str, Figure]:
    """Bring a lab up, provision it, and measure its tunnels."""
    raising.up(lab, wish, os.getpid())
    with step("playbooks/site.yml"):
        play(lab, "site")
    return bench_tunnel.measure(lab)


def rotate(lab: Lab, wish: Wish) -> dict[str, Figure]:
    """Bring a lab up, provision and equip it, and rotate every leaf under load."""
    raising.up(lab, wish, os.getpid())
    demo.provision(lab)
    return bench_rotate.measure(lab)


def _verify(lab: Lab, members: list[str]) -> None:
    """Prove every line and see every direction good, on all nodes at once, as an operator would."""

    def verified(member: str) -> None:
        lab.exec(member, "paranal", "line-check")
        lab.exec(member, "paranal", "status", "--service", "person", "--probe")

    with ThreadPoolExecutor() as pool:
        list(pool.map(verified, members))


def _timed(what: str, act: Callable[[], Any]) -> tuple[float, Any]:
    started = time.monotonic()
    with step(what):
        result = act()
    return round(time.monotonic() - started, 2), result


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True)
class _Cpu:
    """CPU seconds so far: the controller's children, and whatever came to the nodes by ssh."""

    controller: float
    nodes: float

    @property
    def whole(self) -> float:
        return self.controller + self.nodes

    def to(self, after: _Cpu) -> _Cpu:
        """Return what was used from here to ``after``."""
        return _Cpu(after.controller - self.controller, after.nodes - self.nodes)

    def over(self, other: _Cpu) -> float:
        """Return the ratio to another run."""
        return round(self.whole / other.whole, 2)


def _run_cpu(lab: Lab, members: list[str]) -> _Cpu:
    """Read both; a run's modules are all in the cgroup of sshd, and the nodes' own work is not."""
    nodes = 0.0
    for member in members:
        used = lab.exec(member, "cat", "/sys/fs/cgroup/system.slice/ssh.service/cpu.stat")
        figures = dict(line.split() for line in used.stdout.decode().splitlines())
        nodes += int(figures["usage_usec"]) / 1_000_000
    return _Cpu(_children_cpu(), nodes)


def _module_runs(lab: Lab, members: list[str]) -> dict[str, int]:
    """Count the module runs of each node so far: with pipelining, one sudo command each.

    sudo's own log on the node says so; no plugin of ours takes part in the count.
    """

    def runs(member: str) -> int:
        journal = lab.exec(member, "journalctl", "--identifier=sudo", "--output=cat", "--no-pager")
        return sum(b"COMMAND=" in line for line in journal.stdout.splitlines())

    with ThreadPoolExecutor() as pool:
        return dict(zip(members, pool.map(runs, members), strict=True))


def _memory_mib(lab: Lab, members: list[str]) -> float:
    """Return what all processes of the nodes hold, as proportional set sizes (MiB)."""

    def held(member: str) -> int:
        script = (
            "import glob\n"
            "total = 0\n"
            "for name in glob.glob('/proc/[0-9]*/smaps_rollup'):\n"
            "    try:\n"
            "        lines = open(name).read().splitlines()\n"
            "    except OSError:\n"
            "        continue\n"
            "    total += sum(int(l.split()[1]) for l in lines if l.startswith('Pss:'))\n"
            "print(total)\n"
        )
        return int(lab.exec(member, "python3", "-c", script).stdout)

    return round(sum(held(member) for member in members) / 1024, 0)


def _print(figures: dict[str, Figure]) -> None:
    table = Table("figure", "value", "unit", "mark", "met")
    for name, each in figures.items():
        met = {True: "yes", False: "NO", None: ""}[each.met]
        table.add_row(name, f"{each.value:g}", each.unit, f"{each.mark or ''}", met)
    Console().print(table)
