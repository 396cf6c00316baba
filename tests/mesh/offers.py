"""IKE_SA_INIT requests that offer one suite, and what an answer means; packets are scapy's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from scapy.contrib.ikev2 import (
    IKEv2,
    IKEv2_KE,
    IKEv2_Nonce,
    IKEv2_Notify,
    IKEv2_Proposal,
    IKEv2_SA,
    IKEv2_Transform,
)
from scapy.layers.isakmp import (
    ISAKMP,
    ISAKMP_payload_Proposal,
    ISAKMP_payload_SA,
    ISAKMP_payload_Transform,
)

from paranal.agreement.forbidden import ECP_384, Offer

Ask = Callable[[Sequence[bytes]], Sequence[str | None]]
"""Sends messages and returns each answer in hexadecimal digits."""
ENCRYPTION, PRF, INTEGRITY, GROUP, FURTHER = 1, 2, 3, 4, 6
"""Transform types of IKEv2; the last is the first additional key exchange (RFC 9370)."""
KEY_LENGTH = 12
"""Octets of a transform that has a key length."""
INITIATOR = 0x08
INTERMEDIATE_SUPPORTED = 16438
NOTIFY = 41
"""The type of a notify payload, as the payload before it names it."""
COOKIE = 16390
INVALID_MAJOR_VERSION = 5
NO_PROPOSAL_CHOSEN = 14
"""Two notifications, of the same number in both versions of IKE."""


def request(offer: Offer) -> bytes:
    """Return an IKE_SA_INIT request that offers exactly one suite."""
    kinds = (
        (ENCRYPTION, offer.encryption, offer.bits),
        (PRF, offer.prf, None),
        (INTEGRITY, offer.integrity, None),
        (GROUP, offer.group, None),
        (FURTHER, offer.further, None),
    )
    offered = [_transform(*kind) for kind in kinds if kind[1] is not None]
    transforms = offered[0]
    for transform in offered[1:]:
        transforms /= transform
    proposal = IKEv2_Proposal(proto="IKE", trans_nb=len(offered), trans=transforms)
    return bytes(
        IKEv2(init_SPI=secrets.token_bytes(8), exch_type="IKE_SA_INIT", flags=INITIATOR)
        / IKEv2_SA(prop=proposal)
        / IKEv2_KE(group=offer.group, ke=_share(offer.group))
        / IKEv2_Nonce(nonce=secrets.token_bytes(32))
        / IKEv2_Notify(type=INTERMEDIATE_SUPPORTED)
    )


def old_request() -> bytes:
    """Return the first message of IKEv1's main mode, with the best that scapy has words for."""
    words = [("Encryption", "AES-CBC"), ("KeyLength", 256), ("Hash", "SHA2-384")]
    words += [("GroupDesc", "4096MODPgr"), ("Authentication", "RSA Sig")]
    transform = ISAKMP_payload_Transform(transform_count=1, transforms=words)
    proposal = ISAKMP_payload_Proposal(trans_nb=1, trans=transform)
    header = ISAKMP(init_cookie=secrets.token_bytes(8), exch_type="identity protection")
    return bytes(header / ISAKMP_payload_SA(prop=proposal))


def meaning(answer: str | None) -> str:
    """Return what a gateway answered (in hexadecimal digits), as one word.

    ``accepted`` (a key exchange), ``cookie`` (to be asked again with it), ``refused``, ``silent``,
    or ``other``.
    """
    if answer is None:
        return "silent"
    packet = IKEv2(bytes.fromhex(answer))
    if packet.version >> 4 == 1:
        kind = int.from_bytes(bytes.fromhex(answer)[38:40], "big")
        return "refused" if kind in (INVALID_MAJOR_VERSION, NO_PROPOSAL_CHOSEN) else "other"
    if IKEv2_KE in packet:
        return "accepted"
    kinds = {NO_PROPOSAL_CHOSEN: "refused", COOKIE: "cookie", INVALID_MAJOR_VERSION: "refused"}
    return kinds.get(packet[IKEv2_Notify].type, "other") if IKEv2_Notify in packet else "other"


def answers(ask: Ask, messages: Sequence[bytes]) -> list[str]:
    """Return what each message was answered; a gateway that wants a cookie first gets it.

    A charon that has just refused many asks for cookies before it looks at any proposal.
    """
    said = ask(messages)
    return [
        meaning(ask([with_cookie(message, answer)])[0])
        if answer is not None and meaning(answer) == "cookie"
        else meaning(answer)
        for message, answer in zip(messages, said, strict=True)
    ]


def with_cookie(message: bytes, answer: str) -> bytes:
    """Return a request once more, with the cookie of its answer in front (RFC 7296, 2.6)."""
    packet, cookie = IKEv2(message), IKEv2(bytes.fromhex(answer))[IKEv2_Notify].notify
    payloads = packet.payload
    packet.remove_payload()
    first = IKEv2_Notify(next_payload=packet.next_payload, type=COOKIE, notify=cookie)
    packet.next_payload, packet.length = NOTIFY, None
    return bytes(packet / first / payloads)


def _transform(kind: int, number: int, bits: int | None) -> IKEv2_Transform:
    transform = IKEv2_Transform(transform_type=kind, transform_id=number)
    if bits is not None:
        transform.length, transform.key_length = KEY_LENGTH, bits
    return transform


def _share(group: int) -> bytes:
    """Return a public value: a real one for the agreed group, where charon goes on with it."""
    if group != ECP_384:
        return secrets.token_bytes(256)
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
