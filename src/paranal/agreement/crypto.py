"""The crypto profiles of the agreement: what a pair negotiates, and nothing else.

A proposal is an acceptance set, so every profile has exactly one IKE and one ESP proposal: there
is no weaker alternative to be talked down to (security rules IKE-003 to IKE-013).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CryptoProfile:
    """What the two ends of a pair offer and accept, in strongSwan's proposal words."""

    name: str
    ike: str
    esp: str
    trust_chain: str
    """Weakest key and only hash for the peer's signatures, its own and its certificates'."""
    ppk: bool
    """True when a postquantum preshared key (RFC 8784) is required as well."""
    encryption: str = "AES_GCM_16-256"
    prf: str = "PRF_HMAC_SHA2_384"
    key_exchange: str = "ECP_384"
    """What charon must say was negotiated, IKE and ESP alike (its own names)."""

    def esp_proposal(self, *, esn: bool) -> str:
        """Return the ESP proposal; ``esn`` where both members' data planes are the kernel's.

        The userspace plane has no extended sequence numbers and does not establish with them.
        """
        return f"{self.esp}-esn" if esn else self.esp


_SUITE_B_384 = "ecdsa-384-sha384"

PROFILES = {
    profile.name: profile
    for profile in (
        CryptoProfile(
            name="classic",
            ike="aes256gcm16-prfsha384-ecp384",
            esp="aes256gcm16-ecp384",
            trust_chain=_SUITE_B_384,
            ppk=False,
        ),
        CryptoProfile(
            name="ppk",
            ike="aes256gcm16-prfsha384-ecp384",
            esp="aes256gcm16-ecp384",
            trust_chain=_SUITE_B_384,
            ppk=True,
        ),
        CryptoProfile(
            name="hybrid",
            ike="aes256gcm16-prfsha384-ecp384-ke1_mlkem1024",
            esp="aes256gcm16-ecp384-ke1_mlkem1024",
            trust_chain=_SUITE_B_384,
            ppk=False,
            key_exchange="ECP_384/KE1_ML_KEM_1024",
        ),
    )
}
"""Profile name in the agreement -> what it means."""
