"""The kernel's own drop policies (ESP-006): every peer and direction, on the kernel plane only."""

from __future__ import annotations

import re
from typing import Any

import jinja2
import pytest
import yaml

from paranal.agreement import load, member_view
from paranal.lab.home import ROOT

ROLE = ROOT / "roles" / "ipsec"
GOLDEN = ROOT / "tests" / "unit" / "templates" / "golden"
FILES = ("etc/paranal/drop-policies", "etc/systemd/system/paranal-drop-policies.service")


def _rendered(member: str, file: str, agreement: str = "kernel") -> str:
    view = member_view(load(ROOT / "agreement" / f"{agreement}.yml"), member)
    variables: dict[str, Any] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text("utf-8"))
    numbers = {key: value for key, value in variables.items() if key.endswith("_priority")}
    loader = jinja2.FileSystemLoader([ROLE / "templates", ROOT / "templates"])
    made = jinja2.Environment(loader=loader, trim_blocks=True, autoescape=False)  # noqa: S701 - no HTML
    return made.get_template(f"{file}.j2").render(node_view=view, ansible_managed="x", **numbers)


@pytest.mark.req("B4")
def test_every_peer_is_dropped_in_every_direction_below_every_tunnel() -> None:
    lines = _rendered("pe", FILES[0]).splitlines()
    batch = [line for line in lines if not line.startswith("#")]
    found = set()
    for line in batch:
        match = re.fullmatch(
            r"xfrm policy update dir (in|fwd|out) (src|dst) (\S+) priority (\d+) action block", line
        )
        assert match, line
        # Wider than any tunnel's policy, which has six digits: the lower number wins.
        assert int(match[4]) > 999_999
        found.add((match[1], match[2], match[3]))
    prefixes = ("10.56.0.0/16", "10.57.0.0/16", "10.52.0.0/16")
    assert found == {
        (direction, "dst" if direction == "out" else "src", prefix)
        for prefix in prefixes
        for direction in ("in", "fwd", "out")
    }
    assert len(batch) == 9


@pytest.mark.req("B4")
def test_by_ipv6_what_bears_the_mark_of_lo_is_let_in_before_every_tunnel_and_nothing_else() -> None:
    rules = (GOLDEN / "pe-ipv6-kernel.nft").read_text("utf-8")
    (mark,) = re.findall(r'iif "lo" meta mark set (\S+) accept', rules)
    assert rules.count("mark set") == 1
    lines = _rendered("pe", FILES[0], "kernel-ipv6").splitlines()
    let = [line for line in lines if line.endswith("action allow")]
    prefixes = ("3fff:56::/48", "3fff:57::/48", "3fff:52::/48")
    told = f"mark {mark} mask 0xffffffff priority 1 action allow"
    assert let == [f"xfrm policy update dir in src {prefix} {told}" for prefix in prefixes]
    assert len([line for line in lines if line.endswith("action block")]) == 9


@pytest.mark.parametrize("file", FILES)
def test_the_userspace_plane_has_none(file: str) -> None:
    assert _rendered("mx", file).strip() == "", "charon's own tun device is no policy's business"
    assert _rendered("pe", file).strip() != ""
