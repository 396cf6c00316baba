"""What the role base refuses of a machine, and the kernel settings it declares."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.filter.base import KEY_TYPES, base_problems, base_sysctl, base_sysctl_due

REPOSITORY = Path(__file__).parents[3]
VIEW = {
    "member": {
        "code": "pe",
        "wan_address": "203.0.113.34",
        "wan_local_address": "203.0.113.34",
        "addresses": {"national": "10.51.0.1"},
    }
}
PROBE: dict[str, Any] = {
    "host": {
        "os": {"id": "debian", "version_codename": "trixie", "pretty_name": "Debian GNU/Linux 13"},
        "free_mib": 4096,
        "interfaces": {"wan": ["203.0.113.34/28"], "inner": ["10.51.0.1/24"], "lo": []},
    }
}
KEYS = ["ssh-ed25519 AAAA ana"]


def problems(change: dict[str, Any], keys: list[str] = KEYS, debian: str = "trixie") -> list[str]:
    probe = copy.deepcopy(PROBE)
    probe["host"].update(change)
    said = base_problems(probe, VIEW, 512, ["wan", "inner"], keys, debian)
    return [text[:8] for text in said]


def test_a_good_machine_has_no_problem() -> None:
    assert problems({}) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"os": {"id": "debian", "version_codename": "bookworm"}}, "PAR-0320"),
        ({"os": {"id": "debian", "version_codename": "forky"}}, "PAR-0320"),
        ({"os": {"id": "ubuntu", "version_codename": "trixie"}}, "PAR-0320"),
        ({"os": {}}, "PAR-0320"),
        ({"free_mib": 511}, "PAR-0321"),
        ({"interfaces": {"wan": ["203.0.113.34/28"]}}, "PAR-0322"),
        ({"interfaces": {"wan": ["192.0.2.1/28"], "inner": ["10.51.0.1/24"]}}, "PAR-0323"),
        ({"interfaces": {"wan": ["203.0.113.34/28"], "inner": []}}, "PAR-0323"),
    ],
)
def test_a_machine_that_cannot_be_the_node_is_refused_with_its_reason(
    change: dict[str, Any], code: str
) -> None:
    assert problems(change) == [code]


def test_another_debian_is_good_only_where_the_inventory_declares_it() -> None:
    forky = {"os": {"id": "debian", "version_codename": "forky"}}
    assert problems(forky, debian="forky") == []
    assert problems({}, debian="forky") == ["PAR-0320"]


@pytest.mark.parametrize("keys", [[], [""], ["ssh-rsa AAAA ana"], ["# ssh-ed25519 AAAA ana"]])
def test_nobody_to_log_in_is_refused(keys: list[str]) -> None:
    assert problems({}, keys=keys) == ["PAR-0324"]


@pytest.mark.parametrize(
    "key", ["sk-ssh-ed25519@openssh.com AAAA ana", 'from="192.0.2.0/28" ssh-ed25519 AAAA ana']
)
def test_one_who_can_log_in_is_enough(key: str) -> None:
    assert problems({}, keys=["ssh-rsa AAAA luis", key]) == []


def test_sshd_takes_the_keys_that_the_preflight_takes() -> None:
    template = REPOSITORY / "roles/base/templates/etc/ssh/sshd_config.d/10-paranal.conf.j2"
    (line,) = (
        line
        for line in template.read_text(encoding="utf-8").splitlines()
        if line.startswith("PubkeyAcceptedAlgorithms ")
    )
    assert tuple(line.split()[1].split(",")) == KEY_TYPES


def test_every_problem_is_named_at_once() -> None:
    assert problems({"os": {}, "free_mib": 0, "interfaces": {}}) == [
        *("PAR-0320", "PAR-0321", "PAR-0322", "PAR-0322")
    ]


def test_a_container_gets_no_setting_that_would_reach_its_host() -> None:
    assert all(key.startswith("net.") for key in base_sysctl(["wan"], False, True))
    assert "kernel.core_pattern" in base_sysctl(["wan"], False, False)


def test_a_setting_is_due_only_when_the_kernel_has_it_and_has_another_value() -> None:
    declared = base_sysctl(["wan"], False, True)
    assert not base_sysctl_due(declared, declared)
    assert not base_sysctl_due({}, declared)
    # A kernel without IPv6 has none of its settings, and never will.
    without = {key: value for key, value in declared.items() if "ipv6" not in key}
    assert not base_sysctl_due(without, declared)
    assert base_sysctl_due({**without, "net.ipv4.ip_forward": "1"}, declared)


def test_each_interface_of_a_node_is_guarded_and_must_exist() -> None:
    """SYS-001 and SYS-002 ask for every interface: what sshd stands on is one of them."""
    defaults = yaml.safe_load((REPOSITORY / "roles/base/defaults/main.yml").read_text())
    assert defaults["base_interfaces"] == ["wan", "inner", "mgmt"]


def test_each_interface_is_guarded_and_routing_is_off_unless_declared() -> None:
    settings = base_sysctl(["wan", "inner"], False, True)
    for name in ("all", "default", "wan", "inner"):
        assert settings[f"net.ipv4.conf.{name}.rp_filter"] == "1"
        assert settings[f"net.ipv4.conf.{name}.disable_policy"] == "0"
    assert settings["net.ipv6.conf.lo.disable_policy"] == "0"
    assert settings["net.ipv4.ip_forward"] == "0"
    assert base_sysctl(["wan"], True, True)["net.ipv4.ip_forward"] == "1"


def test_behind_a_translation_the_machine_has_the_local_address() -> None:
    behind = copy.deepcopy(VIEW)
    behind["member"]["wan_local_address"] = "192.0.2.2"
    assert [
        text[:8] for text in base_problems(PROBE, behind, 512, ["wan", "inner"], KEYS, "trixie")
    ] == ["PAR-0323"]
    probe = copy.deepcopy(PROBE)
    probe["host"]["interfaces"]["wan"] = ["192.0.2.2/28"]
    assert base_problems(probe, behind, 512, ["wan", "inner"], KEYS, "trixie") == []
    (undeclared,) = base_problems(probe, VIEW, 512, ["wan", "inner"], KEYS, "trixie")
    assert "paranal_wan_local_address" in undeclared
