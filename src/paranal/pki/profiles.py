"""What a certificate may be for, and which names it may carry.

One table of leaf profiles; every limit of the issuing side (key type, usage, life, names) derives
from it. Rules: security-rules.md PKI-001, PKI-002, PKI-003, PKI-005, PKI-009.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from paranal.messages import Refusal

IPSEC_IKE = ObjectIdentifier("1.3.6.1.5.5.7.3.17")
DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")
LEAF_LIFE = timedelta(days=90)
NAMES_AT_MOST = 32
NAME_LENGTH_AT_MOST = 64
"""The common name's limit (RFC 5280, ub-common-name): the first name is also the subject's."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_POST_LABEL = re.compile(r"post-[a-z0-9-]*[a-z0-9]")


@dataclass(frozen=True)
class Profile:
    """One kind of leaf: its uses, the keys it takes and whether it belongs to a border post."""

    name: str
    uses: tuple[ObjectIdentifier, ...]
    keys: tuple[str, ...] = ("P-384",)
    agrees_keys: bool = False
    is_post: bool = False


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("ike", (IPSEC_IKE,)),
        Profile("tls", (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)),
        Profile("post", (ExtendedKeyUsageOID.CLIENT_AUTH,), is_post=True),
        Profile("signing", (DOCUMENT_SIGNING,), keys=("Ed25519", "P-384")),
        Profile("desk", (ExtendedKeyUsageOID.EMAIL_PROTECTION,), agrees_keys=True),
    )
}
"""Profile by name. ``desk`` keys agree on keys (ECDH) and sign nothing; all others only sign."""


def profile_named(name: str) -> Profile:
    """Return the profile called ``name``; refuse (PAR-0408) a name that is not in the table."""
    if name not in PROFILES:
        raise Refusal("PAR-0408", profile=name, profiles=", ".join(PROFILES))
    return PROFILES[name]


def checked_names(names: Sequence[str], domain: str, profile: Profile) -> tuple[str, ...]:
    """Return ``names`` as the certificate will carry them; refuse (PAR-0407) the first bad one.

    Names are DNS names strictly below ``domain``, lower case, without wildcard, each once. A name
    in another case is refused rather than folded: case variation is how CVE-2026-35331 evaded name
    constraints, and an agreement writes lower case.
    """
    if not names:
        raise Refusal("PAR-0407", name="", reason="no hay nombres", reason_en="there are none")
    if len(names) > NAMES_AT_MOST:
        raise Refusal(
            "PAR-0407",
            name=names[NAMES_AT_MOST],
            reason=f"hay más de {NAMES_AT_MOST}",
            reason_en=f"there are more than {NAMES_AT_MOST}",
        )
    for position, name in enumerate(names):
        fault = _fault(name, domain, profile)
        if name in names[:position]:
            fault = ("está repetido", "it stands twice")
        if fault:
            raise Refusal("PAR-0407", name=name, reason=fault[0], reason_en=fault[1])
    return tuple(names)


def _fault(name: str, domain: str, profile: Profile) -> tuple[str, str] | None:
    """Return why a certificate may not carry ``name`` (Spanish, English), or None."""
    if "*" in name:
        return "los comodines no se emiten", "wildcards are not issued"
    if name != name.lower():
        return "lleva mayúsculas", "it is not in lower case"
    if len(name) > NAME_LENGTH_AT_MOST:
        limit = NAME_LENGTH_AT_MOST
        return f"pasa de {limit} caracteres", f"it is longer than {limit} characters"
    if not all(_LABEL.fullmatch(label) for label in name.split(".")):
        return "no es un nombre DNS", "it is not a DNS name"
    if not name.endswith(f".{domain}"):
        return f"está fuera del dominio {domain}", f"it lies outside the domain {domain}"
    if profile.is_post != bool(_POST_LABEL.fullmatch(name.removesuffix(f".{domain}"))):
        return (
            "los nombres post-* son del perfil post, y solo de él",
            "names post-* belong to the profile post, and to no other",
        )
    return None
