"""What ``paranal pki status`` tells of a node: life left, stages, orphans, alarms."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from paranal.messages import Refusal
from paranal.pki import standing
from paranal.pki.authority import CertificateAuthority
from paranal.pki.rotation import alarm_days

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
PASSPHRASE = b"a passphrase of the test, long enough"


def node(root: Path, days_left: int, rotations: dict[str, dict[str, str]] | None = None) -> Path:
    """Make a node with one leaf of 90 days."""
    end = NOW + timedelta(days=days_left)
    dates = {"not_before": (end - timedelta(90)).isoformat(), "not_after": end.isoformat()}
    memory = {"leaves": {"ike": {"serial": "a1", **dates}}, "rotations": rotations or {}}
    files = {standing.MEMORY: memory, standing.VIEW: {"member": {"code": "pe"}}}
    for path, content in files.items():
        place = root / path.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(content))
    return root


def test_a_node_tells_each_leafs_life_and_what_to_run_next(tmp_path: Path) -> None:
    rotation = {"stage": "installed", "serial": "b2", "replaces": "a1", "since": "x"}
    told = standing.of_node(NOW, node(tmp_path, 40, {"ike": rotation}))
    leaf = told["leaves"]["ike"]
    assert (leaf["days_left"], leaf["stage"], leaf["rotates_to"]) == (40, "installed", "b2")
    assert "--limit pe" in told["run"]
    assert told["alarms"] == []


def test_nothing_under_way_asks_for_nothing(tmp_path: Path) -> None:
    told = standing.of_node(NOW, node(tmp_path, 40))
    assert (told["leaves"]["ike"]["stage"], told["run"], told["orphans"]) == ("retired", "", [])


def test_a_key_that_no_rotation_knows_is_told(tmp_path: Path) -> None:
    root = node(tmp_path, 40)
    waiting = root / "var/lib/paranal/node/requests/ike.key"
    waiting.parent.mkdir()
    waiting.write_text("")
    assert standing.of_node(NOW, root)["orphans"] == ["ike"]


@pytest.mark.parametrize(("days", "alarms"), [(31, 0), (30, 1), (7, 1), (1, 1), (-1, 1)])
def test_a_leaf_near_its_end_raises_an_alarm(tmp_path: Path, days: int, alarms: int) -> None:
    found = standing.of_node(NOW, node(tmp_path, days))["alarms"]
    assert [each["code"] for each in found] == ["PAR-0444"] * alarms


def test_a_machine_without_leaves_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="PAR-0448"):
        standing.of_node(NOW, tmp_path)


@pytest.mark.parametrize(
    ("life", "left", "alarm"),
    [(90, 31, None), (90, 29, 30), (90, 6, 7), (90, 1, 1), (90, 0, 0), (7, 5, None), (7, 1, 1)],
)
def test_the_alarm_is_the_nearest_within_the_last_third(
    life: int, left: int, alarm: int | None
) -> None:
    end = NOW + timedelta(days=left)
    assert alarm_days(end - timedelta(days=life), end, NOW) == alarm


@pytest.mark.parametrize(("left", "alarm"), [(61, None), (60, 1), (0, 0)])
def test_a_life_of_minutes_has_its_alarm_too(left: int, alarm: int | None) -> None:
    end = NOW + timedelta(seconds=left)
    assert alarm_days(end - timedelta(minutes=3), end, NOW) == alarm


def test_the_offline_roots_list_and_the_authorities_have_their_own_alarms(tmp_path: Path) -> None:
    CertificateAuthority.create(tmp_path / "pe", "pe", "pe.paranal.example", PASSPHRASE)
    status = CertificateAuthority(tmp_path / "pe").status()
    now = datetime.now(UTC)
    assert standing.authority_alarms(status, now) == []
    late = {each["code"] for each in standing.authority_alarms(status, now + timedelta(days=360))}
    assert late == {"PAR-0445", "PAR-0446"}
    ends = datetime.fromisoformat(status["root"]["not_after"]) - timedelta(days=5)
    assert "PAR-0447" in {each["code"] for each in standing.authority_alarms(status, ends)}
