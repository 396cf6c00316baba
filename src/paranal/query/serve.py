"""``python3 -m paranal.query.serve national|alliance``: one service on its unix socket.

Under systemd the socket comes from the ``.socket`` unit (``LISTEN_FDS``): it stays while the
service restarts, so that a question waits instead of failing. ``--socket`` makes one for a test.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from importlib import import_module
from pathlib import Path

import msgspec
import uvicorn

from paranal.messages import Refusal
from paranal.query import settings

FIRST_PASSED_FD = 3
SHUTDOWN_SECONDS = 6

LISTENERS: dict[str, type[msgspec.Struct]] = {
    "national": settings.National,
    "alliance": settings.Alliance,
}
"""Listener -> its settings; its application is in the module of that name."""


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; return 0, or 3 when the settings are refused."""
    parser = argparse.ArgumentParser(prog="python3 -m paranal.query.serve", description=__doc__)
    parser.add_argument("listener", choices=sorted(LISTENERS))
    parser.add_argument("--settings", type=Path, help="default: /etc/paranal/LISTENER.json")
    parser.add_argument("--socket", type=Path, help="make this unix socket instead of systemd's")
    args = parser.parse_args(argv)
    path = args.settings or Path("/etc/paranal") / f"{args.listener}.json"
    # Only the one that is served: the alliance service starts without an HTTP client.
    listener = import_module(f"paranal.query.{args.listener}")
    try:
        app = listener.application(settings.load(path, LISTENERS[args.listener]))
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 3
    config = uvicorn.Config(
        app,
        loop="uvloop",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[_socket(args.socket)])
    return 0


def _socket(path: Path | None) -> socket.socket:
    """Return the listening socket that systemd passed, or a new one at ``path``."""
    if path is None:
        if os.environ.get("LISTEN_FDS") != "1":
            raise SystemExit("no socket: start the .socket unit, or name one with --socket")
        return socket.socket(fileno=FIRST_PASSED_FD)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    return listener


if __name__ == "__main__":
    sys.exit(main())
