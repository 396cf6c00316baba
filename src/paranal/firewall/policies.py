"""The kernel plane's own drop policies: what no tunnel takes is dropped below every tunnel's policy.

They are the node's, not charon's (ESP-006), and ``ip xfrm policy flush`` takes them with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

FILE = Path("/etc/paranal/drop-policies")
"""What ``paranal-drop-policies.service`` gives ``ip -batch``; the userspace plane has none."""
SHOWN = ("ip", "xfrm", "policy", "list", "nosock", "action", "block")


def stand(ask: Callable[[Sequence[str]], str]) -> bool:
    """Tell whether the kernel holds as many drop policies as were applied.

    ``ask`` runs a command and returns what it prints; what it raises is raised.
    """
    try:
        applied = FILE.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return True
    wanted = sum(line.startswith("xfrm policy update ") for line in applied)
    return wanted == 0 or ask(SHOWN).count(" action block ") >= wanted
