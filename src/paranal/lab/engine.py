"""The Docker Engine: a running one is used as found, else our own is started and later stopped.

Our own engine keeps to itself: its own socket, data and containerd, no bridge and no firewall
rule, because its usual ones would clash with what else runs on the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from paranal.lab import lock
from paranal.lab.docker import Docker, client
from paranal.messages import Refusal

STATE = Path("/var/lib/paranal-lab")
"""What outlives a lab: our engine's data, with the node images in it."""
SOCKET = Path("/run/paranal-docker.sock")
EXEC_ROOT = Path("/run/paranal-docker")
PIDFILE = Path("/run/paranal-docker.pid")
LOG = STATE / "dockerd.log"
START_SECONDS = 45
STOP_SECONDS = 30
BURY_SECONDS = 5
_LOCK = "engine"
_PROBE_SECONDS = 10


def find(keep: tuple[int, ...] = ()) -> Docker | None:
    """Return a client of the first engine that answers: DOCKER_HOST's, ours, the system's."""
    binary = client()
    if binary is None:
        return None
    for host in _hosts():
        if _listens(host):
            return Docker(binary, host, keep)
    return None


def reach(keep: tuple[int, ...] = ()) -> Docker | None:
    """Return a client of a running engine, or None when there is nothing of ours to clear.

    Ours is started when it died with containers left: only an engine can remove them.
    """
    docker = find(keep)
    if docker is not None or not STATE.exists():
        return docker
    with _alone():  # ours may be starting right now: its mounts are no leftovers then
        docker = find(keep)
        left = STATE / "docker" / "containers"
        if docker is None and left.exists() and any(left.iterdir()):
            return _start(keep)
        if docker is None:
            _unmount_left()
    return docker


def ensure(keep: tuple[int, ...] = ()) -> Docker:
    """Return a client of a running engine, starting our own when there is none.

    Raises ``Refusal`` PAR-0203 when none can be had.
    """
    with _alone():
        return find(keep) or _start(keep)


def stop_ours(docker: Docker) -> bool:
    """Stop the engine if it is ours and nobody needs it any more; tell whether it was stopped.

    Needed means: it has a container, or some lab's lock is held but the caller's own
    (``docker.keep``), whose containers may be about to come.
    """
    if docker.host != _address(SOCKET):
        return False
    with _alone():
        busy = len(lock.held("lab/")) > len(docker.keep)
        pid = _pid(PIDFILE, _address(SOCKET))
        if busy or pid is None or docker.call("ps", "--all", "--quiet").strip():
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not _ended(pid):
            if time.monotonic() > deadline:
                raise Refusal("PAR-0203", reason=f"dockerd {pid} does not stop", log=LOG)
            time.sleep(0.05)
        _unmount_left()
    shutil.rmtree(EXEC_ROOT, ignore_errors=True)
    return True


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Start or stop our engine alone. Raises ``Refusal`` PAR-0203 when another takes too long."""
    try:
        with lock.hold(_LOCK, START_SECONDS + STOP_SECONDS):
            yield
    except lock.Held as held:
        raise Refusal("PAR-0203", reason=f"pid {held.pid}: dockerd start/stop", log=LOG) from None


def _hosts() -> Iterator[str]:
    if "DOCKER_HOST" in os.environ:
        yield os.environ["DOCKER_HOST"]
        return  # asked for by name: another engine would be a surprise
    for path in (SOCKET, Path("/var/run/docker.sock")):
        if path.is_socket():
            yield _address(path)


def _address(path: Path) -> str:
    return f"unix://{path}"


def _listens(host: str) -> bool:
    """Tell whether an engine takes connections; one that is not a local socket shows it later."""
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(host.removeprefix("unix://"))
        except OSError:
            return False
    return True


def _answers(docker: Docker) -> bool:
    probe = docker.attempt("version", "--format", "{{.Server.Version}}", seconds=_PROBE_SECONDS)
    return probe.returncode == 0


def _start(keep: tuple[int, ...]) -> Docker:
    asked = os.environ.get("DOCKER_HOST", _address(SOCKET))
    if asked != _address(SOCKET):
        raise Refusal("PAR-0203", reason=f"DOCKER_HOST={asked} does not answer", log=LOG)
    binary, daemon = client(), shutil.which("dockerd")
    if binary is None or daemon is None:
        raise Refusal("PAR-0203", reason="docker.io is not installed", log=LOG)
    _bury(PIDFILE, _address(SOCKET))
    _bury(EXEC_ROOT / "containerd" / "containerd.pid", str(EXEC_ROOT))
    STATE.mkdir(mode=0o711, parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        started = subprocess.Popen(  # noqa: S603 - the distribution's daemon, fixed words
            [
                daemon,
                *("--host", _address(SOCKET)),
                *("--data-root", str(STATE / "docker")),
                *("--exec-root", str(EXEC_ROOT)),
                *("--pidfile", str(PIDFILE)),
                *("--containerd-namespace", "paranal"),
                *("--containerd-plugins-namespace", "paranal-plugins"),
                *("--bridge=none", "--iptables=false", "--ip6tables=false"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    docker = Docker(binary, _address(SOCKET), keep)
    deadline = time.monotonic() + START_SECONDS
    while not (SOCKET.is_socket() and _answers(docker)):
        if started.poll() is not None or time.monotonic() > deadline:
            lines = LOG.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            started.kill()
            raise Refusal("PAR-0203", reason=lines[-1] if lines else "it does not answer", log=LOG)
        time.sleep(0.1)
    # Left running on purpose: the last lab's `down` stops it by its pid file.
    started.returncode = 0
    return docker


def _unmount_left() -> None:
    """Unmount what a killed engine had mounted and its successor did not know to be its own."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    ours = (f"{STATE}/", f"{EXEC_ROOT}/")
    for point in reversed([line.split(" ")[1] for line in mounts]):
        if point.startswith(ours):
            # Lazily, as dockerd does: a process of its that is just ending must not keep it here.
            words = ["/usr/bin/umount", "--lazy", point]
            subprocess.run(words, capture_output=True, check=False)  # noqa: S603 - fixed words


def _ended(pid: int) -> bool:
    """Tell whether a process has ended; one that its parent has not asked after yet has, too."""
    with contextlib.suppress(ChildProcessError):  # not ours: another process started it
        os.waitpid(pid, os.WNOHANG)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def _bury(file: Path, mark: str) -> None:
    """Remove the pid file of a daemon that died, once it has: a successor would take it for alive.

    containerd dies a moment after a killed dockerd.
    """
    deadline = time.monotonic() + BURY_SECONDS
    while _pid(file, mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    if not _pid(file, mark):
        file.unlink(missing_ok=True)


def _pid(file: Path, mark: str) -> int | None:
    """Return the process of a pid file if it is alive and ``mark`` stands in its command line."""
    try:
        pid = int(file.read_text(encoding="ascii"))
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if mark.encode() in words else None
