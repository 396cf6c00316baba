"""A gateway of Peru in good health, as facts, for the tests to break one thing at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement import load, member_view
from paranal.status.facts import (
    Certificate,
    Charon,
    Child,
    Crl,
    Exchange,
    Facts,
    Firewall,
    LineCheck,
    Services,
    Tunnel,
    directions,
)

REPOSITORY = Path(__file__).parents[3]
NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
UNITS = (
    "haproxy.service",
    "postgresql@17-main.service",
    "paranal-national.service",
    "paranal-alliance.service",
)


def tunnel(peer: dict[str, Any]) -> Tunnel:
    channels = peer["pair"]["channels"]
    return Tunnel(
        connection=f"pe-{peer['code']}-g0",
        peer_identity=peer["identities"]["ike"],
        peer_address=peer["wan_address"],
        state="ESTABLISHED",
        algorithms="AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384",
        age_seconds=60,
        children=tuple(Child(name, "INSTALLED", "AES_GCM_16-256", 1, 1, 60) for name in channels),
    )


@pytest.fixture(scope="session")
def view() -> dict[str, Any]:
    return member_view(load(REPOSITORY / "agreement" / "pacific-alliance.yml"), "pe")


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
            listening=frozenset({(member["addresses"]["operational"], 7443)}),
        ),
        exchange={
            each.flow: Exchange(NOW - timedelta(minutes=5), NOW - timedelta(minutes=5), "GOOD")
            for each in open_flows
            if each.service == "person"
        },
        certificates=tuple(
            Certificate(name, f"/etc/{name}.pem", NOW - day, NOW + 80 * day)
            for name in ("ike", "operational", "national", "asker")
        ),
        crls=tuple(
            Crl(code, authority, NOW - day, NOW + 6 * day)
            for code in ("pe", "cl", "co", "mx")
            for authority in ("root", "issuing")
        ),
        traces={},
        lines={"cl": LineCheck(NOW - timedelta(hours=1), ok=True, reason="")},
    )
