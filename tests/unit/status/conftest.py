"""A gateway of Peru in good health, as facts, for the tests to break one thing at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paranal.status.certificates import LEAVES
from paranal.status.facts import (
    Certificate,
    Charon,
    Crl,
    Exchange,
    Facts,
    Firewall,
    LineCheck,
    Services,
    directions,
)
from paranal.tunnels.charon import IkeSa
from tests.unit.agreement import views
from tests.unit.tunnels.sas import ike_sa

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
UNITS = (
    "haproxy.service",
    "postgresql@17-main.service",
    "paranal-national.service",
    "paranal-alliance.service",
    "paranal-control.service",
)


def tunnel(peer: dict[str, Any]) -> IkeSa:
    return ike_sa(
        f"pe-{peer['code']}-g0",
        "1",
        peer["pair"]["channels"],
        remote_id=peer["identities"]["ike"],
        local_host=views.view("pe")["member"]["wan_address"],
        remote_host=peer["wan_address"],
    )


@pytest.fixture(scope="session")
def view() -> dict[str, Any]:
    return views.view("pe")


@pytest.fixture
def healthy(view: dict[str, Any]) -> Facts:
    open_flows = [
        direction
        for peer in view["peers"]
        for direction in directions(view, peer)
        if direction.open
    ]
    member, peers = view["member"], view["peers"]
    day = timedelta(days=1)
    return Facts(
        now=NOW,
        view=view,
        charon=Charon(
            running=True,
            loaded=frozenset(peer["identities"]["ike"] for peer in peers),
            tunnels=tuple(tunnel(peer) for peer in peers if peer["pair"]["channels"]),
        ),
        firewall=Firewall(True, True, frozenset(each.flow for each in open_flows)),
        services=Services(
            units=dict.fromkeys(UNITS, "active"),
            healthy=frozenset(UNITS[2:]),
            listening=frozenset(
                {
                    (member["addresses"]["operational"], 7443),
                    (member["addresses"]["strategic"], 7446),
                }
            ),
            database="postgresql@17-main.service",
        ),
        exchange={
            each.flow: Exchange(NOW - timedelta(minutes=5), NOW - timedelta(minutes=5), "GOOD")
            for each in open_flows
            if each.service == "person"
        },
        certificates=tuple(
            Certificate(name, f"/etc/{name}.pem", NOW - day, NOW + 80 * day) for name in LEAVES
        ),
        crls=tuple(
            Crl(code, authority, NOW - day, NOW + 6 * day)
            for code in ("pe", "cl", "co", "mx")
            for authority in ("root", "issuing")
        ),
        traces={},
        lines={"cl": LineCheck(NOW - timedelta(hours=1), ok=True, reason="")},
    )


@pytest.fixture
def checking(healthy: Facts) -> Facts:
    """Give Peru the turn to check Chile's line (in the agreement it is Chile's)."""
    peers = [
        {**peer, "pair": {**peer["pair"], "initiates": True, "initiator": "pe"}}
        for peer in healthy.view["peers"]
    ]
    return replace(healthy, view={**healthy.view, "peers": peers})
