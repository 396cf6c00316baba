"""A machine as data: what its guest is told, what QEMU is told, and how it is entered."""

from __future__ import annotations

import configparser
import re
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from paranal.agreement import load
from paranal.lab import image, installer, machine, machine_disk, plan
from paranal.lab.containers import Maker
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab

MEMBERS = load(ROOT / "agreement" / "kernel.yml").members
WIRES = plan.wiring("t-unit", MEMBERS)


def _sections(files: dict[str, str], path: str) -> dict[str, dict[str, str]]:
    read = configparser.ConfigParser()
    read.optionxform = str  # type: ignore[assignment,method-assign] # systemd minds upper case
    read.read_string(files[path])
    return {name: dict(read[name]) for name in read.sections()}


def test_the_guest_names_and_addresses_its_interfaces_as_the_plan_says() -> None:
    files = machine.network(WIRES, "pe")
    for name, address in (("wan", "203.0.113.34/28"), ("inner", "10.51.0.1/24")):
        link = _sections(files, f"etc/systemd/network/10-{name}.link")
        assert link == {
            "Match": {"MACAddress": machine.mac("pe", name)},
            "Link": {"Name": name},
        }
        network = _sections(files, f"etc/systemd/network/10-{name}.network")
        assert network["Match"] == link["Match"]
        assert network["Network"]["Address"] == address
        assert network["Network"]["IPv6AcceptRA"] == "no"
    gateways = {path: "Gateway=" in text for path, text in files.items() if "network/" in path}
    assert [path for path, has in gateways.items() if has] == ["etc/systemd/network/10-wan.network"]


def test_what_networkd_did_not_make_it_leaves() -> None:
    files = machine.network(WIRES, "pe")
    kept = _sections(files, "etc/systemd/networkd.conf.d/lab.conf")["Network"]
    assert set(kept.values()) == {"no"}
    assert set(kept) == {"ManageForeignRoutes", "ManageForeignRoutingPolicyRules"}


def test_every_interface_of_every_machine_has_an_address_of_its_own() -> None:
    found = [machine.mac(code, name) for code in MEMBERS for name in ("wan", "inner", "mgmt")]
    assert len(set(found)) == len(found)
    # Locally administered, one station.
    assert all(re.fullmatch(r"02(:[0-9a-f]{2}){5}", address) for address in found)


def test_names_beside_an_interface_fit_the_kernel() -> None:
    for name in machine.interfaces(WIRES, "pe"):
        assert len(machine.tap(name)) <= 15
        assert len(machine.bridge(name)) <= 15


def test_qemu_gets_a_card_for_each_interface_on_its_own_tap() -> None:
    words = machine.command("pe", ["wan", "inner", "mgmt"])
    for name in ("wan", "inner", "mgmt"):
        assert f"tap,id={name},ifname={name}-tap,script=no,downscript=no" in words
        assert any(f"netdev={name},mac={machine.mac('pe', name)}" in word for word in words)
    assert len([word for word in words if word.startswith("virtio-net-pci")]) == 3
    # The first disk is the root; what the installer leaves can only be read.
    drives = [word for word in words if word.startswith("file=")]
    assert "disk.qcow2" in drives[0]
    assert "readonly=on" in drives[1]


def test_a_machine_s_container_has_no_right_at_all() -> None:
    maker = Maker("t-unit", "paranal-node:x", ROOT, "1:2")
    words = maker.machine("pe", "paranal-emulator:x", Path("/disk"), Path("/f.tar"), ["wan"])
    assert "--cap-drop=ALL" in words
    assert not [word for word in words if word.startswith("--cap-add")]
    assert "--network=container:paranal-t-unit-pe-net" in words
    volumes = [word for word in words if word.startswith("--volume=")]
    assert volumes == ["--volume=/disk:/machine:ro", "--volume=/f.tar:/furniture.tar:ro"]
    assert "--label=paranal.kind=node" in words


def test_the_disk_is_the_node_s_recipe_with_a_kernel() -> None:
    node = image.RECIPES["trixie"]
    disk = machine_disk.recipe(node)
    assert set(disk.packages) > set(node.packages)
    assert disk.hooks[: len(node.hooks)] == node.hooks
    command = image.debootstrap_command(disk, "http://mirror.example/debian", "/target")
    assert command[-3:] == ["trixie", "/target", "http://mirror.example/debian"]
    assert "--format=directory" in command
    assert len([word for word in command if word.startswith("--essential-hook=")]) == len(
        disk.early
    )


def test_the_installer_s_further_files_are_root_s_and_readable() -> None:
    key = installer.Key.generate()
    packed = installer.archive(key, key, {"etc/systemd/network/10-wan.link": "[Link]\n"})
    with tarfile.open(fileobj=BytesIO(packed)) as tar:
        entry = tar.getmember("etc/systemd/network/10-wan.link")
        assert (entry.uid, entry.mode) == (0, 0o644)
    assert len(packed) % 512 == 0, "the guest sees it as a disk, which has whole sectors"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    found = Lab("t-unit", tmp_path)
    node = {"ssh_host": "fe80::51%link"}
    members = {"pe": {**node, "data_plane": "kernel"}, "cl": {**node, "data_plane": "userspace"}}
    found.home.write({"state": "starting", "members": members})
    return found


def test_a_machine_is_entered_over_ssh_as_root_with_every_word_kept(lab: Lab) -> None:
    assert lab.machines() == ["pe"]
    command = lab.command("pe", ["sh", "-c", "echo 'a  b'"])
    assert command[0] == "ssh"
    assert command[-2:] == [
        "ops@fe80::51%link",
        "sudo --non-interactive -- sh -c 'echo '\"'\"'a  b'\"'\"''",
    ]
    assert "-tt" in lab.command("pe", ["bash"], terminal=True)
