"""One TCP flow through a tunnel: ``serve`` what comes back as it came, or ``call`` and measure.

Given: ``serve`` (address, port) or ``call`` (address, port) with ``source``, ``seconds``,
``file`` and ``stop``. The caller ends after ``seconds``, when a file ``stop`` is there, or when the
flow is cut, and writes JSON to ``file``: ``trips``, ``worst_ms``, ``error``.
"""

import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

TRIP = b"x" * 32


def serve(place: tuple[str, int]) -> None:
    """Answer every flow with what it sent."""
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    with socket.create_server(place, family=family, reuse_port=True) as listener:
        while True:
            line, _ = listener.accept()
            threading.Thread(target=echo, args=(line,), daemon=True).start()


def echo(line: socket.socket) -> None:
    """Answer one flow."""
    with line:
        while received := line.recv(64):
            line.sendall(received)


def connect(place: tuple[str, int], source: str) -> socket.socket:
    """Connect as soon as the far end listens; it was started at the same moment."""
    for _ in range(50):
        try:
            return socket.create_connection(place, 10, (source, 0))
        except ConnectionRefusedError:
            time.sleep(0.1)
    return socket.create_connection(place, 10, (source, 0))


def call(place: tuple[str, int], source: str, seconds: float, stop: Path) -> dict[str, Any]:
    """Send and wait for the answer, over and over, on one connection."""
    trips, worst, error = 0, 0.0, ""
    deadline = time.monotonic() + seconds
    try:
        with connect(place, source) as line:
            while time.monotonic() < deadline and not stop.exists():
                begun, missing = time.monotonic(), len(TRIP)
                line.sendall(TRIP)
                while missing:
                    received = len(line.recv(missing))
                    if not received:
                        raise ConnectionError("closed by the far end")
                    missing -= received
                trips, worst = trips + 1, max(worst, time.monotonic() - begun)
                time.sleep(0.01)
    except OSError as failure:
        error = f"{type(failure).__name__}: {failure}"
    return {"trips": trips, "worst_ms": worst * 1000, "error": error}


given = json.loads(sys.argv[1])
if "serve" in given:
    serve(tuple(given["serve"]))
else:
    result = call(tuple(given["call"]), given["source"], given["seconds"], Path(given["stop"]))
    Path(given["file"]).write_text(json.dumps(result), encoding="utf-8")
