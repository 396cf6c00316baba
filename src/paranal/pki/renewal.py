"""Which leaves a node lacks: a pure comparison of what is declared with what the node holds.

What a node holds is the ``certificates`` part of its probe (``plugins/module_utils/
paranal_leaves.py``); what is declared comes from role ``pki``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from paranal.pki.certificates import BACKDATE
from paranal.pki.profiles import profile_named
from paranal.pki.rotation import wants_issue

REASONS = {
    "absent": "no lo tiene | it has none",
    "altered": "se alteró en el nodo | it was altered on the node",
    "moved": "cambió de lugar o de forma | its place or form changed",
    "names": "cambiaron sus nombres | its names changed",
    "profile": "cambió su perfil | its profile changed",
    "issuer": "cambió su autoridad | its authority changed",
    "revoked": "fue revocado | it was revoked",
    "resumed": "quedó a medias su rotación | its rotation was cut short",
    "asked": "se pidió rotarlo | its rotation was asked for",
    "due": "está por vencer | it is near its end",
}
"""Why a leaf is issued, in the order in which the reasons are looked for."""

PUBLIC = ("0644", "root", "root")
"""Mode, owner and group of a certificate that stands alone."""


@dataclass(frozen=True)
class Leaf:
    """One certificate that a node must have.

    ``key`` and ``certificate`` are paths on the node; when they are the same, one file holds key,
    leaf and issuing CA. ``chain`` adds the issuing CA to a certificate that stands alone.
    ``reload`` are units that read the file and are reloaded when it changed.
    """

    name: str
    profile: str
    names: tuple[str, ...]
    key: str
    certificate: str
    chain: bool = False
    owner: str = "root"
    group: str = "root"
    mode: str = "0600"
    reload: tuple[str, ...] = ()
    proof: Mapping[str, Any] = field(default_factory=lambda: {"by": "file"})
    """How it is seen that the leaf is sent: ``{"by": "ike" | "tls" | "file", ...}``."""

    @property
    def is_combined(self) -> bool:
        """Say whether key and certificate share one file."""
        return self.key == self.certificate

    @property
    def permissions(self) -> dict[str, tuple[str, str, str]]:
        """Path -> (mode, owner, group); a certificate that stands alone is public."""
        public = {} if self.is_combined else {self.certificate: PUBLIC}
        return {self.key: (self.mode, self.owner, self.group), **public}

    def as_request(self) -> dict[str, Any]:
        """Return the leaf as it travels to the node's module."""
        return {
            "name": self.name,
            "names": list(self.names),
            "profile": self.profile,
            "key_type": profile_named(self.profile).keys[0],
            "key": self.key,
            "certificate": self.certificate,
            "chain": self.chain,
            "reload": list(self.reload),
            "proof": dict(self.proof),
            "permissions": {path: list(wanted) for path, wanted in self.permissions.items()},
        }


def reason_to_issue(
    leaf: Leaf,
    held: Mapping[str, Any] | None,
    issuer_sha256: str,
    revoked: Collection[str],
    fraction: float,
    now: datetime,
    rotation: Mapping[str, str] | None = None,
    issued_before: datetime | None = None,
) -> str | None:
    """Return why the node needs a new ``leaf`` (a key of ``REASONS``), or None.

    ``held`` is the probe's record of the leaf, ``revoked`` the serials (hex) that its authority
    withdrew, ``fraction`` the part of its life that must be left, ``rotation`` the probe's record
    of a rotation under way. A leaf issued before ``issued_before`` is asked to be rotated: who asks
    with the same moment again, after a crash or after all went well, asks for nothing more.
    """
    if held is None or None in held["files"].values():
        return "absent"
    if held["altered"]:  # also what a crash left: such a record holds nothing but its paths
        return "altered"
    tests = {
        "moved": (leaf.key, leaf.certificate, leaf.chain)
        != (held["key"], held["certificate"], held["chain"]),
        "names": list(leaf.names) != held["names"],
        "profile": leaf.profile != held["profile"],
        "issuer": issuer_sha256 != held["issuer_sha256"],
        "revoked": held["serial"] in revoked,
        "resumed": wants_issue(rotation),
        "asked": issued_before is not None and issued_at(held) < issued_before,
        "due": is_due(
            datetime.fromisoformat(held["not_before"]),
            datetime.fromisoformat(held["not_after"]),
            fraction,
            now,
        ),
    }
    return next((reason for reason, holds in tests.items() if holds), None)


def issued_at(held: Mapping[str, Any]) -> datetime:
    """Return when a leaf was issued: its life begins a little before (``BACKDATE``)."""
    return datetime.fromisoformat(held["not_before"]) + BACKDATE


def needs_repair(leaf: Leaf, held: Mapping[str, Any]) -> bool:
    """Say whether the files of a good leaf have another mode or owner than declared."""
    return any(
        (there["mode"], there["owner"], there["group"]) != leaf.permissions.get(path)
        for path, there in held["files"].items()
    )


def is_due(start: datetime, end: datetime, fraction: float, now: datetime) -> bool:
    """Say whether less than ``fraction`` of the life from ``start`` to ``end`` is left."""
    return end - now < (end - start) * fraction
