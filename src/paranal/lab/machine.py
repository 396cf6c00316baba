"""A node that is a machine: QEMU in the node's container, and what its installer leaves on it.

The container shares the node's pause namespace, where each end of a link is joined to a tap of
QEMU's, so the guest's interfaces stand on the same wires as a container's. Everything here is
plain data: words, names and file contents. Why it is made so: ``docs/adr/0007-machines.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface

from paranal.lab.plan import Plan

PLANE = "kernel"
"""The data plane of a machine; a container's is always the userspace one."""
ACCELERATION = "tcg"
"""Software emulation: where /dev/kvm exists but does not serve, a stock guest hangs on it."""
FACTS = {"machine": ACCELERATION}
"""What ``lab.json`` says of a member that is a machine, beside its data plane."""
DISK_FOLDER = "/machine"
"""Where the container sees the guest's disk, kernel and initial file system."""
FURNITURE = "/furniture.tar"
"""Where the container sees what the installer leaves; the guest unpacks it in its first boot."""

_CORES = 2
_MEMORY_MIB = 1536
_START = f"""\
[ -e /disk.qcow2 ] || qemu-img create -q -f qcow2 -F raw -b {DISK_FOLDER}/disk.ext4 /disk.qcow2
exec qemu-system-x86_64 "$@"
"""
"""The container's first process. The disk is a thin layer over the shared one, in the container: it
outlives a stop, so that the node restarts with it, and goes with the container."""
_KERNEL_WORDS = (
    *("root=/dev/vda", "rw", "console=ttyS0", "quiet", "fsck.mode=skip", "net.ifnames=0"),
    *("mitigations=off", "random.trust_cpu=on", "panic=-1"),
)
_NETWORKD = """\
[Network]
# charon's routes and rules are not networkd's to remove.
ManageForeignRoutes=no
ManageForeignRoutingPolicyRules=no
"""


def tap(interface: str) -> str:
    """Return the tap behind a guest's interface, in the node's pause namespace."""
    return f"{interface}-tap"


def bridge(interface: str) -> str:
    """Return the bridge that joins a link's end with the tap behind it."""
    return f"{interface}-br"


def mac(part: str, interface: str) -> str:
    """Return the fixed, locally administered address of a guest's interface."""
    digest = hashlib.sha256(f"{part}/{interface}".encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x02, *digest[:5]))


def interfaces(plan: Plan, part: str) -> list[str]:
    """Return the interfaces of a part, in the plan's order."""
    ends = (end for link in plan.links for end in (link.near, link.far))
    return [end.interface for end in ends if end.part == part]


def network(plan: Plan, part: str) -> dict[str, str]:
    """Return the files that name and address a machine's interfaces: path below / -> content."""
    found = {
        "etc/hostname": f"{part}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {part}\n::1 localhost\n",
        "etc/systemd/networkd.conf.d/lab.conf": _NETWORKD,
    }
    ends = [end for link in plan.links for end in (link.near, link.far) if end.part == part]
    for end in ends:
        match = f"[Match]\nMACAddress={mac(part, end.interface)}\n"
        found[f"etc/systemd/network/10-{end.interface}.link"] = (
            f"{match}\n[Link]\nName={end.interface}\n"
        )
        network = f"{match}\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        network += f"Address={end.address}\n"
        gateway = plan.routes.get(part)
        if gateway and ip_address(gateway) in ip_interface(end.address).network:
            network += f"Gateway={gateway}\n"
        found[f"etc/systemd/network/10-{end.interface}.network"] = network
    return found


def command(part: str, interfaces: Iterable[str]) -> list[str]:
    """Return the first process of a machine's container, whose guest has these interfaces."""
    words = ["-name", part, "-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-machine", "pc,usb=off,vmport=off", "-accel", f"{ACCELERATION},thread=multi"]
    words += ["-cpu", "max,la57=off,svm=off", "-smp", str(_CORES), "-m", str(_MEMORY_MIB)]
    words += ["-serial", "stdio"]  # the console is what `docker logs` of the container shows
    words += ["-kernel", f"{DISK_FOLDER}/vmlinuz", "-initrd", f"{DISK_FOLDER}/initrd.img"]
    words += ["-append", " ".join(_KERNEL_WORDS)]
    words += _drive("/disk.qcow2", "qcow2") + _drive(FURNITURE, "raw,readonly=on")
    words += ["-device", "virtio-rng-pci"]
    for name in interfaces:
        words += ["-netdev", f"tap,id={name},ifname={tap(name)},script=no,downscript=no"]
        words += ["-device", f"virtio-net-pci,netdev={name},mac={mac(part, name)},romfile="]
    return ["sh", "-ec", _START, "sh", *words]


def _drive(file: str, form: str) -> list[str]:
    # The lab is thrown away with its host: nothing need reach the host's disk, all the guest's
    # own flushes, and a node whose power is cut, find it in the host's memory.
    return ["-drive", f"file={file},format={form},if=virtio,cache=unsafe"]
