"""Who is asking? A certificate, a TLS name and a source address that must name one member.

HAProxy verified the chain and hands over what it saw in three headers that it strips from clients
(docs/architecture.md). It chose the CA by the TLS name; here the other halves are compared, so that
a certificate of one country, in another's tunnel or under another's name, is refused (SVC-003).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from cryptography import x509

from paranal.messages import Refusal
from paranal.query.settings import Peer, View

SERVICE = "person"
CHANNEL = "operational"

CERTIFICATE = "x-paranal-certificate"
SERVER_NAME = "x-paranal-server-name"
SOURCE = "x-paranal-source"

_POST = "post-[a-z0-9-]*[a-z0-9]"


def asking_peer(headers: Mapping[str, str], view: View) -> Peer:
    """Return the member that asks; raises ``Refusal`` PAR-0531 naming what disagrees."""
    server_name = headers.get(SERVER_NAME, "").lower()
    by_name = [peer for peer in view.peers if peer.answer_names[CHANNEL] == server_name]
    if not by_name:
        raise Refusal("PAR-0531", reason="SNI")
    peer = by_name[0]
    if headers.get(SOURCE) != peer.addresses[CHANNEL]:
        raise Refusal("PAR-0531", reason="IP")
    if peer.identities[CHANNEL] not in _names(headers):
        raise Refusal("PAR-0531", reason="SAN")
    return peer


def asking_post(headers: Mapping[str, str], view: View) -> str:
    """Return the name of the border post that asks; raises ``Refusal`` PAR-0532.

    Every certificate of the country's CA passes HAProxy; only one of the profile ``post`` carries a
    name ``post-NAME`` right below the member's domain.
    """
    pattern = re.compile(f"{_POST}\\.{re.escape(view.member.domain)}")
    for name in _names(headers):
        if pattern.fullmatch(name):
            return name
    raise Refusal("PAR-0532")


def _names(headers: Mapping[str, str]) -> list[str]:
    """Return the DNS names of the certificate that HAProxy verified; none when there is none."""
    try:
        der = base64.b64decode(headers.get(CERTIFICATE, ""), validate=True)
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (binascii.Error, ValueError, x509.ExtensionNotFound):
        return []
    return names.value.get_values_for_type(x509.DNSName)
