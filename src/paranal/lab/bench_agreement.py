"""What an agreement of many members costs: to check it, and to render one member's half.

A pair binds two members, so n members have n (n - 1) / 2 of them: a member's own share grows with
the number of its peers, and must not grow faster.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from paranal.agreement import load, member_view
from paranal.agreement.connections import connections, to_swanctl
from paranal.lab.figure import Figure
from paranal.lab.home import ROOT
from paranal.rendering import render

FEW, MANY = 16, 64
TIMES = 3
"""The least CPU time of so many is taken: the machine does other things too."""
SOURCE = ROOT / "agreement" / "all-live.yml"


def measure() -> dict[str, Figure]:
    """Return the cost of each size, and by how much a member's share grows between the two."""
    spent = {count: _spent(count) for count in (FEW, MANY)}
    grows = {
        what: (spent[MANY][what] / MANY) / (spent[FEW][what] / FEW) for what in ("check", "render")
    }
    found = {
        f"{what}_{count}_members": Figure(round(spent[count][what], 4), "CPU s")
        for what in ("check", "render")
        for count in (FEW, MANY)
    }
    linear = round((MANY - 1) / (FEW - 1), 2)  # a member has so many times the peers
    return found | {
        f"{what}_share_growth": Figure(round(value, 2), "ratio", linear)
        for what, value in grows.items()
    }


def document(count: int) -> dict[str, Any]:
    """Return a sound agreement of so many members, every direction as between the first two."""
    model = load(SOURCE).document
    codes = ["".join(pair) for pair in itertools.product("abcdefgh", repeat=2)][:count]
    pattern = model["pairs"][0]
    direction = next(iter(pattern["directions"].values()))
    pairs = [
        {
            **pattern,
            "members": [one, other],
            "directions": {f"{one}>{other}": direction, f"{other}>{one}": direction},
        }
        for one, other in itertools.combinations(codes, 2)
    ]
    members = {code: _member(model, code, number) for number, code in enumerate(codes)}
    # What two places share would be written as an alias of YAML, which no agreement has.
    return copy.deepcopy({**model, "members": members, "pairs": pairs})


def _member(model: dict[str, Any], code: str, number: int) -> dict[str, Any]:
    """Return a member of its own in documentation and private addresses (RFC 5737, RFC 1918)."""
    inner, names = f"10.{number}", {"ike": "gw", "operational": "q", "strategic": "s"}
    places = {"national": 0, "operational": 1, "strategic": 2}
    return {
        **next(iter(model["members"].values())),
        "wan_address": f"198.51.100.{number + 1}",
        "inner_prefix": f"{inner}.0.0/16",
        "addresses": {name: f"{inner}.{net}.1" for name, net in places.items()},
        "identities": {use: f"{name}.{code}.{model['domain']}" for use, name in names.items()},
    }


def _spent(count: int) -> dict[str, float]:
    """Return the CPU seconds that ``check`` and ``render`` of ``count`` members take."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "agreement.yml"
        path.write_text(_written(document(count)), encoding="utf-8")
        agreement = load(path)
        return {
            "check": _least(lambda: load(path)),
            # Each member renders its own half: what all of them cost together.
            "render": count * _least(lambda: _render(member_view(agreement, "aa"))),
        }


class _Plain(yaml.CSafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _written(value: dict[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Plain, sort_keys=False)


def _render(view: dict[str, Any]) -> None:
    anchors = {peer["code"]: "" for peer in view["peers"]}
    for connection in connections(view, anchors):
        to_swanctl(connection)
    values = {
        "view": view,
        "management_sources": [],
        "services": [],
        "log_rate": "10/minute",
        "tunnel_mss": 1160,
    }
    render(ROOT / "templates", "nft/firewall.nft.j2", values)


def _least(act: Callable[[], object]) -> float:
    return min(_timed(act) for _ in range(TIMES))


def _timed(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started
