"""Filters of the role base: what a machine lacks, and the kernel settings of a gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from paranal.messages import Refusal

# What our sshd takes (PubkeyAcceptedAlgorithms); a key of another kind lets nobody in.
KEY_TYPES = ("ssh-ed25519", "sk-ssh-ed25519@openssh.com")
# SYS-001 and SYS-002 of the rule catalogue; every key belongs to the network namespace.
EVERY_INTERFACE = {
    "net.ipv4.conf.{}.accept_redirects": "0",
    "net.ipv4.conf.{}.accept_source_route": "0",
    "net.ipv4.conf.{}.arp_announce": "2",
    "net.ipv4.conf.{}.arp_ignore": "1",
    "net.ipv4.conf.{}.disable_policy": "0",
    "net.ipv4.conf.{}.disable_xfrm": "0",
    "net.ipv4.conf.{}.log_martians": "1",
    "net.ipv4.conf.{}.rp_filter": "1",
    "net.ipv4.conf.{}.secure_redirects": "0",
    "net.ipv4.conf.{}.send_redirects": "0",
    "net.ipv6.conf.{}.accept_ra": "0",
    "net.ipv6.conf.{}.accept_redirects": "0",
    "net.ipv6.conf.{}.accept_source_route": "0",
    "net.ipv6.conf.{}.disable_policy": "0",
}
ONCE = {
    "net.ipv4.icmp_echo_ignore_broadcasts": "1",
    "net.ipv4.icmp_ignore_bogus_error_responses": "1",
    "net.ipv4.tcp_syncookies": "1",
    # The kernel copies it to the routes of our own addresses, which stand on lo: with 1, what comes
    # in clear from the WAN would pass the kernel plane's inward policies.
    "net.ipv6.conf.lo.disable_policy": "0",
}
# Not namespaced: in a container these would change the host.
MACHINE = {
    "fs.protected_fifos": "2",
    "fs.protected_hardlinks": "1",
    "fs.protected_regular": "2",
    "fs.protected_symlinks": "1",
    "fs.suid_dumpable": "0",
    "kernel.core_pattern": "|/bin/false",
    "kernel.dmesg_restrict": "1",
    "kernel.kptr_restrict": "2",
    "kernel.randomize_va_space": "2",
    "kernel.unprivileged_bpf_disabled": "1",
    "kernel.yama.ptrace_scope": "2",
}


def base_sysctl(interfaces: Iterable[str], forwarding: bool, container: bool) -> dict[str, str]:
    """Return every kernel setting of a node, for all, default and each named interface."""
    names = ["all", "default", *interfaces]
    found = {key.format(name): value for key, value in EVERY_INTERFACE.items() for name in names}
    forward = "1" if forwarding else "0"
    found |= {"net.ipv4.ip_forward": forward, "net.ipv6.conf.all.forwarding": forward, **ONCE}
    return found if container else found | MACHINE


def base_sysctl_due(live: Mapping[str, str], declared: Mapping[str, str]) -> bool:
    """Say whether the kernel runs with another value than declared.

    A setting that it does not have (no IPv6, no Yama) is none: it would be due in every run.
    """
    return any(declared.get(key, value) != value for key, value in live.items())


def base_problems(
    probe: Mapping[str, Any],
    view: Mapping[str, Any],
    free_mib: int,
    interfaces: Iterable[str],
    operator_keys: list[str],
    debian: str,
) -> list[str]:
    """Return, in the catalogue's words, why this machine cannot be the member's node.

    ``debian`` is the release that the inventory declares, by its codename: no other is accepted,
    an older or newer one neither.
    """
    found = _problems(probe, view, free_mib, interfaces, operator_keys, debian)
    return [str(problem) for problem in found]


def _problems(
    probe: Mapping[str, Any],
    view: Mapping[str, Any],
    free_mib: int,
    interfaces: Iterable[str],
    operator_keys: list[str],
    debian: str,
) -> list[Refusal]:
    host, member = probe["host"], view["member"]
    code, found = member["code"], []
    system = host["os"]
    # By codename: a release that is not out yet has no VERSION_ID.
    if (system.get("id"), system.get("version_codename")) != ("debian", debian):
        name = system.get("pretty_name", "?")
        found.append(Refusal("PAR-0320", member=code, found=name, wanted=f"Debian {debian}"))
    if host["free_mib"] < free_mib:
        found.append(Refusal("PAR-0321", member=code, free=host["free_mib"], wanted=free_mib))
    for name in interfaces:
        if name not in host["interfaces"]:
            known = ", ".join(sorted(host["interfaces"]))
            found.append(Refusal("PAR-0322", member=code, interface=name, there=known))
    wanted = {"wan": member["wan_local_address"], "inner": member["addresses"]["national"]}
    for name, address in wanted.items():
        there = [item.split("/")[0] for item in host["interfaces"].get(name, [])]
        if name in host["interfaces"] and address not in there:
            known = ", ".join(there) or "-"
            found.append(
                Refusal("PAR-0323", member=code, interface=name, address=address, there=known)
            )
    if not any(map(_lets_in, operator_keys)):
        found.append(Refusal("PAR-0324", member=code))
    return found


def _lets_in(line: str) -> bool:
    """Say whether sshd takes this line of authorized_keys, options before the key or not."""
    return not line.startswith("#") and any(word in KEY_TYPES for word in line.split())


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "base_sysctl": base_sysctl,
            "base_sysctl_due": base_sysctl_due,
            "base_problems": base_problems,
        }
