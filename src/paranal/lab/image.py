"""The node image: a Debian that was just installed, built from the distribution's packages only.

It is named by the hash of its recipe, so an unchanged recipe is never built twice and a changed
one never runs from an old image. No file that a role owns is in it, no host key, no machine id:
those come with a node.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from paranal.lab import lock
from paranal.lab.docker import Docker
from paranal.messages import Refusal

REPOSITORY = "paranal-node"
BUILD_PATIENCE_SECONDS = 600
MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    *("apt", "systemd", "systemd-sysv", "dbus", "kmod", "netbase", "procps", "sudo"),
    *("openssh-server", "openssl", "ca-certificates", "curl", "unattended-upgrades", "chrony"),
    *("iproute2", "iputils-ping", "nftables", "tcpdump"),
    *("strongswan", "charon-systemd", "strongswan-swanctl", "libcharon-extra-plugins"),
    *("libstrongswan-standard-plugins", "libstrongswan-extra-plugins"),
    *("postgresql-17", "haproxy"),
    *("python3", "python3-asyncpg", "python3-cryptography", "python3-httptools"),
    *("python3-httpx", "python3-jinja2", "python3-joserfc", "python3-jsonschema"),
    *("python3-msgspec", "python3-rapidfuzz", "python3-rich"),
    *("python3-starlette", "python3-uvicorn", "python3-uvloop", "python3-yaml"),
)
HOOKS = (
    # The installer's account; its key and its sudo right come with each node.
    'chroot "$1" useradd --create-home --shell /bin/bash ops',
    # Made by the packages' scripts, and secret or unique: never two nodes with one key or one id.
    'rm -f "$1"/etc/ssh/ssh_host_*_key "$1"/etc/ssh/ssh_host_*_key.pub',
    ': >"$1"/etc/machine-id && rm -f "$1"/var/lib/dbus/machine-id',
    # Caches that systemd would otherwise rebuild in every node's first boot.
    'chroot "$1" ldconfig && chroot "$1" journalctl --update-catalog',
    'touch "$1"/etc/.updated "$1"/var/.updated',
)
"""mmdebstrap's customize hooks: shell lines, with the new root as ``$1``."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what is in an image; the mirror does not, packages are signed."""

    suite: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = HOOKS
    early: tuple[str, ...] = ()
    """Hooks before the packages come, whose own scripts read what these write."""
    repository: str = REPOSITORY

    @property
    def tag(self) -> str:
        """``paranal-node:SUITE-HASH``: twelve digits of the SHA-256 of the recipe."""
        text = json.dumps(asdict(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return f"{self.repository}:{self.suite}-{digest[:12]}"


# PostgreSQL's package carries its major version in its name; role base knows the same two.
RECIPES = {
    "trixie": Recipe("trixie", PACKAGES),
    "forky": Recipe("forky", tuple(p.replace("postgresql-17", "postgresql-18") for p in PACKAGES)),
}
FOREIGN = Recipe(
    "trixie",
    (
        *("apt", "systemd", "systemd-sysv", "dbus", "kmod", "netbase", "procps", "sudo"),
        *("openssh-server", "openssl", "ca-certificates"),
        *("iproute2", "iputils-ping", "nftables", "tcpdump", "python3", "libreswan"),
    ),
)
"""A gateway that is no node of ours: plain Debian with libreswan, also for a machine's disk."""
EMULATOR = Recipe(
    "trixie",
    ("qemu-system-x86", "qemu-utils"),
    (),
    repository="paranal-emulator",
)
"""What a machine's container runs: QEMU and nothing else, of one suite whatever the guest's is."""


def exists(docker: Docker, recipe: Recipe) -> bool:
    """Tell whether the engine holds the recipe's image."""
    return bool(docker.call("images", "--quiet", recipe.tag).strip())


def ensure(docker: Docker, recipe: Recipe, scratch: Path) -> None:
    """Build the recipe's image unless the engine holds it; only one build runs at a time.

    ``scratch`` is a folder on a roomy file system for the build. Raises ``Refusal`` PAR-0210.
    """
    if exists(docker, recipe):
        return
    try:
        with lock.hold("image", BUILD_PATIENCE_SECONDS):
            if not exists(docker, recipe):
                _build(docker, recipe, scratch)
    except lock.Held as held:
        reason = f"pid {held.pid}: mmdebstrap > {BUILD_PATIENCE_SECONDS} s"
        raise Refusal("PAR-0210", image=recipe.tag, reason=reason) from None


def drop_outdated(docker: Docker) -> None:
    """Remove the node images that no recipe makes any more and no container uses.

    While an image is being built none is removed: it would lose what it has so far.
    """
    current = {recipe.tag for recipe in (*RECIPES.values(), EMULATOR, FOREIGN)}
    form = ("--format", "{{.Repository}}:{{.Tag}}")
    with contextlib.suppress(lock.Held), lock.hold("image", 0):
        listed = [
            tag
            for repository in (REPOSITORY, EMULATOR.repository)
            for tag in docker.call("images", *form, repository).split()
        ]
        for tag in sorted(set(listed) - current):
            docker.attempt("rmi", tag)  # the engine refuses while a container uses it: keep it then


def _build(docker: Docker, recipe: Recipe, scratch: Path) -> None:
    # Whatever a killed build left; its mounts went with its own mount namespace.
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    unfinished = f"{REPOSITORY}:building"
    docker.attempt("rmi", unfinished)  # retagged, it would stay for ever without a name
    # A truncated stream imports without complaint, so it gets its name only afterwards.
    with (
        tempfile.TemporaryFile(dir=scratch.parent) as errors,
        subprocess.Popen(  # noqa: S603 - fixed words
            debootstrap_command(recipe, os.environ.get("PARANAL_DEBIAN_MIRROR", MIRROR)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"},
        ) as debootstrap,
    ):
        try:
            importing = subprocess.run(  # noqa: S603 - fixed words
                docker.command("import", "-", unfinished),
                stdin=debootstrap.stdout,
                capture_output=True,
                check=False,
            )
        except BaseException:
            debootstrap.terminate()
            raise
        if debootstrap.stdout:
            # Should the import have failed, mmdebstrap must see a closed pipe, not wait for ever.
            debootstrap.stdout.close()
        debootstrap.wait()
        errors.seek(0)
        said = (errors.read() + importing.stderr).decode(errors="replace")
    shutil.rmtree(scratch, ignore_errors=True)
    if debootstrap.returncode or importing.returncode:
        docker.attempt("rmi", unfinished)
        raise Refusal("PAR-0210", image=recipe.tag, reason=failure(said))
    docker.call("tag", unfinished, recipe.tag)
    docker.call("rmi", unfinished)


def debootstrap_command(recipe: Recipe, mirror: str, target: str = "-") -> list[str]:
    """Return mmdebstrap's argument list; it makes a folder, or writes a tar on its output."""
    command = [
        # The build must not outlive a killed `up`.
        *("setpriv", "--pdeathsig", "TERM", "mmdebstrap", "--quiet", "--variant=minbase"),
        f"--format={'tar' if target == '-' else 'directory'}",
        f"--include={','.join(recipe.packages)}",
        '--aptopt=Acquire::Check-Valid-Until "false"',  # testing's Release can be past its date
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")),
        *(f"--essential-hook={hook}" for hook in recipe.early),
        *(f"--customize-hook={hook}" for hook in recipe.hooks),
    ]
    return [*command, recipe.suite, target, mirror]


def failure(output: str) -> str:
    """Return the line of a failed build that says why: the first error, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E: ")]
    return (errors or lines[-1:] or ["?"])[0]
