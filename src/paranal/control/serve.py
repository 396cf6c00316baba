"""``python3 -m paranal.control.serve``: the control service on its unix socket."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from paranal.control.service import application
from paranal.control.settings import Control
from paranal.serving.serve import run
from paranal.serving.view import load

SETTINGS = Path("/etc/paranal/control.json")


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; return 0, or 3 when the settings are refused."""
    parser = argparse.ArgumentParser(prog="python3 -m paranal.control.serve", description=__doc__)
    parser.add_argument("--settings", type=Path, default=SETTINGS, help=f"default {SETTINGS}")
    parser.add_argument("--socket", type=Path, help="make this unix socket instead of systemd's")
    args = parser.parse_args(argv)
    return run(lambda: application(load(args.settings, Control)), args.socket)


if __name__ == "__main__":
    sys.exit(main())
