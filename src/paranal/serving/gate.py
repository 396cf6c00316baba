"""Who is calling? A certificate, a TLS name and a source address that must name one member.

HAProxy verified the chain and hands over what it saw in three headers that it strips from clients
(docs/architecture.md). It chose the CA by the TLS name; here the other halves are compared, so that
a certificate of one country, in another's tunnel or under another's name, is refused (SVC-003).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache

from cryptography import x509

from paranal.messages import Refusal
from paranal.pki.certificates import MALFORMED
from paranal.serving.view import Peer, View

CERTIFICATE = "x-paranal-certificate"
SERVER_NAME = "x-paranal-server-name"
SOURCE = "x-paranal-source"

CALLERS = 256
"""Of so many callers' certificates the names are remembered."""

STRANGER = {"operational": "PAR-0531", "strategic": "PAR-0901"}
"""Channel -> the refusal of a caller whose marks disagree."""


def calling_peer(headers: Mapping[str, str], view: View, channel: str) -> Peer:
    """Return the member that calls on a channel; raises ``Refusal``, see ``STRANGER``."""
    server_name = headers.get(SERVER_NAME, "").lower()
    by_name = [peer for peer in view.peers if peer.answer_names[channel] == server_name]
    if not by_name:
        raise Refusal(STRANGER[channel], reason="SNI")
    peer = by_name[0]
    if headers.get(SOURCE) != peer.addresses[channel]:
        raise Refusal(STRANGER[channel], reason="IP")
    if peer.identities[channel] not in names_shown(headers):
        raise Refusal(STRANGER[channel], reason="SAN")
    return peer


def names_shown(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the DNS names of the certificate that HAProxy verified; none when there is none."""
    return _names_in(headers.get(CERTIFICATE, ""))


@lru_cache(CALLERS)
def _names_in(text: str) -> tuple[str, ...]:
    """Read a certificate (DER in base64) once; a caller shows the same one with each question."""
    try:
        der = base64.b64decode(text, validate=True)
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (*MALFORMED, x509.ExtensionNotFound):
        return ()
    return tuple(names.value.get_values_for_type(x509.DNSName))
