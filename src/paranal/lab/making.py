"""Make what a lab consists of: images, the lab's folder, what stands on each node, containers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from paranal.lab import engine, image, installer, machine, machine_disk, names, plan, relay
from paranal.lab.containers import Maker
from paranal.lab.docker import Docker
from paranal.lab.lab import Lab
from paranal.lab.progress import step
from paranal.messages import Refusal

if TYPE_CHECKING:
    from paranal.agreement import Agreement


def member_facts(
    lab: Lab, code: str, member: Mapping[str, Any], suite: str, *, foreign: bool, local: str | None
) -> dict[str, Any]:
    """Return what ``lab.json`` says of one member; ``local``: its address behind a translation."""
    link = names.host_link(lab.name, code)
    return {
        "container": names.container(lab.name, code),
        "border": names.container(lab.name, names.border(code)),
        "ssh_host": f"{plan.management_address(member)}%{link}",
        "suite": suite,
        "data_plane": member["data_plane"],
        **(machine.FACTS if member["data_plane"] == machine.PLANE else {}),
        **({"foreign": True} if foreign else {}),
        **({"wan_local_address": local} if local else {}),
    }


def build_images(
    docker: Docker, systems: Collection[image.Recipe], disks: Collection[image.Recipe]
) -> None:
    """Build what is not there yet: the nodes' images and, for machines, QEMU's and their disks."""
    for wanted in {*systems, image.EMULATOR} if disks else set(systems):
        if not image.exists(docker, wanted):
            with step(f"building the image {wanted.tag} from Debian's packages (about a minute)"):
                image.ensure(docker, wanted, engine.STATE / "build")
    for disk in set(disks):
        if not machine_disk.folder(disk, engine.STATE).exists():
            with step(f"building the machines' disk {disk.tag} (about a minute)"):
                machine_disk.ensure(disk, engine.STATE)


def furnish(
    lab: Lab, agreement: Agreement, wires: plan.Plan, codes: Sequence[str]
) -> dict[str, bytes]:
    """Fill the lab's folder; return what the installer leaves on each node."""
    for folder in (lab.home.agreement.parent, lab.home.wan, lab.home.log):
        folder.mkdir(parents=True, exist_ok=True)
    write_agreement(lab, agreement)
    shutil.copyfile(relay.__file__, lab.home.wan / "relay.py")
    _found_secrets(lab)
    operator = installer.Key.generate()
    operator.save(lab.home.key)
    hosts = {code: installer.Key.generate() for code in codes}
    lab.home.known_hosts.write_text(installer.known_hosts(hosts), encoding="ascii")
    networks = {code: machine.network(wires, code) for code in lab.machines()}
    return {
        code: installer.archive(hosts[code], operator, networks.get(code, {})) for code in codes
    }


def write_agreement(lab: Lab, agreement: Agreement) -> None:
    """Write the lab's own copy of the agreement, its comments too where it is as its source."""
    shutil.copyfile(agreement.path, lab.home.agreement)
    if lab.agreement().digest != agreement.digest:
        text = yaml.safe_dump(agreement.document, allow_unicode=True, sort_keys=False)
        lab.home.agreement.write_text(text, encoding="utf-8")


def _found_secrets(lab: Lab) -> None:
    """Create every member's authority, signature and preshared keys, by the ministry's commands.

    Raises ``Refusal`` PAR-0427, PAR-0157, PAR-0434.
    """
    for word, code in (("pki", "PAR-0427"), ("agreement", "PAR-0157"), ("ppk", "PAR-0434")):
        done = subprocess.run(  # noqa: S603 - our own command, no shell
            [sys.executable, "-m", "paranal", word, "found", str(lab.home.folder)],
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise Refusal(code, lab=lab.name, reason=reason)


def create_shared(docker: Docker, maker: Maker, lab: Lab, codes: Sequence[str]) -> None:
    """Create the WAN's container and every border, and start the owners of the namespaces."""
    owners = {names.pause(lab.name, part): maker.pause(part) for part in (names.WAN, *codes)}
    for code in codes:
        owners[names.container(lab.name, names.border(code))] = maker.border(code)
    docker.call_each(list(owners.values()))
    docker.call_each([("start", name) for name in owners])
    docker.call(*maker.wan(lab.home.wan))


def create_node(docker: Docker, maker: Maker, code: str, furniture: bytes) -> None:
    """Create a node that is a container and put on it what the installer leaves."""
    docker.call(*maker.node(code))
    docker.call("cp", "-", f"{names.container(maker.lab, code)}:/", given=furniture)


def create_machine(
    docker: Docker,
    maker: Maker,
    lab: Lab,
    code: str,
    disk: image.Recipe,
    interfaces: Sequence[str],
    furniture: bytes,
) -> None:
    """Create a node that is a machine; it unpacks what the installer leaves when it boots."""
    folder, file = machine_disk.folder(disk, engine.STATE), lab.home.furniture(code)
    installer.save(file, furniture)
    docker.call(*maker.machine(code, image.EMULATOR.tag, folder, file, interfaces))
