"""The relay of the ``wan`` namespace: delay, jitter, loss, reorder and duplication without netem.

It runs alone inside the lab's ``wan`` container (standard library only; this file is copied
there). While something is to be impaired, a policy rule per WAN link sends what arrives into a TUN
device; the relay reads each packet there and writes it back when its time has come, and the kernel
routes it on. With nothing to impair there is no rule, and no packet passes the relay at all.

Its control is a unix socket beside this file: one JSON request line, one JSON answer line.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import json
import math
import os
import random
import select
import socket
import struct
import subprocess
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

DEVICE = "relay"
TABLE = "51"
PRIORITY = 200
FAMILIES = ("-4", "-6")
LINK_PREFIX = "w-"
SOCKET_NAME = "relay.sock"
SETTINGS_NAME = "relay.json"
HOLD_BACK_SECONDS = 0.01
"""How much later than its turn a reordered packet leaves, where jitter does not say more."""
MTU = 1500
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CONTROL_SECONDS = 1.0


@dataclass(frozen=True)
class Impairment:
    """What the line does to a packet: milliseconds one way, the rest as fractions 0 to 1."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0

    @property
    def clear(self) -> bool:
        """Tell whether the line is left alone."""
        return not any(asdict(self).values())


def schedule(
    now: float, previous: float, line: Impairment, chance: random.Random
) -> tuple[list[float], float]:
    """Return when a packet that came at ``now`` leaves, and the time the next may not overtake.

    ``previous`` is that time of the packet before it in the same direction. No time: lost; two:
    duplicated. Jitter alone keeps the order, as a queue does; a reordered packet is held back and
    overtaken. All times in seconds of one clock.
    """
    if chance.random() < line.loss:
        return [], previous
    swing = chance.uniform(-line.jitter_ms, line.jitter_ms)
    due = max(now + max(line.delay_ms + swing, 0.0) / 1000, previous)
    leaves = due
    if chance.random() < line.reorder:
        leaves = due + max(line.jitter_ms / 1000, HOLD_BACK_SECONDS)
    copies = 2 if chance.random() < line.duplicate else 1
    return [leaves] * copies, due


def addresses(packet: bytes) -> bytes:
    """Return source and destination address of an IPv4 or IPv6 packet: its direction."""
    return packet[8:40] if packet[0] >> 4 == 6 else packet[12:20]


def read_settings(text: str) -> Impairment:
    """Return the impairment that a JSON object names.

    Raises ``ValueError`` and ``TypeError`` for anything but known names with times and fractions.
    """
    given = json.loads(text)
    known = {field.name for field in fields(Impairment)}
    if not isinstance(given, dict) or not known.issuperset(given):
        raise ValueError(f"an object with some of {sorted(known)} is needed")
    line = Impairment(**{name: float(value) for name, value in given.items()})
    for name, value in asdict(line).items():
        most = math.inf if name.endswith("_ms") else 1.0
        if not 0 <= value <= most or value == math.inf:
            raise ValueError(f"{name} cannot be {value}")
    return line


class Relay:
    """The packets under way, the line's present settings, and what became of each packet."""

    def __init__(self, tun: int, folder: Path) -> None:
        """Relay over the open TUN device, with settings kept in ``folder``."""
        self.tun = tun
        self.folder = folder
        self.line = Impairment()
        self.under_way: list[tuple[float, int, bytes]] = []
        self.counters = {"received": 0, "sent": 0, "lost": 0, "duplicated": 0}
        self._previous: dict[bytes, float] = {}
        self._chance = random.Random()  # noqa: S311 - it plays weather, not dice for keys

    def impair(self, line: Impairment) -> None:
        """Put the line in the path, or take the relay out of it when nothing is to be impaired."""
        self.line = line
        wanted = set() if line.clear else _links()
        for family in FAMILIES:
            rules = json.loads(_ip(family, "-json", "rule", "show"))
            present = {rule["iif"] for rule in rules if rule["priority"] == PRIORITY}
            for verb, links in (("add", wanted - present), ("del", present - wanted)):
                for link in sorted(links):
                    rule = ("priority", str(PRIORITY), "iif", link, "lookup", TABLE)
                    _ip(family, "rule", verb, *rule)
        settings = self.folder / SETTINGS_NAME
        settings.with_suffix(".new").write_text(json.dumps(asdict(line)), encoding="utf-8")
        settings.with_suffix(".new").replace(settings)

    def take(self) -> None:
        """Read what waits in the TUN device, a bounded number of packets, and schedule each."""
        now = time.monotonic()
        for _ in range(256):
            try:
                packet = os.read(self.tun, 65535)
            except BlockingIOError:
                return
            self.counters["received"] += 1
            direction = addresses(packet)
            times, turn = schedule(now, self._previous.get(direction, 0.0), self.line, self._chance)
            self._previous[direction] = turn
            self.counters["lost"] += not times
            self.counters["duplicated"] += len(times) > 1
            for due in times:
                heapq.heappush(self.under_way, (due, self.counters["received"], packet))

    def give(self) -> float | None:
        """Write back every packet whose time has come; return the seconds until the next one's."""
        while self.under_way:
            wait = self.under_way[0][0] - time.monotonic()
            if wait > 0:
                return wait
            packet = heapq.heappop(self.under_way)[2]
            # A full device drops a packet, as a line does.
            with contextlib.suppress(BlockingIOError):
                os.write(self.tun, packet)
                self.counters["sent"] += 1
        return None

    def answer(self, connection: socket.socket) -> None:
        """Serve one request: an impairment to set, or an empty line to be told the state."""
        with connection:
            connection.settimeout(_CONTROL_SECONDS)
            try:
                request = connection.makefile("r", encoding="utf-8").readline().strip()
                if request:
                    self.impair(read_settings(request))
                state: dict[str, object] = {"line": asdict(self.line), "counters": self.counters}
            except (OSError, TypeError, ValueError, subprocess.CalledProcessError) as error:
                state = {"error": str(error)}
            with contextlib.suppress(OSError):  # the asker went away; the next one may stay
                connection.sendall(json.dumps(state).encode() + b"\n")


def main() -> None:
    """Restore the last settings and relay until the container stops."""
    folder = Path(__file__).resolve().parent
    relay = Relay(_open_tun(), folder)
    settings = folder / SETTINGS_NAME
    if settings.exists():
        relay.impair(read_settings(settings.read_text(encoding="utf-8")))
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(folder / SOCKET_NAME))
        control.listen()
        wait: float | None = None
        while True:
            waiting: list[int | socket.socket] = [relay.tun, control]
            ready, _, _ = select.select(waiting, [], [], wait)
            if relay.tun in ready:
                relay.take()
            if control in ready:
                relay.answer(control.accept()[0])
            wait = relay.give()


def _open_tun() -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    _ip("link", "set", DEVICE, "mtu", str(MTU), "txqueuelen", "4096", "up")
    for family in FAMILIES:
        _ip(family, "route", "replace", "default", "dev", DEVICE, "table", TABLE)
        # Without the relay an impaired line is a dead line, never silently a perfect one.
        dead = ("unreachable", "default", "metric", "4096", "table", TABLE)
        _ip(family, "route", "replace", *dead)
    return tun


def _links() -> set[str]:
    return {name for _, name in socket.if_nameindex() if name.startswith(LINK_PREFIX)}


def _ip(*words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own words
        ["/usr/sbin/ip", *words], check=True, capture_output=True, text=True
    )
    return done.stdout


if __name__ == "__main__":
    main()
