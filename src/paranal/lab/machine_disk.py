"""A machine's disk: the node's Debian with its own kernel, as a file system image.

Built once from the node image's recipe and named by the hash of it; each machine writes into a thin
layer of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paranal.lab import image, lock
from paranal.lab.docker import Docker
from paranal.messages import Refusal

DISK_MIB = 6144
"""The file is sparse: what is not used costs nothing."""
_UNPACK = """\
#!/bin/sh
# Before the first boot: unpack what the installer leaves. Without a machine id it has not been.
[ "$1" != prereqs ] && [ ! -s "$rootmnt/etc/machine-id" ] || exit 0
chroot "$rootmnt" tar --extract --file=- --directory=/ --no-overwrite-dir < /dev/vdb
"""
_BOOT_HOOKS = (
    # No hardware but what QEMU gives, so no search for it.
    'mkdir -p "$1"/etc/initramfs-tools/conf.d "$1"/etc/initramfs-tools/scripts/local-bottom',
    'printf "MODULES=list\\n" >"$1"/etc/initramfs-tools/conf.d/lab',
    'printf "virtio_blk\\n" >"$1"/etc/initramfs-tools/modules',
    f"printf '%s' '{_UNPACK}' >\"$1\"/etc/initramfs-tools/scripts/local-bottom/furniture",
    'chmod 0755 "$1"/etc/initramfs-tools/scripts/local-bottom/furniture',
)
"""mmdebstrap's hooks before the packages: what the kernel's package builds its initrd from."""


_NODE_SERVICES = ("strongswan", "haproxy", "postgresql")
"""A role starts what it has configured. Emulated, charon alone with Debian's own settings, every
plugin with its self-tests, takes most of a minute of the first boot."""


def recipe(node: image.Recipe) -> image.Recipe:
    """Return the recipe of a node's disk for a node image's recipe."""
    return _recipe(node, _NODE_SERVICES)


def foreign() -> image.Recipe:
    """Return the recipe of the disk of a gateway that is no node of ours."""
    return _recipe(image.FOREIGN, ())


def _recipe(system: image.Recipe, idle: Sequence[str]) -> image.Recipe:
    packages = ("linux-image-cloud-amd64", "initramfs-tools", "udev")
    services = " ".join(("systemd-networkd-wait-online", "e2scrub_reap", *idle))
    return replace(
        system,
        repository="paranal-disk",
        packages=system.packages + packages,
        early=_BOOT_HOOKS,
        hooks=(
            *system.hooks,
            'chroot "$1" systemctl enable systemd-networkd',
            f'chroot "$1" systemctl disable {services}',
        ),
    )


def folder(disk: image.Recipe, state: Path) -> Path:
    """Return where a disk lies, with ``disk.ext4``, ``vmlinuz`` and ``initrd.img`` in it."""
    return state / "machines" / disk.tag.replace(":", "-")


def ensure(disk: image.Recipe, state: Path) -> None:
    """Build a disk unless it is there; only one build runs at a time. Raises PAR-0210."""
    try:
        with lock.hold("image", image.BUILD_PATIENCE_SECONDS):
            if not folder(disk, state).exists():
                _build(disk, state)
    except lock.Held as held:
        reason = f"pid {held.pid}: mmdebstrap > {image.BUILD_PATIENCE_SECONDS} s"
        raise Refusal("PAR-0210", image=disk.tag, reason=reason) from None


def drop_outdated(docker: Docker, state: Path) -> None:
    """Remove the disks that no recipe makes any more and no container uses."""
    current = {folder(disk, state) for disk in (foreign(), *map(recipe, image.RECIPES.values()))}
    for found in sorted(set((state / "machines").glob("*")) - current):
        if not docker.call("ps", "--all", "--quiet", "--filter", f"volume={found}").strip():
            shutil.rmtree(found)


def _build(disk: image.Recipe, state: Path) -> None:
    scratch = state / "build-machine"
    shutil.rmtree(scratch, ignore_errors=True)  # whatever a killed build left
    root, made = scratch / "root", scratch / "made"
    for path in (root, made):
        path.mkdir(parents=True)
    mirror = os.environ.get("PARANAL_DEBIAN_MIRROR", image.MIRROR)
    _run(disk, image.debootstrap_command(disk, mirror, str(root)), scratch)
    for name in ("vmlinuz", "initrd.img"):
        (kernel,) = (root / "boot").glob(f"{name}-*")
        shutil.move(kernel, made / name)
    size = f"{DISK_MIB}M"
    words = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(made / "disk.ext4"), size]
    _run(disk, words, scratch)
    place = folder(disk, state)
    place.parent.mkdir(exist_ok=True)
    made.rename(place)
    shutil.rmtree(scratch)


def _run(disk: image.Recipe, words: list[str], scratch: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(words, env=environment, capture_output=True, check=False)  # noqa: S603 - fixed words
    if done.returncode:
        reason = image.failure((done.stdout + done.stderr).decode(errors="replace"))
        raise Refusal("PAR-0210", image=disk.tag, reason=reason)
