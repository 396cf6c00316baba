"""Packets of both families as the lab makes them are the ones that scapy makes."""

from __future__ import annotations

import socket

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from paranal.lab import packets


def _head(source: str, target: str, protocol: int) -> Packet:
    if ":" in source:
        return IPv6(src=source, dst=target, nh=protocol)
    return IP(src=source, dst=target, proto=protocol, id=0)


@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
@pytest.mark.parametrize("ends", [("198.51.100.1", "203.0.113.2"), ("2001:db8::1", "3fff::2")])
def test_headers_and_checksums_are_scapy_s(ends: tuple[str, str], payload: bytes) -> None:
    tcp = TCP(sport=7443, dport=40000, seq=2**32 - 1, ack=5, flags="RA", window=1024)
    segment = packets.tcp(*ends, (7443, 40000), (2**32 - 1, 5), 0x14, payload)
    assert segment == bytes(_head(*ends, socket.IPPROTO_TCP) / tcp / payload)
    udp = UDP(sport=7443, dport=40000)
    datagram = packets.udp(*ends, (7443, 40000), payload)
    assert datagram == bytes(_head(*ends, socket.IPPROTO_UDP) / udp / payload)
    other = packets.ip(*ends, socket.IPPROTO_ESP, payload)
    assert other == bytes(_head(*ends, socket.IPPROTO_ESP) / payload)
