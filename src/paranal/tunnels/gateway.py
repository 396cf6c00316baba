"""What every command on a gateway begins with: root, and the member's view."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from paranal.agreement.suspension import RECORD, narrowed, read_suspensions
from paranal.messages import Refusal

VIEW = Path("/etc/paranal/view.json")


def require_root(command: str) -> None:
    """Raise ``Refusal`` PAR-0690 without root; ``command`` is ``status``, ``tunnels heal``, ..."""
    if os.geteuid() != 0:
        raise Refusal("PAR-0690", command=command)


def read_view(path: Path = VIEW, record: Path = RECORD) -> dict[str, Any]:
    """Return the node's view (docs/architecture.md), narrowed by what it suspended by itself.

    Raises ``Refusal`` PAR-0691.
    """
    return narrowed(declared_view(path), read_suspensions(record))


def declared_view(path: Path = VIEW) -> dict[str, Any]:
    """Return the view as it was applied; raises ``Refusal`` PAR-0691."""
    try:
        view: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal("PAR-0691", path=path, reason=error) from None
    return view
