"""What a node suspended by itself is closed in charon, and nothing that the view opens is added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paranal.agreement.connections import connections, to_swanctl
from paranal.agreement.suspension import Suspension, Suspensions, narrowed
from paranal.messages import Refusal
from paranal.tunnels import narrow as subject
from paranal.tunnels.narrow import due, narrow
from paranal.tunnels.reconcile import reconcile
from paranal.tunnels.record import Paths, read_record
from tests.unit.agreement.views import view
from tests.unit.tunnels.fake_charon import ANCHORS, FakeCharon


@pytest.fixture
def charon() -> FakeCharon:
    return FakeCharon()


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for folder in ("x509ca", "x509"):
        (tmp_path / folder).mkdir()
    for code in ANCHORS:
        (tmp_path / "x509ca" / f"{code}-root.pem").write_text(code)
    monkeypatch.setattr(subject, "declared_here", lambda found, _: connections(found, ANCHORS))
    return Paths(tmp_path, tmp_path / "state")


@pytest.fixture
def applied(charon: FakeCharon, paths: Paths) -> dict[str, Any]:
    """Colombia's node holds all that the agreement opens; its view."""
    found = view("co", "all-live")
    declared = [
        {"connection": one, "text": to_swanctl(one) + "\n"} for one in connections(found, ANCHORS)
    ]
    reconcile(
        charon,
        declared,  # type: ignore[arg-type] # the same shape
        paths,
        {},
        wait_seconds=0,
        load_credentials=lambda: None,
    )
    charon.calls.clear()
    return found


def without(found: dict[str, Any], *directions: str) -> dict[str, Any]:
    entries = tuple(Suspension(each, "", "", "ana", "orden 7") for each in directions)
    return narrowed(found, Suspensions(entries))


def channels(charon: FakeCharon, peer: str) -> list[str]:
    """Return the children of what charon holds towards a peer."""
    return sorted(
        child
        for name, loaded in charon.loaded.items()
        if peer in name
        for child in loaded["children"]
    )


def test_a_suspended_peer_keeps_no_child_and_the_others_keep_theirs(
    charon: FakeCharon, paths: Paths, applied: dict[str, Any]
) -> None:
    kept = [sa for sa in charon.sas if "pe" not in sa.name]
    closed = without(applied, "co>pe", "pe>co")
    assert due(closed, read_record(paths), paths)
    done = narrow(charon, closed, paths, lambda: None)
    assert done is not None
    assert done.plan.changes
    assert channels(charon, "pe") == []
    assert not any(sa.children for sa in charon.sas if "pe" in sa.name)
    assert [sa for sa in charon.sas if "pe" not in sa.name] == kept
    assert channels(charon, "mx") == ["operational", "strategic"]
    assert not due(closed, read_record(paths), paths)


def test_a_direction_leaves_the_channel_that_the_other_one_needs(
    charon: FakeCharon, paths: Paths, applied: dict[str, Any]
) -> None:
    closed = without(applied, "pe>co")
    assert not due(closed, read_record(paths), paths)
    done = narrow(charon, closed, paths, lambda: None)
    assert done is not None
    assert not done.plan.changes
    assert charon.calls == []


def test_what_is_lifted_is_not_opened_without_a_controller(
    charon: FakeCharon, paths: Paths, applied: dict[str, Any]
) -> None:
    narrow(charon, without(applied, "co>pe", "pe>co"), paths, lambda: None)
    charon.calls.clear()
    assert not due(applied, read_record(paths), paths)
    narrow(charon, applied, paths, lambda: None)
    assert channels(charon, "pe") == []


def test_before_the_first_apply_there_is_nothing_to_close(charon: FakeCharon, paths: Paths) -> None:
    assert narrow(charon, view("co", "all-live"), paths, lambda: None) is None
    assert charon.calls == []


def test_without_a_pinned_root_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="PAR-0705"):
        due(
            view("co", "all-live"),
            read_record(Paths(tmp_path, tmp_path)),
            Paths(tmp_path, tmp_path),
        )
