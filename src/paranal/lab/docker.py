"""The Docker command line, called with lists and never through a shell."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from paranal.lab import names
from paranal.messages import Refusal

CALL_SECONDS = 120
TIMED_OUT = 124
"""The status of a command that did not end in time, as ``timeout`` has it."""
_AT_ONCE = 4


def client() -> str | None:
    """Return the path of the distribution's client, else of the first on PATH, else None.

    A newer client first on PATH may speak an API that the distribution's engine does not.
    """
    distribution = Path("/usr/bin/docker")
    return str(distribution) if distribution.exists() else shutil.which("docker")


def attempt(
    command: Sequence[str], given: bytes, seconds: float | None, keep: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run a command and return how it went; TIMED_OUT when it has not ended by then."""
    try:
        return subprocess.run(  # noqa: S603 - the engine's client or ssh, words without a shell
            command, input=given, capture_output=True, timeout=seconds, check=False, pass_fds=keep
        )
    except subprocess.TimeoutExpired as error:
        said = f"no answer within {seconds:.0f} s\n".encode()
        return subprocess.CompletedProcess(command, TIMED_OUT, error.stdout or b"", said)


@dataclass(frozen=True)
class Container:
    """What the engine says of one container of a lab."""

    name: str
    running: bool
    pid: int
    created: str
    labels: dict[str, str]

    @property
    def lab(self) -> str:
        """The name of the lab it belongs to."""
        return self.labels[names.LABEL]


@dataclass(frozen=True)
class Docker:
    """A client bound to one engine; ``keep`` are lock descriptors its calls hold while they run."""

    binary: str
    host: str
    keep: tuple[int, ...] = ()

    def command(self, *words: str) -> list[str]:
        """Return the argument list of a call, for callers that run it themselves."""
        return [self.binary, "--host", self.host, *words]

    def call(self, *words: str, given: bytes | None = None) -> str:
        """Run one command and return what it prints; ``given`` goes to its standard input.

        Raises ``Refusal`` PAR-0215 with the engine's own last line when it fails.
        """
        done = self.attempt(*words, given=given)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise Refusal("PAR-0215", command=words[0], reason=lines[-1] if lines else "?")
        return done.stdout.decode()

    def attempt(
        self, *words: str, given: bytes | None = None, seconds: float = CALL_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command and return how it went; TIMED_OUT when it has not ended by then."""
        return attempt(self.command(*words), given or b"", seconds, self.keep)

    def call_each(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """Run several commands side by side; raise the first refusal once all have ended."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [run.result() for run in [pool.submit(self.call, *words) for words in commands]]

    def containers(self, lab: str | None = None) -> dict[str, Container]:
        """Return the containers of one lab, or of every lab, by name."""
        label = names.LABEL if lab is None else f"{names.LABEL}={lab}"
        ids = self.call("ps", "--all", "--quiet", "--filter", f"label={label}").split()
        if not ids:
            return {}
        # One may go between the two calls; what is still there is printed all the same.
        seen = json.loads(self.attempt("inspect", *ids).stdout or b"[]")
        found = (
            Container(
                name=entry["Name"].lstrip("/"),
                running=entry["State"]["Running"],
                pid=entry["State"]["Pid"],
                created=entry["Created"],
                labels=entry["Config"]["Labels"],
            )
            for entry in seen
        )
        return {container.name: container for container in found}
