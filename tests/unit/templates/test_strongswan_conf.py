"""Numbers of strongswan.conf that hold each other: cookies come before any refusal."""

from __future__ import annotations

import re

from paranal.lab.home import ROOT

TEMPLATE = ROOT / "roles" / "ipsec" / "templates" / "etc" / "strongswan.conf.j2"


def test_an_address_is_asked_for_a_cookie_before_it_is_shut_out() -> None:
    """See docs/adr/0011: a flood comes in a peer's name, and only the peer can return a cookie."""
    text = TEMPLATE.read_text(encoding="utf-8")
    number = {
        key: int(value) for key, value in re.findall(r"^  (\w+) = (\d+)$", text, re.MULTILINE)
    }
    assert 0 < number["cookie_threshold_ip"] < number["block_threshold"] <= 5
    assert 0 < number["cookie_threshold"] < number["init_limit_half_open"]
