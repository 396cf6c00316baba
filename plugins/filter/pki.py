"""Filters of the certificate roles: what a node must trust, from what members published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display

from paranal.messages import Refusal
from paranal.pki import lists, peers, rollover
from paranal.pki.certificates import fingerprint


def pki_trust(
    view: Mapping[str, Any],
    consumer: str,
    published: str,
    probe: Mapping[str, Any] | None = None,
) -> list[dict[str, str]]:
    """Return the trust of ``consumer`` (``swanctl`` or ``haproxy``) as ``extra`` of node_files.

    Every file is checked against the agreement first, and against the numbers of the lists that
    the node already has (``probe``); a newer list that the node took itself stays. A list past its
    end is shown as a warning, not refused: the node fails closed for that pair alone, and the other
    pairs must still converge.
    """
    try:
        authorities = [
            authority
            for member, domain in peers.trusted_members(consumer, view).items()
            for authority in _authorities(published, view, member, domain, probe or {})
        ]
        files = peers.trust_files(consumer, authorities)
    except Refusal as refusal:
        raise AnsibleFilterError(str(refusal)) from None
    return [{"dest": path, "content": content} for path, content in sorted(files.items())]


def pki_problems(view: Mapping[str, Any], published: str, probe: Mapping[str, Any]) -> list[str]:
    """Return, in the catalogue's words, why this node cannot trust what the members published.

    One sentence for each member whose files are wrong, as charon would trust them: everybody's.
    """
    found = []
    for member, domain in peers.trusted_members("swanctl", view).items():
        try:
            _authorities(published, view, member, domain, probe)
        except Refusal as refusal:
            found.append(str(refusal))
    return found


def pki_withdrawn(view: Mapping[str, Any], probe: Mapping[str, Any]) -> list[str]:
    """Return the members of whom this node trusts a root that the agreement no longer names."""
    agreed = sorted(peers.agreed_roots(view).items())
    return [
        member
        for member, roots in agreed
        if not rollover.trusted_roots(probe, member) <= set(roots)
    ]


def _authorities(
    published: str, view: Mapping[str, Any], member: str, domain: str, probe: Mapping[str, Any]
) -> list[peers.PublicAuthority]:
    """Return a member's agreed authorities, checked; warn of a list that is past its end."""
    roots, trusted = peers.agreed_roots(view)[member], rollover.trusted_roots(probe, member)
    tunnels, is_open = probe.get("tunnels", {}), member in rollover.must_trust(view)
    if is_open:
        rollover.refuse_removal(member, roots, trusted, tunnels.get("chains"))
    now, kept = datetime.now(UTC), _kept(probe, member)
    read = peers.read_agreed(Path(published), member, domain, roots)
    if is_open and trusted & set(roots):
        issuing = [fingerprint(one.issuing) for one in read]
        for root in sorted(trusted - set(roots)):
            rollover.refuse_leaves(member, root, issuing, tunnels.get("issuers", {}).get(member))
    found = [lists.newest(one, kept, now) for one in read]
    for authority in found:
        peers.refuse_older(authority, _held(probe, member))
        if authority.crl_end <= now:
            late = Refusal("PAR-0421", member=member, end=authority.crl_end)
            Display().warning(str(late))
    return found


def _kept(probe: Mapping[str, Any], member: str) -> list[bytes]:
    """Return ``member``'s lists that the node took without us (``paranal control import``)."""
    kept = probe.get("certificates", {}).get("lists", {})
    return [kept[name].encode() for name in sorted(kept) if name.startswith(f"{member}-")]


def _held(probe: Mapping[str, Any], member: str) -> dict[str, int]:
    """Return the numbers of ``member``'s lists that the node trusts already."""
    trusted = probe.get("certificates", {}).get("trust", {}).get(member, {})
    return {name: record["number"] for name, record in trusted.items()}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name -> function."""
        return {
            "pki_trust": pki_trust,
            "pki_problems": pki_problems,
            "pki_withdrawn": pki_withdrawn,
        }
