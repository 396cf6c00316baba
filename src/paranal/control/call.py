"""One request to a peer's control service: mutual TLS 1.3 from our strategic address."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import msgspec

from paranal.control.settings import CHANNEL, SERVICE
from paranal.messages import Refusal
from paranal.serving.view import Peer, View
from paranal.tls import tls_context

CREDENTIALS = Path("/etc/paranal/tls/control.pem")
TRUST = Path("/etc/haproxy/paranal")
SECONDS = 5.0
"""A tunnel that is trapped comes up meanwhile."""

ANSWER_MAX = 16384
OPEN = ("live", "trial")


@dataclass(frozen=True)
class Caller:
    """Who calls: our own view, our leaf, and where each peer's CA and lists stand.

    ``seconds`` is how long connecting may take, and each answer.
    """

    view: View
    credentials: Path = CREDENTIALS
    trust: Path = TRUST
    seconds: float = SECONDS

    def peers(self) -> list[Peer]:
        """Return the peers that we may call."""
        return [peer for peer in self.view.peers if peer.asks.get(SERVICE) in OPEN]

    def call(self, peer: Peer, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the body of a peer's good answer.

        Raises ``Refusal`` PAR-0913 when there was none, PAR-0914 when the peer refused, with its
        own words, PAR-0915 when it answered anything else.
        """
        try:
            status, answer = self._send(peer, method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise Refusal("PAR-0913", member=peer.code, reason=_kind_of(error)) from None
        if status == http.client.OK:
            return answer
        raise _refusal_in(answer, peer.code)

    def _send(self, peer: Peer, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        ca, crl = (self.trust / f"{peer.code}{rest}" for rest in ("-ca.pem", ".crl"))
        context = tls_context(self.credentials, ca, crl)
        source = self.view.member.addresses[CHANNEL], 0
        target = peer.addresses[CHANNEL], self.view.services[SERVICE].port
        name = peer.ask_names[CHANNEL]
        headers = {"Host": name, "Connection": "close"}
        with socket.create_connection(target, self.seconds, source) as line:
            connection = http.client.HTTPConnection(name)
            connection.sock = context.wrap_socket(line, server_hostname=name)
            with connection.sock:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read(ANSWER_MAX)


def _kind_of(error: Exception) -> str:
    """Return a word for the failure that names no address and no value."""
    if isinstance(error, ssl.SSLError):
        return f"TLS, {error.reason}" if error.reason else "TLS"
    return getattr(error, "strerror", None) or type(error).__name__


class _Text(msgspec.Struct):
    code: str
    es: str
    en: str


class _Refused(msgspec.Struct):
    refusal: _Text


def _refusal_in(answer: bytes, member: str) -> Refusal:
    try:
        told = msgspec.json.decode(answer, type=_Refused).refusal
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refusal("PAR-0915", member=member)
    es, en = (f"{told.code}: {text}" for text in (told.es, told.en))
    return Refusal("PAR-0914", member=member, theirs_es=es, theirs_en=en)
