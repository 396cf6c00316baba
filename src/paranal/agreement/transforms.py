"""IKEv2's own names and numbers for the words of a proposal: what any make of gateway can be told.

Numbers are those of IANA's registry "IKEv2 Parameters"; types are those of RFC 7296 section 3.3.2
and RFC 9370 section 4.1 (ADDKE1).
"""

from __future__ import annotations

from dataclasses import dataclass

ENCR, PRF, KE, ESN, ADDKE1 = 1, 2, 4, 5, 6
TYPE_NAMES = {ENCR: "ENCR", PRF: "PRF", KE: "KE", ESN: "ESN", ADDKE1: "ADDKE1"}


@dataclass(frozen=True)
class Transform:
    """One transform of a proposal: our word for it, IANA's type, number and name."""

    word: str
    type: int
    number: int
    name: str
    key_bits: int | None = None
    """The Key Length attribute, where the transform has one."""


_KNOWN = {
    transform.word: transform
    for transform in (
        Transform("aes256gcm16", ENCR, 20, "ENCR_AES_GCM_16", 256),
        Transform("prfsha384", PRF, 6, "PRF_HMAC_SHA2_384"),
        Transform("ecp384", KE, 20, "384-bit random ECP group"),
        Transform("ke1_mlkem1024", ADDKE1, 37, "ml-kem-1024"),
        Transform("esn", ESN, 1, "Extended Sequence Numbers"),
    )
}
_NO_ESN = Transform("noesn", ESN, 0, "No Extended Sequence Numbers")


def transforms(proposal: str) -> list[Transform]:
    """Return the transforms of an IKE proposal in strongSwan's words, in their order.

    Raises ``KeyError`` for a word that no crypto profile uses.
    """
    return [_KNOWN[word] for word in proposal.split("-")]


def esp_transforms(proposal: str) -> list[Transform]:
    """Return the transforms of an ESP proposal; one without ``esn`` offers none."""
    found = transforms(proposal)
    return found if any(each.type == ESN for each in found) else [*found, _NO_ESN]
