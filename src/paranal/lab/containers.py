"""How each container of a lab is made: its namespace, its capabilities, its first process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from paranal.lab import machine, names

NODE_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "SYS_ADMIN")
"""Beside the engine's own: interfaces and tunnels, captures, and systemd's cgroups and mounts."""
BOOT = """\
mount -o remount,bind,rw /proc/sys
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    mount -o remount,bind,rw /sys/fs/cgroup
else
    umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
exec /sbin/init
"""
"""A node's first process. systemd wants its sysctls and a cgroup v2 tree writable; a host that
still has v1 controllers keeps the v2 tree elsewhere, so it is mounted in their place."""
RELAY_FOLDER = "/run/paranal-relay"

_IDLE = ("sleep", "infinity")
_NO_RIGHTS = ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only")


def _ipv6(setting: str) -> tuple[str, ...]:
    # `--network none` switches IPv6 off, which management needs, and an agreement may.
    return tuple(
        f"--sysctl=net.ipv6.conf.{scope}.{each}"
        for scope in ("all", "default")
        for each in ("disable_ipv6=0", setting)
    )


# Mode 1: no address but ours.
_HOST = _ipv6("addr_gen_mode=1")
# A router asks for its neighbours from a link-local address, which it has at once, and keeps its
# addresses of IPv6 too when a cable is pulled. What passes the relay comes back from another
# interface than its source's.
_ROUTER = (
    *_ipv6("accept_dad=0"),
    *("--sysctl=net.ipv4.ip_forward=1", "--sysctl=net.ipv6.conf.all.forwarding=1"),
    "--sysctl=net.ipv6.conf.all.keep_addr_on_down=1",
    *(f"--sysctl=net.ipv4.conf.{scope}.rp_filter=0" for scope in ("all", "default")),
)


@dataclass(frozen=True)
class Maker:
    """Makes the ``docker create`` words of one lab's containers."""

    lab: str
    image: str
    home: Path
    owner: str

    def pause(self, part: str) -> list[str]:
        """Words for the container that owns a node's or the WAN's namespace and does nothing else.

        A node is stopped, killed and started again without losing its links.
        """
        own = _ROUTER if part == names.WAN else _HOST
        # The address of its own name that the installer writes into /etc/hosts.
        name = (f"--hostname={part}", f"--add-host={part}:127.0.1.1")
        where = ("--network=none", *name, *own)
        return self._create(names.pause(self.lab, part), part, "pause", *_NO_RIGHTS, *where)

    def border(self, member: str) -> list[str]:
        """Words for a border post, which has one link to its gateway."""
        part = names.border(member)
        return self.bare(part, "border", "--network=none", f"--hostname={part}", *_HOST)

    def bare(self, part: str, kind: str, *options: str) -> list[str]:
        """Words for the distribution without services."""
        return self._create(names.container(self.lab, part), part, kind, *options)

    def node(self, member: str) -> list[str]:
        """Words for a node: systemd as first process, in the network namespace of its pause."""
        return self._create(
            names.container(self.lab, member),
            member,
            "node",
            f"--network=container:{names.pause(self.lab, member)}",
            *(f"--cap-add={capability}" for capability in NODE_CAPABILITIES),
            *("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"),
            *("--device=/dev/net/tun", "--cgroupns=private", "--stop-signal=SIGRTMIN+3"),
            *("--tmpfs=/run:mode=0755,exec", "--tmpfs=/tmp:mode=1777,exec"),
            "--env=container=docker",
            command=("sh", "-ec", BOOT),
        )

    def machine(
        self, member: str, emulator: str, disk: Path, furniture: Path, interfaces: Iterable[str]
    ) -> list[str]:
        """Words for a node that is a machine: QEMU of image ``emulator``, with its pause's network.

        It opens taps that are there already, so it needs no capability. ``disk`` is the host's
        folder of the disk over which it lays its own, ``furniture`` the host's file with what the
        installer leaves.
        """
        return self._create(
            names.container(self.lab, member),
            member,
            "node",
            f"--network=container:{names.pause(self.lab, member)}",
            *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--device=/dev/net/tun"),
            f"--volume={disk}:{machine.DISK_FOLDER}:ro",
            f"--volume={furniture}:{machine.FURNITURE}:ro",
            image=emulator,
            command=machine.command(member, interfaces),
        )

    def wan(self, relay: Path) -> list[str]:
        """Words for the relay's container; ``relay`` is the host's folder with its program."""
        return self._create(
            names.container(self.lab, names.WAN),
            names.WAN,
            "wan",
            f"--network=container:{names.pause(self.lab, names.WAN)}",
            *("--cap-drop=ALL", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW"),
            *("--security-opt=no-new-privileges", "--device=/dev/net/tun"),
            *("--restart=on-failure", f"--volume={relay}:{RELAY_FOLDER}"),
            command=("python3", "-I", f"{RELAY_FOLDER}/relay.py"),
        )

    def _create(
        self,
        name: str,
        part: str,
        kind: str,
        *options: str,
        image: str = "",
        command: Iterable[str] = _IDLE,
    ) -> list[str]:
        labels: Mapping[str, str] = {
            names.LABEL: self.lab,
            names.LABEL_PART: part,
            names.LABEL_KIND: kind,
            names.LABEL_HOME: str(self.home),
            names.LABEL_OWNER: self.owner,
        }
        marks = [f"--label={key}={value}" for key, value in labels.items()]
        return ["create", f"--name={name}", *marks, *options, image or self.image, *command]
