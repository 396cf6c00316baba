"""``python3 -m paranal.query.serve national|alliance``: one service on its unix socket.

Under systemd the socket comes from the ``.socket`` unit (``LISTEN_FDS``): it stays while the
service restarts, so that a question waits instead of failing. ``--socket`` makes one for a test.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from paranal.messages import Refusal
from paranal.query import alliance, national, settings

FIRST_PASSED_FD = 3
SHUTDOWN_SECONDS = 6

APPLICATIONS: dict[str, tuple[Any, Callable[[Any], Starlette]]] = {
    "national": (settings.National, national.application),
    "alliance": (settings.Alliance, alliance.application),
}


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; return 0, or 3 when the settings are refused."""
    parser = argparse.ArgumentParser(prog="python3 -m paranal.query.serve", description=__doc__)
    parser.add_argument("listener", choices=sorted(APPLICATIONS))
    parser.add_argument("--settings", type=Path, help="default: /etc/paranal/LISTENER.json")
    parser.add_argument("--socket", type=Path, help="make this unix socket instead of systemd's")
    args = parser.parse_args(argv)
    kind, application = APPLICATIONS[args.listener]
    path = args.settings or Path("/etc/paranal") / f"{args.listener}.json"
    try:
        app = application(settings.load(path, kind))
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
