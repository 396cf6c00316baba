"""Send over one TCP connection and measure, as a program on a node (standard library only).

Given JSON: ``serve`` (address, port), which takes one connection; or ``call`` (address, port) with
``source``, ``trips`` and ``seconds``. The caller prints ``{"rtt_ms", "mbit_s"}``: the median of so
many round trips of 32 octets, and what the far end had received when so many seconds were over.
"""

from __future__ import annotations

import json
import socket
import statistics
import sys
import time

TRIP = b"x" * 32
BLOCK = b"x" * 65_536
END = b"e"
PATIENCE_SECONDS = 30.0


def serve(place: tuple[str, int]) -> None:
    """Echo short messages until the first ``END``; then swallow, and say how much that was."""
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    with socket.create_server(place, family=family, reuse_port=True) as listener:
        listener.settimeout(PATIENCE_SECONDS)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        line, _ = listener.accept()
    with line:
        line.settimeout(PATIENCE_SECONDS)
        while (received := line.recv(64)) != END:
            line.sendall(received)
        line.sendall(END)
        total = 0
        while received := line.recv(len(BLOCK)):
            total += len(received)
        line.sendall(str(total).encode())


def call(place: tuple[str, int], source: str, trips: int, seconds: float) -> dict[str, float]:
    """Measure round trips, then the rate at which octets arrive."""
    with socket.create_connection(place, PATIENCE_SECONDS, (source, 0)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took = [trip(line, TRIP) for _ in range(trips)]
        trip(line, END)
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            line.sendall(BLOCK)
        line.shutdown(socket.SHUT_WR)
        arrived = int(line.recv(64))
        lasted = time.monotonic() - begun
    return {"rtt_ms": statistics.median(took) * 1000, "mbit_s": arrived * 8 / lasted / 1e6}


def trip(line: socket.socket, message: bytes) -> float:
    """Send a message and wait until all of it is back; return the seconds."""
    begun, missing = time.monotonic(), len(message)
    line.sendall(message)
    while missing:
        received = len(line.recv(missing))
        if not received:
            raise ConnectionError("closed by the far end")
        missing -= received
    return time.monotonic() - begun


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if "serve" in given:
        serve(tuple(given["serve"]))
    else:
        given["place"] = tuple(given.pop("call"))
        sys.stdout.write(json.dumps(call(**given)) + "\n")
