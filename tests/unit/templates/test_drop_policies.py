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
FILES = ("etc/paranal/drop-policies", "etc/systemd/system/paranal-drop-policies.service")


def _rendered(member: str, file: str) -> str:
    view = member_view(load(ROOT / "agreement" / "kernel.yml"), member)
    variables: dict[str, Any] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text("utf-8"))
    priority = variables["__ipsec_drop_priority"]
    text = (ROLE / "templates" / f"{file}.j2").read_text("utf-8")
    made = jinja2.Environment(trim_blocks=True, autoescape=False).from_string(text)  # noqa: S701 - no HTML
    return made.render(node_view=view, ansible_managed="x", __ipsec_drop_priority=priority)


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


@pytest.mark.parametrize("file", FILES)
def test_the_userspace_plane_has_none(file: str) -> None:
    assert _rendered("mx", file).strip() == "", "charon's own tun device is no policy's business"
    assert _rendered("pe", file).strip() != ""
