"""Controllers of a lab, one Unix user of this machine per country: its home, its agent, its view.

A country's user reads its own home and what anybody may read. Where the Python of this checkout
is in a folder that others cannot enter (root's home), the user's processes see it all the same:
each runs in a mount namespace of its own, in which nothing but that Python is in that folder.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from paranal.lab import names
from paranal.lab.docker import attempt
from paranal.lab.home import ROOT
from paranal.lab.lab import failed

HOMES = Path("/home")
CODE = ("ansible.cfg", "agreement", "playbooks", "plugins", "roles", "src", "templates")
"""What a country has of this repository on its controller: a copy of its own."""
GONE_SECONDS = 10.0
_RANGE = tuple(
    word
    for kind in ("UID", "GID")
    for word in ("--key", f"{kind}_MIN=58000", "--key", f"{kind}_MAX=58999")
)
"""Numbers that no account in a container has: the kernel knows users by their numbers alone."""
_KEYGEN = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "")
_ENTER = """\
mount --bind "$1" "$2"
mount -o remount,bind,ro "$2"
if [ "$5" != / ]; then
    mount --bind "$3" "$4"
    mount -t tmpfs -o mode=0755 tmpfs "$5"
    mkdir -p "$3"
    mount --bind "$4" "$3"
    umount "$4"
    mount -o remount,bind,ro "$3"
fi
shift 5
exec "$@"
"""
"""Our environment of Python at its place in the home; its interpreter at its own place, too."""


@dataclass(frozen=True)
class Controller:
    """One country's controller: a user whose home nobody else enters."""

    lab: str
    member: str

    @property
    def user(self) -> str:
        """The account's name, ``paranal-3fa9c1-pe``."""
        return names.controller(self.lab, self.member)

    @property
    def home(self) -> Path:
        """Its home; all that the country has on this machine is below it."""
        return HOMES / self.user

    @property
    def code(self) -> Path:
        """Its copy of this repository."""
        return self.home / "paranal"

    @property
    def half(self) -> Path:
        """What ``paranal member init`` made: inventory, authority, passphrases, signing key."""
        return self.home / "half"

    @property
    def agent(self) -> Path:
        """The socket of its SSH agent, which alone holds the operators' key."""
        return self.home / ".ssh" / "agent"

    def make(self) -> None:
        """Make the user, its copy of the code and its agent. Raises ``Refusal`` PAR-0222."""
        words = ["useradd", "--create-home", "--home-dir", str(self.home), "--user-group"]
        words += ["--shell", "/bin/sh", "--comment", comment(self.lab), *_RANGE, self.user]
        done = attempt(words, b"", None)
        if done.returncode:
            raise failed(self.user, words, done)
        self.home.chmod(0o700)
        for name in CODE:
            _copy(ROOT / name, self.code / name)
        self._own(self.code)
        for folder in (self.code / ".venv", self.home / ".python", self.home / ".ssh"):
            folder.mkdir(mode=0o700)
            self._own(folder)
        key = self.home / ".ssh" / "paranal_ops"
        comment_of_key = f"turno-24x7@{self.member}"
        self.run(
            "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment_of_key, "-f", str(key)
        )
        self.run("ssh-agent", "-a", str(self.agent))
        self.run("ssh-add", "-q", str(key))
        key.unlink()  # from here on only the agent has it, as a token would

    @property
    def operator_key(self) -> str:
        """The public key of its operators, one line."""
        return (self.home / ".ssh" / "paranal_ops.pub").read_text(encoding="ascii").strip()

    def command(self, *words: str, other: Mapping[str, str] | None = None) -> list[str]:
        """Return the argument list that runs ``words`` as this user, in its view of the machine.

        ``other`` are further settings of the environment, which holds nothing of the caller's.
        """
        account = pwd.getpwnam(self.user)
        base = Path(sys.base_prefix)
        settings = {
            "HOME": str(self.home),
            "USER": self.user,
            "LOGNAME": self.user,
            "LANG": "C.UTF-8",
            "PATH": f"{self.code}/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(self.code / "src"),
            "ANSIBLE_CONFIG": str(self.code / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "SSH_AUTH_SOCK": str(self.agent),
            **(other or {}),
        }
        places = (ROOT / ".venv", self.code / ".venv", base, self.home / ".python", _closed(base))
        return [
            *("unshare", "--mount", "--propagation", "private", "--wd", str(self.home)),
            *("/bin/sh", "-euc", _ENTER, "sh", *map(str, places)),
            *("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"),
            *("--init-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"),
            *("env", "-i", *(f"{key}={value}" for key, value in settings.items()), *words),
        ]

    def run(
        self, *words: str, given: bytes = b"", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``words`` as this user. Raises ``Refusal`` PAR-0222, unless ``check`` is false."""
        done = attempt(self.command(*words), given, None)
        if check and done.returncode:
            raise failed(self.user, words, done)
        return done

    def paranal(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run one of our own commands as this user, from its own copy."""
        return self.run(str(self.code / ".venv/bin/python"), "-m", "paranal", *words, check=check)

    def ansible(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run one of Ansible's commands (``vault``) as this user."""
        return self.run(str(self.code / ".venv/bin/python"), "-m", "ansible", *words)

    def receive(self, source: Path, name: str) -> Path:
        """Copy a file or folder that another country handed over into the home; return where."""
        target = self.home / "received" / name
        _copy(source, target)
        self._own(self.home / "received")
        return target

    def write(self, path: Path, text: str) -> None:
        """Write a file of this country's, which it alone reads."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        self._own(path.parent)

    def remove(self) -> None:
        """End what the user still runs, and remove it with its home."""
        account = pwd.getpwnam(self.user)
        _end(account.pw_uid)
        attempt(["userdel", self.user], b"", None)
        shutil.rmtree(self.home, ignore_errors=True)

    def _own(self, path: Path) -> None:
        account = pwd.getpwnam(self.user)
        for each in (path, *path.rglob("*")):
            os.chown(each, account.pw_uid, account.pw_gid, follow_symlinks=False)


def comment(lab: str) -> str:
    """Return what the accounts of a lab say of themselves."""
    return f"controller of paranal lab {lab}"


def controllers(lab: str) -> Iterator[Controller]:
    """Yield the controllers of a lab that this machine has, by the accounts themselves."""
    for account in pwd.getpwall():
        if account.pw_gecos == comment(lab):
            yield Controller(lab, account.pw_name.rpartition("-")[2])


def processes(uid: int) -> list[int]:
    """Return the processes of one user, zombies not: they hold nothing."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if entry.stat().st_uid == uid and (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def _end(uid: int) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while (left := processes(uid)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _closed(path: Path) -> Path:
    """Return the outermost folder on the way to ``path`` that others cannot enter; else ``/``."""
    shut = [each for each in path.parents if not each.stat().st_mode & 0o001]
    return shut[-1] if shut else Path("/")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    else:
        shutil.copyfile(source, target)
