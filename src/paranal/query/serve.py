"""``python3 -m paranal.query.serve national|alliance``: one service on its unix socket."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

import msgspec

from paranal.query import settings
from paranal.serving import view
from paranal.serving.serve import run

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
    kind = LISTENERS[args.listener]
    return run(lambda: listener.application(view.load(path, kind)), args.socket)


if __name__ == "__main__":
    sys.exit(main())
