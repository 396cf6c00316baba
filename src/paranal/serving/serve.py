"""One ASGI application on one unix socket, until told to stop.

Under systemd the socket comes from the ``.socket`` unit (``LISTEN_FDS``): it stays while the
service restarts, so that a caller waits instead of failing. A test names one to be made.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from paranal.messages import Refusal

FIRST_PASSED_FD = 3
SHUTDOWN_SECONDS = 6


def run(application: Callable[[], Starlette], path: Path | None) -> int:
    """Make a service's application and serve it; return 0, or 3 when its settings are refused."""
    try:
        app = application()
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 3
    serve(app, path)
    return 0


def serve(app: Starlette, path: Path | None) -> None:
    """Serve ``app`` on systemd's socket, or on one made at ``path``."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[_socket(path)])


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
