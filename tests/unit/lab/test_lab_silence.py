"""What does not answer, ends meanwhile or was never there ends in one sentence, no traceback."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from paranal.lab import (
    cli,
    connections,
    demo,
    docker,
    engine,
    evidence,
    faults,
    image,
    lock,
    lowering,
    owner,
    playbook,
    preflight,
    raising,
    report,
)
from paranal.lab.docker import Docker
from paranal.lab.home import ROOT, Home
from paranal.lab.lab import Lab
from paranal.messages import Refusal

FACTS = {
    "name": "t-silent",
    "state": "up",
    "members": {code: {"container": f"paranal-t-silent-{code}"} for code in ("co", "pe")},
}


def _stub(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n", encoding="ascii")
    path.chmod(0o755)
    return path


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab that says it is up, on an engine that answers nothing."""
    mute = Docker(str(_stub(tmp_path, "docker", "echo half", "exec sleep 60")), "unix:///none")
    monkeypatch.setattr(Docker.attempt, "__kwdefaults__", {"given": None, "seconds": 0.2})
    monkeypatch.setattr(Lab, "engine", lambda _lab: mute)
    silent = Lab("t-silent", tmp_path)
    silent.home.write(FACTS)
    return silent


@pytest.fixture
def stopped(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab that says it is up, whose containers a restart of the machine has stopped."""
    monkeypatch.setattr(Docker, "containers", lambda _docker, _lab: {})
    monkeypatch.setattr(Docker, "call", lambda *_words: pytest.fail("it is not up"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    agreement = lab.home.agreement
    agreement.parent.mkdir()
    agreement.write_bytes((ROOT / "agreement" / "pacific-alliance.yml").read_bytes())
    return lab


def test_an_engine_that_does_not_answer_is_one_refusal(lab: Lab) -> None:
    done = lab.engine().attempt("ps")
    assert (done.returncode, done.stdout) == (docker.TIMED_OUT, b"half\n")
    with pytest.raises(Refusal) as refusal:
        lab.engine().call("ps")
    assert refusal.value.code == "PAR-0215"
    assert "no answer" in str(refusal.value)


def test_a_failed_playbook_is_explained_by_its_first_error() -> None:
    output = (
        "TASK [base : preflight] ***\n"
        "[ERROR]: Task failed: Action failed: PAR-0593: the cause\n"
        "fatal: [pe]: FAILED! => \n    msg: PAR-0593: the cause\n"
        "[ERROR]: Task failed: Action failed: PAR-0318: stopped\n"
        "fatal: [pe]: FAILED! => \n"
    )
    assert playbook.cause(output) == "PAR-0593: the cause"
    assert playbook.cause("[ERROR]: no inventory\n\n") == "[ERROR]: no inventory"
    assert playbook.cause("") == "?"


def test_a_node_that_does_not_answer_is_evidence_too(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "CALL_SECONDS", 0.2)
    monkeypatch.setattr(evidence, "NODE_COMMANDS", {"sas": ("swanctl", "--list-sas")})
    lab.home.log.mkdir()
    (lab.home.log / "site.log").write_text("what Ansible said", encoding="utf-8")
    kept = evidence.collect(lab, tmp_path / "kept")
    assert {path.name for path in kept} >= {"pe.sas.txt", "co.sas.txt", "lab.json", "site.log"}
    assert b"no answer" in (tmp_path / "kept" / "pe.sas.txt").read_bytes()


def test_the_faults_of_a_stopped_lab_are_refused(stopped: Lab) -> None:
    for act in (
        lambda: faults.set_link(stopped, "pe", "down"),
        lambda: faults.partition(stopped, ["co"], ["pe"]),
        lambda: faults.present(stopped),
        lambda: report.status(stopped),
        lambda: raising.reboot(stopped, "pe"),
    ):
        with pytest.raises(Refusal) as refusal:
            act()
        assert refusal.value.code == "PAR-0212"


def test_a_member_is_not_parted_from_itself(stopped: Lab) -> None:
    with pytest.raises(Refusal) as refusal:
        faults.partition(stopped, ["pe"], ["pe"])
    assert refusal.value.code == "PAR-0218"


def test_an_owner_must_live_and_the_parent_outside_is_the_first_process() -> None:
    assert owner.owner(0) == owner.owner(1)
    with subprocess.Popen(["/bin/true"]) as gone:
        pass
    for nobody in (gone.pid, -5):
        with pytest.raises(Refusal) as refusal:
            owner.owner(nobody)
        assert refusal.value.code == "PAR-0218"


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another process starts our engine, and builds the image, for longer than anyone waits."""
    taken = f"unit-{os.getpid()}"
    monkeypatch.setattr(engine, "_LOCK", taken)
    monkeypatch.setattr(engine, "START_SECONDS", 0)
    monkeypatch.setattr(engine, "STOP_SECONDS", 0)
    monkeypatch.setattr(engine, "STATE", tmp_path)
    monkeypatch.setattr(engine, "find", lambda _keep=(): None)
    monkeypatch.setattr(engine, "_unmount_left", lambda: pytest.fail("another's mounts"))
    with lock.hold(taken):
        yield


@pytest.mark.usefixtures("busy")
def test_an_engine_that_another_is_starting_keeps_its_mounts() -> None:
    for act in (engine.reach, engine.ensure):
        with pytest.raises(Refusal) as refusal:
            act()
        assert refusal.value.code == "PAR-0203"
        assert str(os.getpid()) in str(refusal.value)


def test_an_image_that_another_builds_for_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(_name: str, _patience: float) -> None:
        raise lock.Held(os.getpid())

    monkeypatch.setattr(lock, "hold", held)
    monkeypatch.setattr(image, "exists", lambda *_given: False)
    with pytest.raises(Refusal) as refusal:
        image.ensure(Docker("/bin/false", "unix:///none"), image.RECIPES["trixie"], tmp_path)
    assert refusal.value.code == "PAR-0210"


def test_lasting_connections_lie_where_they_are_ended() -> None:
    inventory = yaml.safe_load((ROOT / "inventories/lab/members.yml").read_text("utf-8"))
    where = inventory["compose"]["ansible_control_path_dir"]
    assert where == f"'{connections.folder('')}/' ~ paranal_lab"


def test_a_connection_may_remove_its_socket_while_it_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def run(words: list[str], **_given: object) -> None:
        ended.append(words[4])
        (tmp_path / "all" / "b").mkdir(exist_ok=True)  # another lab's first connection

    def unlink(path: str | Path, *, dir_fd: int | None = None) -> None:
        os.remove(path, dir_fd=dir_fd)
        raise FileNotFoundError(path)  # as when ssh was faster

    monkeypatch.setattr(connections, "_FOLDER", tmp_path / "all")
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "unlink", unlink)
    socket = connections.folder("a") / "0123456789"
    socket.parent.mkdir(parents=True)
    socket.touch()
    connections.end("a")
    assert ended == [str(socket)]
    assert not connections.folder("a").exists()
    assert connections.folder("b").exists()


