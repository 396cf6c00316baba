"""Which of a peer's roots its live IKE_SAs stand on.

charon does not say which certificate an IKE_SA was made with. It shows those that it was sent and
found good, and how old each IKE_SA is: one stands on the newest of its peer's leaves that was there
when it was made. Where none is known it may stand on any root that its connection pins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paranal.agreement.connections import Connection, anchor_digest
from paranal.tunnels.charon import IkeSa


@dataclass(frozen=True)
class Sent:
    """A leaf that a peer sent: its name, when it was issued (seconds, UTC), and its root."""

    name: str
    issued_at: float
    root: str
    """SHA-256 (hex)."""


def chains(
    held: Iterable[Connection],
    sas: Sequence[IkeSa],
    pins: Mapping[str, str],
    sent: Callable[[], Sequence[Sent]],
    now: float,
) -> dict[str, list[str]]:
    """Return by peer the roots (SHA-256, hex) that its established IKE_SAs may stand on, sorted.

    ``pins`` gives the digest of each root by file name. ``sent`` is asked only where a connection
    pins more than one: reading certificates takes time, and one root needs no proof.
    """
    by_name = {one["name"]: one for one in held}
    found: dict[str, set[str]] = {}
    leaves: Sequence[Sent] | None = None
    for sa in sas:
        connection = by_name.get(sa.name)
        if connection is None or not sa.established:
            continue
        roots = {pins[name] for name in connection["config"]["remote"]["cacerts"] if name in pins}
        if len(roots) > 1:
            leaves = sent() if leaves is None else leaves
            roots = _standing_on(sa, leaves, now) & roots or roots
        found.setdefault(connection["peer"], set()).update(roots)
    return {peer: sorted(roots) for peer, roots in found.items()}


def _standing_on(sa: IkeSa, leaves: Iterable[Sent], now: float) -> set[str]:
    made = now - sa.established_seconds
    before = [one for one in leaves if one.name == sa.remote_id and one.issued_at <= made]
    newest = max((one.issued_at for one in before), default=None)
    return {one.root for one in before if one.issued_at == newest}


def sent_leaves(certificates: Iterable[Mapping[str, Any]]) -> list[Sent]:
    """Return the leaves among what ``Charon.certificates`` shows, each with the root it leads to.

    A leaf whose chain is not all there is left out.
    """
    from cryptography import x509  # only where a root is being relieved

    from paranal.pki.certificates import BACKDATE, fingerprint, is_issued_by, names_of

    parsed = [x509.load_der_x509_certificate(entry["data"]) for entry in certificates]
    leaves = [one for one in parsed if names_of(one)]  # a CA of ours is named by no DNS name
    authorities = [one for one in parsed if one not in leaves]
    found = []
    for leaf in leaves:
        for issuing in (one for one in authorities if is_issued_by(leaf, one)):
            roots = [one for one in authorities if is_issued_by(issuing, one)]
            at = (leaf.not_valid_before_utc + BACKDATE).timestamp()
            found += [Sent(name, at, fingerprint(one)) for one in roots for name in names_of(leaf)]
    return found


def pinned(files: Iterable[str], read: Callable[[str], bytes]) -> dict[str, str]:
    """Return the digest of each root's file; one that is gone is left out."""
    found = {}
    for name in sorted(set(files)):
        try:
            found[name] = anchor_digest(read(name))
        except (OSError, ValueError):
            continue
    return found
