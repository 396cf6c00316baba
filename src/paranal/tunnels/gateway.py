"""What every command on a gateway begins with: root, and the member's view."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from paranal.messages import Refusal

VIEW = Path("/etc/paranal/view.json")


def require_root(command: str) -> None:
    """Raise ``Refusal`` PAR-0690 without root; ``command`` is ``status``, ``tunnels heal``, ..."""
    if os.geteuid() != 0:
        raise Refusal("PAR-0690", command=command)


def read_view(path: Path = VIEW) -> dict[str, Any]:
    """Return the node's view (docs/architecture.md); raises ``Refusal`` PAR-0691."""
    try:
        view: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal("PAR-0691", path=path, reason=error) from None
    return view
