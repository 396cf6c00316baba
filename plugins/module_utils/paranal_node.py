"""What every Paranal module does on a node: paths, atomic writes, the lock, notes, commands.

Runs in the node's system Python, before any package of ours is there: standard library only.
A refusal travels to the controller as ``{"code", "params"}``; the action plugin turns it into the
catalogue's text (``paranal.messages``).
"""

from __future__ import annotations

import fcntl
import grp
import json
import os
import pwd
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STATE_PARENT_MODE = 0o755


class Refused(Exception):
    """A refusal on its way to the controller: the message's code and the values of its text."""

    def __init__(self, code: str, **params: Any) -> None:  # noqa: ANN401 - texts take any value
        """Keep code and values; the catalogue is on the controller."""
        self.code = code
        self.params = params
        super().__init__(f"{code} {params}")

    def as_result(self) -> dict[str, Any]:
        """Return the keyword arguments for ``fail_json``."""
        refusal = {"code": self.code, "params": self.params}
        return {"msg": str(self), "refusal": refusal}


@contextmanager
def refusals(fail: Callable[..., object], unwritable: str) -> Iterator[None]:
    """Answer with ``fail`` what is refused inside, also by the node's file system.

    ``unwritable`` is the code for the latter: a full disk is a sentence, not a traceback.
    """
    try:
        yield
    except Refused as refused:
        fail(**refused.as_result())
    except OSError as error:
        reason = error.strerror or str(error)
        fail(**Refused(unwritable, path=error.filename or "", reason=reason).as_result())


