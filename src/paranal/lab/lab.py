"""One lab by its name: what is known of it, and what can be done to it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from paranal.lab import engine, lock, machine, names, plan, preflight
from paranal.lab.docker import Container, Docker, attempt
from paranal.lab.home import ROOT, Home
from paranal.lab.installer import ACCOUNT
from paranal.messages import Refusal

if TYPE_CHECKING:
    from paranal.agreement import Agreement

CONNECT_SECONDS = 10
PATIENCE_SECONDS = 5.0
"""How long a lab's lock is waited for: a killed ``up`` may have container requests under way."""


class Lab:
    """A named lab. Making the object touches nothing; most calls raise ``Refusal`` PAR-02xx."""

    def __init__(self, name: str = "default", root: Path = ROOT) -> None:
        """Check the name. Raises ``Refusal`` PAR-0201."""
        self.name = names.check_name(name)
        self.home = Home(name, root)

    @contextmanager
    def operated(self) -> Iterator[int]:
        """Hold the lab's lock and yield its descriptor. Raises ``Refusal`` PAR-0202, PAR-0207."""
        preflight.check_root()
        try:
            with lock.hold(f"lab/{self.name}", PATIENCE_SECONDS) as descriptor:
                yield descriptor
        except lock.Held as held:
            raise Refusal("PAR-0207", lab=self.name, pid=held.pid) from None

    def engine(self) -> Docker:
        """Return a client of the engine that runs the lab. Raises ``Refusal`` PAR-0212."""
        docker = engine.find()
        if docker is None:
            raise Refusal("PAR-0212", lab=self.name)
        return docker

    def facts(self) -> dict[str, Any]:
        """Return ``lab.json`` of a lab that is up. Raises ``Refusal`` PAR-0212."""
        facts = self.home.read()
        if facts is None or facts["state"] != "up":
            raise Refusal("PAR-0212", lab=self.name)
        return facts

    def agreement(self) -> Agreement:
        """Return the lab's own copy of the agreement."""
        from paranal.agreement import load  # its checks take time that `exec` need not spend

        return load(self.home.agreement)

    def declare(self, document: Mapping[str, Any]) -> None:
        """Make ``document`` the lab's agreement: the next epoch, signed by every member."""
        from paranal.agreement import lab as ministries  # as above

        text = yaml.safe_dump(dict(document), allow_unicode=True, sort_keys=False)
        self.home.agreement.write_text(text, encoding="utf-8")
        ministries.ensure(self.home.folder)

    def wiring(self) -> plan.Plan:
        """Return the plan of the members that are in the lab."""
        members, present = self.agreement().members, self.facts()["members"]
        return plan.wiring(self.name, plan.placed(members, present))

    def pids(self, containers: Mapping[str, Container] | None = None) -> dict[str, int]:
        """Return each part's process that owns its network namespace."""
        found = self.engine().containers(self.name) if containers is None else containers
        return {
            container.labels[names.LABEL_PART]: container.pid
            for container in found.values()
            if container.labels[names.LABEL_KIND] in ("pause", "border") and container.running
        }

    def wan_pid(self) -> int:
        """Return the process that owns the ``wan`` namespace.

        Raises ``Refusal`` PAR-0212 when it has stopped, as after a restart of the machine.
        """
        pid = self.pids().get(names.WAN)
        if pid is None:
            raise Refusal("PAR-0212", lab=self.name)
        return pid

    def container(self, part: str) -> str:
        """Return the container of a member, of ``wan`` or of a border (``pe-border``).

        Raises ``Refusal`` PAR-0213 for a part that the lab does not have.
        """
        facts = self.home.read()  # also of a lab that did not come up whole: to look into it
        if facts is None:
            raise Refusal("PAR-0212", lab=self.name)
        members = sorted(facts["members"])
        parts = [*members, names.WAN, *(names.border(member) for member in members)]
        if part not in parts:
            raise Refusal("PAR-0213", part=part, lab=self.name, parts=", ".join(parts))
        return names.container(self.name, part)

    def is_machine(self, part: str) -> bool:
        """Tell whether a part is a machine, which is entered over SSH, and not a container."""
        return part in self.machines()

    def machines(self) -> list[str]:
        """Return the members that are machines, sorted."""
        members = (self.home.read() or {"members": {}})["members"].items()
        return sorted(code for code, node in members if node.get("data_plane") == machine.PLANE)

    def command(self, part: str, words: Sequence[str], *, terminal: bool = False) -> list[str]:
        """Return the argument list that runs ``words`` inside a part as root, with its streams."""
        if self.is_machine(part):
            as_root = shlex.join(["sudo", "--non-interactive", "--", *words])
            entered = self.ssh_command(part, as_root)
            return [entered[0], "-tt", *entered[1:]] if terminal else entered
        streams = ("-i", "-t") if terminal else ("-i",)
        return self.engine().command("exec", *streams, self.container(part), *words)

    def exec(
        self,
        part: str,
        *words: str,
        given: bytes = b"",
        check: bool = True,
        seconds: float | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``words`` inside a part and return how it went; 124 when not over in ``seconds``.

        Raises ``Refusal`` PAR-0222 with the last line it said on a failure, unless ``check`` is
        false.
        """
        done = attempt(self.command(part, words), given, seconds)
        if check and done.returncode:
            raise failed(part, words, done)
        return done

    def ssh_command(self, member: str, *words: str) -> list[str]:
        """Return the ``ssh`` argument list to a node, with the lab's key and pinned host key."""
        members = (self.home.read() or self.facts())["members"]  # also while it is starting
        if member not in members:
            raise Refusal("PAR-0213", part=member, lab=self.name, parts=", ".join(sorted(members)))
        options = {
            "IdentityFile": self.home.key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.home.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": member,
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "LogLevel": "ERROR",
        }
        settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return [
            "ssh",
            "-F",
            "/dev/null",
            *settings,
            f"{ACCOUNT}@{members[member]['ssh_host']}",
            *words,
        ]


def failed(part: str, words: Sequence[str], done: subprocess.CompletedProcess[bytes]) -> Refusal:
    """Return the refusal (PAR-0222) of a command that failed inside a part."""
    said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    reason = said or f"exit status {done.returncode}"
    return Refusal("PAR-0222", part=part, command=" ".join(words[:3]), reason=reason)
