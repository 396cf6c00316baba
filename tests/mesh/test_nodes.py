"""What stands on every node: services, sockets, kernel settings, accounts, keys, hardening."""

from __future__ import annotations

import re
from typing import Any

import paramiko
import pytest
from testinfra.host import Host

from paranal.agreement import is_open
from paranal.agreement.address import endpoint
from paranal.lab import installer
from paranal.lab.lab import Lab
from tests.mesh.support import eventually, ssh

SERVICES = (
    *("ssh", "chrony", "paranal-addresses", "paranal-firewall", "paranal-nowhere"),
    *("strongswan", "postgresql", "haproxy", "paranal-national", "paranal-alliance"),
    "paranal-control",
)
PACKAGES = {
    "strongswan-swanctl",
    "charon-systemd",
    "nftables",
    "haproxy",
    "chrony",
}
SECRETS = {
    "/etc/swanctl/private/ike.key": "root",
    "/etc/haproxy/paranal/operational.pem": "root",
    "/etc/haproxy/paranal/national.pem": "root",
    "/etc/haproxy/paranal/strategic.pem": "root",
    "/etc/paranal/tls/asker.pem": "paranal-national",
    "/etc/paranal/tls/control.pem": "paranal-control",
    "/etc/paranal/signing/asker.pem": "paranal-national",
    "/etc/paranal/signing/answerer.pem": "paranal-alliance",
}
"""File with a key -> whose it is."""

EVERY_ADDRESS = ("0.0.0.0", "[::]")  # noqa: S104 - as ss shows it; nft says who reaches it
HARDENED = (
    *("paranal-national", "paranal-alliance", "paranal-control", "paranal-crl"),
    *("strongswan", "haproxy"),
)


@pytest.mark.req("D3")
def test_every_service_runs_and_starts_at_boot_and_nothing_has_failed(node: Host) -> None:
    units = " ".join(f"{name}.service" for name in SERVICES)
    shown = node.check_output(f"systemctl show --property=Id,ActiveState,UnitFileState {units}")
    states = [dict(line.split("=", 1) for line in unit.split("\n")) for unit in shown.split("\n\n")]
    for state in states:
        assert (state["ActiveState"], state["UnitFileState"]) == ("active", "enabled"), state["Id"]
    assert len(states) == len(SERVICES)
    assert node.check_output("systemctl is-system-running") == "running"


@pytest.mark.req("D3", "B3")
def test_nothing_that_listens_starts_before_the_firewall_stands(node: Host) -> None:
    for name in ("strongswan", "haproxy"):
        shown = node.check_output("systemctl show --property=Requires,After %s.service", name)
        for line in shown.splitlines():
            locks = {"paranal-firewall.service", "paranal-nowhere.service"}
            assert locks <= set(line.split("=", 1)[1].split()), (name, line)


@pytest.mark.req("D3")
def test_daemons_that_would_open_the_node_are_masked(node: Host) -> None:
    for name in ("nftables", "strongswan-starter"):
        assert node.service(name).is_masked, name


@pytest.mark.req("D3", "R12")
def test_exactly_the_declared_sockets_listen(node: Host, view: dict[str, Any]) -> None:
    own = view["member"]
    listening = node.check_output("ss --no-header --listening --numeric --tcp --udp").splitlines()
    heard = {(line.split()[0], line.split()[4]) for line in listening}
    declared = {
        *(("tcp", f"{every}:22") for every in EVERY_ADDRESS),
        *(("udp", f"{every}:{port}") for every in EVERY_ADDRESS for port in (500, 4500)),
        ("tcp", endpoint(own["addresses"]["national"], 7440)),
    }
    for service, channel in (("person", "operational"), ("control", "strategic")):
        if any(is_open(peer["answers"].get(service, "pending")) for peer in view["peers"]):
            port = view["services"][service]["port"]
            declared.add(("tcp", endpoint(own["addresses"][channel], port)))
    assert heard == declared


@pytest.mark.req("D3")
def test_the_kernel_takes_no_strange_route_and_forwards_nothing(node: Host) -> None:
    assert node.sysctl("net.ipv4.ip_forward") == 0
    assert node.sysctl("net.ipv6.conf.all.forwarding") == 0
    for scope in ("all", "default", "wan", "inner", "mgmt"):
        prefix = f"net.ipv4.conf.{scope}"
        assert node.sysctl(f"{prefix}.rp_filter") == 1
        for key in ("accept_redirects", "send_redirects", "accept_source_route"):
            assert node.sysctl(f"{prefix}.{key}") == 0, (scope, key)
        for key in ("accept_ra", "accept_redirects", "accept_source_route"):
            assert node.sysctl(f"net.ipv6.conf.{scope}.{key}") == 0, (scope, key)
        for family in ("ipv4", "ipv6"):
            assert node.sysctl(f"net.{family}.conf.{scope}.disable_policy") == 0, (scope, family)
    # Its own addresses stand on lo: exempt, what comes in clear would be exempt with it.
    assert node.sysctl("net.ipv6.conf.lo.disable_policy") == 0