@dataclass(frozen=True)
class Node:
    """The node's file tree and where our own state stands in it; ``root`` is ``/`` but in tests."""

    root: Path = Path("/")

    def real(self, path: str) -> Path:
        """Return where the node's absolute ``path`` stands for us."""
        return self.root / path.lstrip("/")

    @property
    def state(self) -> Path:
        """The directory of everything the modules remember on this node."""
        return self.real("/var/lib/paranal/node")

    def prepare(self) -> None:
        """Make the state directory, readable by root only: generations hold secrets.

        Its parent is for all to pass, whatever the operator's umask is: every service of the node
        reads there what was suspended on it (ADR 0016).
        """
        self.state.parent.mkdir(parents=True, exist_ok=True)
        if self.state.parent.stat().st_mode & 0o777 != STATE_PARENT_MODE:
            self.state.parent.chmod(STATE_PARENT_MODE)
        for folder in (self.state, self.state / "owned", self.state / "generations"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the node for one short read-decide-write, against a module of another run."""
        self.prepare()
        handle = os.open(self.state, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


# --- commands ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a command came back with; status 127 means no such program, 124 out of time."""

    status: int
    out: str
    err: str

    @property
    def tail(self) -> str:
        """The last lines of what it said, on one line, for a message."""
        lines = [line.strip() for line in (self.out + "\n" + self.err).splitlines() if line.strip()]
        return "; ".join(lines[-4:]) or f"exit status {self.status}, no output"


Run = Callable[[Sequence[str], float], Outcome]


def run_command(argv: Sequence[str], seconds: float = 30) -> Outcome:
    """Run ``argv`` without a shell, in the C locale, for ``seconds`` at most; never raises."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    environment["PATH"] = os.environ.get("PATH", "") + ":" + SYSTEM_PATH
    try:
        done = subprocess.run(  # noqa: S603 - argv comes from our own roles, no shell
            list(argv),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        return Outcome(127, "", f"{argv[0]}: program not found")
    except subprocess.TimeoutExpired:
        return Outcome(124, "", f"{argv[0]}: no end after {seconds:g} s")
    except OSError as error:
        return Outcome(126, "", f"{argv[0]}: {error.strerror}")
    return Outcome(done.returncode, done.stdout, done.stderr)


T = TypeVar("T")


def until(attempt: Callable[[], T], good: Callable[[T], bool], seconds: float) -> T:
    """Repeat ``attempt`` until ``good`` or ``seconds`` are over; return what it gave last."""
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if good(result) or time.monotonic() > deadline:
            return result
        time.sleep(0.2)


# --- files ------------------------------------------------------------------------------------


def write_atomic(target: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace ``target`` by ``data`` so that a reader or a crash sees the old or the new, whole."""
    temporary = write_beside(target, data, mode)
    temporary.replace(target)
    sync_directory(target.parent)


def beside(target: Path) -> Path:
    """Return the name under which ``target``'s next content waits in the same directory."""
    return target.with_name(f".{target.name}.paranal")


def write_beside(target: Path, data: bytes, mode: int, uid: int = -1, gid: int = -1) -> Path:
    """Write ``data`` to disk beside ``target``, ready to be renamed over it; return the path."""
    temporary = beside(target)
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as stream:
        stream.write(data)
        os.fchown(stream.fileno(), uid, gid)
        os.fchmod(stream.fileno(), mode)
        stream.flush()
        os.fsync(stream.fileno())
    return temporary


def sync_directory(folder: Path) -> None:
    """Bring ``folder``'s names to disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever we wrote there
    """Return what ``path`` holds, or None when there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write_json(path: Path, value: object) -> None:
    """Write ``value`` to ``path`` atomically, for root only."""
    write_atomic(path, json.dumps(value, sort_keys=True).encode() + b"\n")


def user_id(name: str) -> int:
    """Return the account's number. Raises PAR-0309 when this node has no such account."""
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise Refused("PAR-0309", account=name) from None


def group_id(name: str) -> int:
    """Return the group's number. Raises PAR-0309 when this node has no such group."""
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise Refused("PAR-0309", account=name) from None


def names_of(status: os.stat_result) -> tuple[str, str]:
    """Return owner and group by name, by number where the node knows no name."""
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return owner, group


def mode_of(status: os.stat_result) -> str:
    """Return the permission bits as four octal digits."""
    return f"{stat.S_IMODE(status.st_mode):04o}"


# --- the lock ---------------------------------------------------------------------------------


# What a lock says of itself; the rest of it is the session of the run that holds it.
LOCK_ONLY = ("since", "lease", "expires")


def take_lock(
    node: Node,
    session: dict[str, Any],
    lease: float,
    take_over: str = "",
    *,
    now: float | None = None,
    patience: float = 60,
) -> str:
    """Take the node for ``session``; return the run taken over, or an empty string.

    The lock of the same run is renewed; a lock past its lease, or named by ``take_over``, is taken
    over, and what that run changed without closing is written to the history under its own name.
    Raises PAR-0301 with the holder when another run holds the node, and PAR-0319 when the
    run taken over left a module at work that does not end within ``patience`` seconds: killing
    the controller does not kill what it started here.
    """
    moment = time.time() if now is None else now
    with node.alone():
        held = read_json(node.state / "lock")
        foreign = held is not None and held["id"] != session["id"]
        if foreign and held["expires"] > moment and held["id"] != take_over:
            raise Refused(
                "PAR-0301",
                operator=held["operator"],
                controller=held["controller"],
                since=clock(held["since"]),
                until=clock(held["expires"]),
                run=held["id"],
            )
        if foreign and not until(lambda: _idle(node), bool, patience):
            raise Refused("PAR-0319", run=held["id"])
        if foreign and collect_changes(node):
            dead = {key: value for key, value in held.items() if key not in LOCK_ONLY}
            write_history(node, dead, f"taken over by {session['id']}")
        since = moment if held is None or foreign else held["since"]
        lock = {**session, "since": since, "lease": lease, "expires": moment + lease}
        write_json(node.state / "lock", lock)
    return str(held["id"]) if foreign else ""


def require_lock(node: Node, session: str, now: float | None = None) -> None:
    """Renew the lock of run ``session``, and be at work on the node until this process ends.

    Every module that changes the node calls this first. Raises PAR-0302 when that run does not
    hold the node.
    """
    moment = time.time() if now is None else now
    with node.alone():
        held = read_json(node.state / "lock")
        if held is None or held["id"] != session:
            holder = "nobody" if held is None else f"{held['operator']}@{held['controller']}"
            raise Refused("PAR-0302", holder=holder)
        write_json(node.state / "lock", {**held, "expires": moment + held["lease"]})
        handle = os.open(node.state / "working", os.O_RDWR | os.O_CREAT, 0o600)
        # Never closed: the kernel lets go of it when the process ends, however it ends.
        fcntl.lockf(handle, fcntl.LOCK_EX)


def _idle(node: Node) -> bool:
    """Say whether no other process is at work on the node."""
    with (node.state / "working").open("wb") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def release_lock(node: Node, session: str) -> None:
    """Give the node back, if it is still ours."""
    with node.alone():
        held = read_json(node.state / "lock")
        if held is not None and held["id"] == session:
            (node.state / "lock").unlink()


def clock(moment: float) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


# --- what happened ----------------------------------------------------------------------------


def note_change(node: Node, owner: str, changes: Sequence[str]) -> None:
    """Remember, for the history that the end of the run writes, what ``owner`` changed."""
    if changes:
        append_line(node.state / "changes.jsonl", {"owner": owner, "changes": list(changes)})


def collect_changes(node: Node) -> dict[str, list[str]]:
    """Return every change noted since the last history entry, by owner."""
    found: dict[str, list[str]] = {}
    for line in read_lines(node.state / "changes.jsonl"):
        found.setdefault(line["owner"], []).extend(line["changes"])
    return found


def write_history(node: Node, session: dict[str, Any], reason: str) -> None:
    """Append what a run changed and how it ended; a run without effect leaves no entry.

    ``reason`` says why it failed, and is empty when it did not.
    """
    changes = collect_changes(node)
    if changes or reason:
        result = "failed" if reason else "applied"
        outcome = {"result": result, "reason": reason, "changes": changes}
        entry = {"when": clock(time.time()), **session, **outcome}
        append_line(node.state / "history.jsonl", entry)
        # The noted changes are in the entry.
        (node.state / "changes.jsonl").unlink(missing_ok=True)


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append ``value`` as one line and bring it to disk; a half line left by a crash is ended."""
    with path.open("ab+") as stream:
        if stream.tell() and (stream.seek(-1, os.SEEK_END), stream.read(1))[1] != b"\n":
            stream.write(b"\n")
        stream.write(json.dumps(value, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        stream.flush()
        os.fchmod(stream.fileno(), 0o600)
        os.fsync(stream.fileno())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of ``path``; a line that a crash cut short is skipped."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
