"""What no gateway of the alliance may accept, as offers on the wire: for a probe and for an audit.

Each differs from the agreed suite in one respect, so that a refusal proves that one. Numbers are
IANA's, "IKEv2 Parameters"; the rules are IKE-003 to IKE-013 of the security rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

AES_GCM_16 = 20
PRF_SHA384 = 6
ECP_384 = 20
ML_KEM_1024 = 37


@dataclass(frozen=True)
class Offer:
    """One IKE proposal, by IANA's transform numbers; ``bits`` is the cipher's key length."""

    name: str
    encryption: int = AES_GCM_16
    bits: int | None = 256
    prf: int = PRF_SHA384
    integrity: int | None = None
    group: int = ECP_384
    further: int | None = None
    """The additional key exchange (RFC 9370), transform type 6."""


AGREED = {
    "classic": Offer("classic"),
    "ppk": Offer("ppk"),
    "hybrid": Offer("hybrid", further=ML_KEM_1024),
}
"""Crypto profile -> the one offer that a gateway takes in IKE_SA_INIT."""

_SHA384_192 = 13
_CLASSIC = AGREED["classic"]


def _cipher(name: str, number: int, bits: int | None, integrity: int | None) -> Offer:
    return replace(_CLASSIC, name=name, encryption=number, bits=bits, integrity=integrity)


FORBIDDEN = (
    _cipher("des", 2, None, _SHA384_192),
    _cipher("3des", 3, None, _SHA384_192),
    _cipher("cast128", 6, 128, _SHA384_192),
    _cipher("blowfish128", 7, 128, _SHA384_192),
    _cipher("null", 11, None, _SHA384_192),
    _cipher("aes128cbc", 12, 128, _SHA384_192),
    _cipher("aes256cbc", 12, 256, _SHA384_192),
    _cipher("aes256cbc-md5", 12, 256, 1),
    _cipher("aes256cbc-sha1", 12, 256, 2),
    _cipher("aes256ctr", 13, 256, _SHA384_192),
    _cipher("aes256gcm8", 18, 256, None),
    _cipher("aes256gcm12", 19, 256, None),
    _cipher("aes128gcm16", AES_GCM_16, 128, None),
    replace(_CLASSIC, name="prfmd5", prf=1),
    replace(_CLASSIC, name="prfsha1", prf=2),
    *(
        replace(_CLASSIC, name=name, group=number)
        for name, number in (
            *(("modp768", 1), ("modp1024", 2), ("modp1536", 5), ("modp2048", 14)),
            *(("ecp256", 19), ("modp1024s160", 22), ("modp2048s224", 23)),
            *(("modp2048s256", 24), ("ecp192", 25)),
        )
    ),
)
"""IKE offers that must be answered by NO_PROPOSAL_CHOSEN, whatever the pair's profile."""

FORBIDDEN_ESP = (
    "aes128gcm16-ecp384",
    "aes256gcm8-ecp384",
    "aes256-sha384-ecp384",
    "3des-sha1-ecp384",
    "null-sha384-ecp384",
    "aes256gcm16-modp2048",
    "aes256gcm16",
)
"""ESP offers, in strongSwan's words, that must be refused over an agreed IKE_SA."""


def forbidden(profile: str) -> tuple[Offer, ...]:
    """Return what a gateway must refuse of a pair with this profile: to hybrid, classic too."""
    return (*FORBIDDEN, *((_CLASSIC,) if profile == "hybrid" else ()))
