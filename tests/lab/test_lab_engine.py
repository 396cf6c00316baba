"""Our own Docker Engine: started when there is none, stopped when idle, without a trace."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from paranal.lab import engine, lock
from paranal.messages import Refusal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an engine needs root")


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put our engine under ``tmp_path``, away from one that a lab may be using now."""
    monkeypatch.setattr(engine, "STATE", tmp_path / "state")
    monkeypatch.setattr(engine, "SOCKET", tmp_path / "docker.sock")
    monkeypatch.setattr(engine, "EXEC_ROOT", tmp_path / "exec")
    monkeypatch.setattr(engine, "PIDFILE", tmp_path / "docker.pid")
    monkeypatch.setattr(engine, "LOG", tmp_path / "state" / "dockerd.log")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setattr(lock, "held", lambda _prefix: set())
    yield tmp_path
    docker = engine.find()
    if docker:
        engine.stop_ours(docker)
    assert not _traces(tmp_path)


def _traces(folder: Path) -> list[str]:
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    left = [line for line in mounts if str(folder) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if str(folder).encode() in words:
            left.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return left


def test_ours_is_started_once_and_stopped(apart: Path) -> None:
    assert engine.find() is None
    docker = engine.ensure()
    assert docker.call("info", "--format", "{{.DockerRootDir}}").strip() == str(
        apart / "state" / "docker"
    )
    pid = engine.PIDFILE.read_text(encoding="ascii")
    assert engine.ensure() == docker
    assert engine.PIDFILE.read_text(encoding="ascii") == pid
    assert engine.stop_ours(docker)
    assert engine.find() is None
    assert not _traces(apart)


def test_ours_makes_no_bridge_and_no_firewall_rule(apart: Path) -> None:
    before = set(Path("/sys/class/net").iterdir())
    engine.ensure()
    words = Path(f"/proc/{engine.PIDFILE.read_text(encoding='ascii')}/cmdline").read_bytes()
    assert {b"--bridge=none", b"--iptables=false", b"--ip6tables=false"} <= set(words.split(b"\0"))
    assert Path("/sys/class/net/docker0") not in set(Path("/sys/class/net").iterdir()) - before


def test_ours_stays_while_a_lab_is_being_operated(
    apart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = engine.ensure()
    with monkeypatch.context() as busy:
        busy.setattr(lock, "held", lambda _prefix: {"lab/other"})
        assert not engine.stop_ours(docker)
    assert engine.find() == docker


def test_a_killed_engine_is_reached_again_when_it_left_containers(apart: Path) -> None:
    docker = engine.ensure()
    assert engine.stop_ours(docker)
    assert engine.reach() is None, "it left nothing to clear"
    engine.ensure()
    killed = engine.PIDFILE.read_text(encoding="ascii")
    os.kill(int(killed), signal.SIGKILL)
    while engine.find():
        time.sleep(0.05)
    left = apart / "state" / "docker" / "containers" / "x"
    left.mkdir()
    assert engine.reach() == docker
    assert engine.PIDFILE.read_text(encoding="ascii") != killed
    left.rmdir()


def test_an_engine_asked_for_by_name_is_not_replaced_by_ours(
    apart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{apart}/other.sock")
    with pytest.raises(Refusal) as refusal:
        engine.ensure()
    assert refusal.value.code == "PAR-0203"
    assert "other.sock" in str(refusal.value)


def test_no_engine_installed_is_one_sentence(apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(Refusal) as refusal:
        engine.ensure()
    assert refusal.value.code == "PAR-0203"
    assert "\n" not in str(refusal.value)