def test_a_labs_folder_goes_while_another_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home("a", tmp_path)
    home.write(FACTS)
    rmdir = Path.rmdir

    def slow(path: Path) -> None:
        if path == home.folder.parent:
            (path / "b").mkdir()
        rmdir(path)

    monkeypatch.setattr(Path, "rmdir", slow)
    home.remove()
    assert [path.name for path in (tmp_path / ".lab").iterdir()] == ["b"]


@pytest.mark.parametrize("given", ["", "none/at/all.json"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    given: str, tmp_path: Path
) -> None:
    parser = argparse.ArgumentParser()
    demo.configure(parser)
    file = str(tmp_path / given)
    readings: tuple[Callable[[], argparse.Namespace], ...] = (
        lambda: parser.parse_args(["--json", file]),
        lambda: cli._capture_options(["-w", file]),
    )
    for read in readings:
        with pytest.raises(Refusal) as refusal:
            read()
        assert refusal.value.code == "PAR-0218"
    assert parser.parse_args(["--json", str(tmp_path / "out.json")]).json == tmp_path / "out.json"


def test_the_demo_asks_whom_the_agreement_has(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*without: str) -> list[dict[str, str]]:
        peers = [
            {"code": code, "asks": {"person": status}}
            for code, status in {"cl": "pending", "co": "live", "mx": "live"}.items()
            if code not in without
        ]
        monkeypatch.setattr(demo, "member_view", lambda *_given: {"peers": peers})
        return [question.expected for question in demo.questions(lab)]

    monkeypatch.setattr(Lab, "agreement", lambda _lab: None)
    four = [{"co": "RQ"}, {"co": "OK", "mx": "UNAVAILABLE"}] * 2
    four[2:] = [{"co": "OK", "mx": "UNAVAILABLE"}, {"cl": "NOT_AUTHORISED"}]
    assert asked() == four, "mx is not in this lab"
    assert asked("cl") == four[:3]


CAPTURE = """
import subprocess, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from paranal.lab import capture

class Part:
    def command(self, part, words):
        return list(words)
    def exec(self, part, *words, check):
        return subprocess.run(words, check=check)

sys.exit(capture.capture(Part(), "pe", None, None, Path(sys.argv[1]), []))
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_capture_leaves_no_tcpdump_behind(
    kind: signal.Signals, tmp_path: Path
) -> None:
    _stub(
        tmp_path,
        "tcpdump",
        'trap "echo last packet; echo 1 packet captured >&2; exit 0" INT',
        "echo listening on wan >&2",
        "for _ in $(seq 600); do sleep 0.05; done",  # ends by itself, should the test fail
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = [sys.executable, "-c", CAPTURE, str(tmp_path / "out")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=environment) as running:  # noqa: S603
        assert running.stderr is not None
        assert running.stderr.readline() == b"listening on wan\n"
        alarm = threading.Timer(20, running.kill)
        alarm.start()
        running.send_signal(kind)
        said = running.stderr.read()
        alarm.cancel()
    assert running.returncode == 0
    assert said == b"1 packet captured\n"
    assert (tmp_path / "out").read_bytes() == b"last packet\n"


@pytest.mark.parametrize("client", ["docker-cli", "docker.io"])
def test_setup_installs_the_client_wherever_the_distribution_keeps_it(
    client: str, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("cat", "cksum", "dirname"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    _stub(tools, "id", "echo 0")
    _stub(tools, "apt-get", f'echo "$@" >>{tmp_path}/asked')
    _stub(tools, "apt-cache", f'[ "$1 $2" = "show {client}" ]')
    environment = {"PATH": str(tools), "DOCKER_HOST": "unix:///an/engine/without/a/client"}
    scripts = tmp_path / "checkout" / "scripts"
    (tmp_path / "checkout" / ".venv" / "bin").mkdir(parents=True)
    scripts.mkdir()
    for name in ("uv.lock", "pyproject.toml", "scripts/uv-requirements.txt"):
        (tmp_path / "checkout" / name).touch()
    (scripts / "setup").write_bytes((ROOT / "scripts" / "setup").read_bytes())
    checkout = scripts.parent
    _stub(checkout / ".venv" / "bin", "paranal")
    sum_of_nothing = subprocess.run(
        ["/usr/bin/cksum"], input=b"", capture_output=True, check=True
    ).stdout
    (checkout / ".venv" / ".paranal-setup").write_bytes(sum_of_nothing)
    subprocess.run(  # noqa: S603
        ["/bin/sh", str(scripts / "setup")], env=environment, capture_output=True, check=True
    )
    update, install = (tmp_path / "asked").read_text("utf-8").splitlines()
    assert update.startswith("update")
    assert "docker.io" in install.split()
    assert ("docker-cli" in install.split()) is (client == "docker-cli")


def test_garbage_that_cannot_be_cleared_keeps_none_of_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labs = [
        lowering.Listed(name, str(tmp_path), (), 0, 0, datetime.now(UTC), False, False)
        for name in ("busy", "idle")
    ]
    cleared = []

    def down(lab: Lab) -> None:
        if lab.name == "busy":
            raise Refusal("PAR-0207", lab="busy", pid=1)
        cleared.append(lab.name)

    monkeypatch.setattr(preflight, "check_root", lambda: None)
    monkeypatch.setattr(engine, "reach", lambda: Docker("/bin/false", "unix:///none"))
    monkeypatch.setattr(engine, "find", lambda: None)
    monkeypatch.setattr(lowering, "listing", lambda: labs)
    monkeypatch.setattr(lowering, "down", down)
    with pytest.raises(Refusal, match="PAR-0207"):
        lowering.collect_garbage(timedelta(0))
    assert cleared == ["idle"]
