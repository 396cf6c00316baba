"""The rules of the last apply that a controller confirmed, kept apart from the file that nft reads.

``/var/lib/paranal/node/firewall.json``, written by the module ``nft_ruleset``: ``rules`` (the
text), ``text`` (its SHA-256, hex) and ``live`` (SHA-256 of what the kernel made of it).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

FILE = Path("/etc/paranal/firewall.nft")
"""What ``paranal-firewall.service`` loads at boot."""
RECORD = Path("/var/lib/paranal/node/firewall.json")


def confirmed() -> str:
    """Return the rules themselves.

    Raises ``OSError`` when the record cannot be read and ``ValueError`` when it is not whole.
    """
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    rules = record.get("rules") if isinstance(record, dict) else None
    if not isinstance(rules, str) or _digest(rules.encode()) != record.get("text"):
        raise ValueError(f"{RECORD}: not the record of an apply")
    return rules


def boots_confirmed() -> bool:
    """Tell whether the next boot loads exactly the confirmed rules."""
    try:
        return FILE.read_bytes() == confirmed().encode()
    except (OSError, ValueError):
        return False


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
