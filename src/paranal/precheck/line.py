"""The sockets of a precheck: bound to one address, connected to one peer, and nobody else's."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import TracebackType

from paranal.messages import Refusal
from paranal.precheck.message import LARGEST, PORTS, Carrier, Message, decode, encode, headers

# Of Linux, nameless in the module `socket`: whole packets (DF), whatever was heard of the path.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
MOST_AT_ONCE = 64
"""Packets read before the next one is sent: a flood does not keep us from our own pace."""


@dataclass
class Line:
    """Open sockets to one peer; a context manager."""

    local: str
    peer: str
    sockets: dict[Carrier, socket.socket] = field(default_factory=dict)
    unsent: dict[Carrier, str] = field(default_factory=dict)
    """By carrier, why our own machine did not send what it should have sent last."""
    without_esp: Refusal | None = None
    _sequence: int = 0
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Line:
        """Open them; ``use`` says by which carriers."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close them."""
        self._open.close()

    def use(self, carrier: Carrier) -> None:
        """Open a carrier.

        Raises ``Refusal`` PAR-1011 (somebody holds the port), PAR-1012 (not our address) or
        PAR-1013 (no way there). ESP without raw sockets is no refusal: ``without_esp`` says why.
        """
        six = ip_address(self.local).version == 6
        kind = (socket.SOCK_RAW, 50) if carrier is Carrier.ESP else (socket.SOCK_DGRAM, 0)
        port = PORTS.get(carrier, 0)
        try:
            made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, *kind)
        except PermissionError as error:
            self.without_esp = Refusal("PAR-1014", reason=error.strerror)
            return
        self._open.callback(made.close)
        made.setblocking(False)
        level, option = (
            (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER)
            if six
            else (socket.IPPROTO_IP, _IP_MTU_DISCOVER)
        )
        made.setsockopt(level, option, _PMTUDISC_PROBE)
        try:
            made.bind((self.local, port))
            made.connect((self.peer, port))
        except OSError as error:
            raise self._refused(error, port) from None
        self.sockets[carrier] = made

    def _refused(self, error: OSError, port: int) -> Refusal:
        if error.errno == errno.EADDRINUSE:
            return Refusal("PAR-1011", local=self.local, port=port)
        if error.errno == errno.EADDRNOTAVAIL:
            return Refusal("PAR-1012", local=self.local)
        return Refusal("PAR-1013", local=self.local, peer=self.peer, reason=error.strerror)

    def send(self, message: Message, octets: int = 0) -> None:
        """Send one packet, of ``octets`` as a whole where that is more than it needs."""
        carrier = message.carrier
        made = self.sockets[carrier]
        self._sequence += 1
        payload = encode(message, self._sequence, octets - headers(carrier, self.local))
        # An ICMP error that came meanwhile is not this packet's; the answers say what arrives.
        made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.unsent.pop(carrier, None)
        try:
            made.send(payload)
        except OSError as error:
            if not (octets and error.errno == errno.EMSGSIZE):
                self.unsent[carrier] = error.strerror or str(error)

    def received(self, carrier: Carrier) -> Iterator[tuple[Message, int]]:
        """Yield what has come by a carrier, each with the octets of its whole IP packet."""
        six = ip_address(self.local).version == 6
        for _ in range(MOST_AT_ONCE):
            try:
                payload = self.sockets[carrier].recv(LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error, as above
            if carrier is Carrier.ESP and not six:
                payload = payload[(payload[0] & 0x0F) * 4 :]  # a raw socket gives IPv4's header too
            message = decode(payload, carrier)
            if message is not None:
                yield message, len(payload) + headers(carrier, self.local)


def new_session() -> bytes:
    """Return a session that no other run has."""
    return os.urandom(8)
