"""The active try: from our service address to each peer that we may ask, up to an HTTP answer.

It sends what a question sends and nothing of a person: a TCP connection (which also wakes the
tunnel's trap), the TLS handshake with our own leaf, an empty question. The peer's proxy lets
nothing else through, and its service turns an empty question down before it looks or logs. Only
to declared peers.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from pathlib import Path
from typing import Any

from paranal.status.facts import Direction, Reach
from paranal.tls import tls_context

SECONDS = 6.0
"""Longer than charon needs to note a silent peer (its second retransmission leaves after 1.2 s)."""

CREDENTIALS = {
    "person": Path("/etc/paranal/tls/asker.pem"),
    "control": Path("/etc/paranal/tls/control.pem"),
}
"""Service -> our own leaf as its client."""

TRUST = Path("/etc/haproxy/paranal")

REQUESTS = {
    "person": (
        "POST /v1/person HTTP/1.1\r\nHost: {name}\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    ),
    "control": "GET /v1/parity HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n",
}
"""Service -> an empty question, or one that changes nothing."""

NOT_SENT = {errno.EPERM, errno.EACCES, errno.ENETUNREACH, errno.EADDRNOTAVAIL}
"""Errors of our own half; a refusal or an unreachable host was told by the far end."""


def reach(
    member: Any,  # noqa: ANN401 - a member of the view, plain JSON data
    direction: Direction,
    credentials: Path | None = None,
    trust: Path = TRUST,
    seconds: float = SECONDS,
) -> Reach:
    """Try one peer's service; raises ``OSError`` or ``ssl.SSLError`` for unusable own files."""
    peer = direction.peer
    ca, crl = (trust / f"{peer['code']}{rest}" for rest in ("-ca.pem", ".crl"))
    context = tls_context(credentials or CREDENTIALS[direction.service], ca, crl)
    source = (member["addresses"][direction.channel], 0)
    target = (peer["addresses"][direction.channel], direction.port)
    try:
        connection = socket.create_connection(target, seconds, source)
    except TimeoutError:
        return Reach.TCP_TIMEOUT
    except OSError as error:
        return Reach.NO_ROUTE if error.errno in NOT_SENT else Reach.TCP_REFUSED
    with connection:
        return _greet(context, connection, direction.service, peer["ask_names"][direction.channel])


def _greet(context: ssl.SSLContext, connection: socket.socket, service: str, name: str) -> Reach:
    """Finish TLS and ask nothing; TLS 1.3 tells a refused client only on the first read."""
    request = REQUESTS[service].format(name=name)
    try:
        with context.wrap_socket(connection, server_hostname=name) as secure:
            secure.sendall(request.encode("ascii"))
            answer = http.client.HTTPResponse(secure)
            answer.begin()
    except ssl.SSLCertVerificationError:
        return Reach.TLS_UNTRUSTED
    except (http.client.HTTPException, TimeoutError):
        return Reach.HTTP_FAILED
    except (ssl.SSLError, ConnectionError):
        return Reach.TLS_REFUSED
    if answer.status == http.client.FORBIDDEN:
        return Reach.NOT_AUTHORISED
    # An empty question is turned down; one for a digest is answered.
    good = range(400, 500) if service == "person" else (http.client.OK,)
    return Reach.ANSWERED if answer.status in good else Reach.HTTP_FAILED