@pytest.mark.req("D5")
def test_sshd_lets_nobody_in_but_by_key(node: Host) -> None:
    settings = {
        # Newer ones write their words as in the manual, PermitRootLogin.
        word.lower(): value
        for word, _, value in (
            line.partition(" ") for line in node.check_output("sshd -T").splitlines()
        )
    }
    expected = {
        "permitrootlogin": "no",
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "authenticationmethods": "publickey",
        "authorizedkeysfile": "/etc/ssh/authorized_keys.d/%u",
        "disableforwarding": "yes",
    }
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.req("D5")
def test_accounts_hold_what_they_need_and_no_more(node: Host) -> None:
    for name in ("paranal-national", "paranal-alliance", "paranal-control", "paranal-source"):
        account = node.user(name)
        assert account.shell.endswith("nologin"), name
        assert re.match(r"^[^:]+:[!*]", node.check_output("getent shadow %s", name)), name
    may = node.check_output("sudo --list --other-user=audit")
    assert may.rstrip().endswith("NOPASSWD: /usr/bin/paranal collect")
    assert not node.file("/etc/sudoers.d/installer").exists
    assert not node.file(f"/home/{installer.ACCOUNT}/.ssh/authorized_keys").exists or (
        node.file("/etc/ssh/authorized_keys.d/ops").user == "root"
    )


@pytest.mark.req("D3", "D6")
def test_packages_are_the_distribution_s_and_ours(node: Host) -> None:
    shown = node.check_output("dpkg-query --show --showformat='${db:Status-Abbrev} ${Package}\\n'")
    installed = {line.split()[1] for line in shown.splitlines() if line.startswith("ii")}
    assert installed >= PACKAGES | {"paranal"}
    assert len([name for name in installed if re.fullmatch(r"postgresql-\d+", name)]) == 1
    differing = node.run("dpkg --verify paranal").stdout.splitlines()
    # The lab's image leaves documentation out, as a small host may.
    assert [line for line in differing if "/usr/share/doc/" not in line] == []
    assert node.run("python3 -m pip --version").rc != 0


@pytest.mark.req("D3")
def test_secrets_are_their_owner_s_alone(node: Host) -> None:
    for path, owner in SECRETS.items():
        file = node.file(path)
        assert file.is_file, path
        assert file.mode == 0o600, path
        assert file.user == owner, path
    found = node.check_output(
        "grep --recursive --files-with-matches --null-data --fixed-strings 'PRIVATE KEY' /etc"
    )
    allowed = {*SECRETS, "/etc/ssh/ssh_host_ed25519_key"}
    assert set(found.splitlines()) - allowed <= _snakeoil(node)


def _snakeoil(node: Host) -> set[str]:
    """The key that Debian's ssl-cert makes for nobody; PostgreSQL depends on it."""
    path = "/etc/ssl/private/ssl-cert-snakeoil.key"
    return {path} if node.file(path).exists else set()


@pytest.mark.req("D3")
def test_units_run_with_what_they_need_taken_from_them_not_given(node: Host) -> None:
    for name in HARDENED:
        shown = node.check_output(
            "systemctl show --property=NoNewPrivileges,ProtectHome,CapabilityBoundingSet %s", name
        )
        settings = dict(line.split("=", 1) for line in shown.splitlines())
        assert settings["NoNewPrivileges"] == "yes", name
        assert settings["ProtectHome"] == "yes", name
        assert "cap_sys_admin" not in settings["CapabilityBoundingSet"], name
        if name.startswith("paranal-"):
            assert settings["CapabilityBoundingSet"] == "", name


@pytest.mark.req("D3")
def test_a_service_that_dies_comes_back(nodes: dict[str, Host]) -> None:
    def main_pid() -> str:
        shown = "systemctl show --value --property=MainPID paranal-alliance.service"
        return str(nodes["pe"].check_output(shown)).strip()

    before = main_pid()
    nodes["pe"].check_output("kill -KILL %s", before)
    assert eventually(lambda: main_pid() not in ("0", before), 15)


@pytest.mark.req("D2", "D5")
def test_a_node_is_known_by_its_pinned_host_key_and_by_no_other(lab: Lab) -> None:
    ssh(lab, "pe", pinned="pe").close()
    with pytest.raises(paramiko.BadHostKeyException):
        ssh(lab, "pe", pinned="co")
