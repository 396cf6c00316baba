"""Read the agreement file and refuse it whole when anything in it is wrong."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Agreement:
    """A checked agreement: where it was read, and its content as plain data."""

    path: Path
    document: dict[str, Any]

    @property
    def members(self) -> dict[str, dict[str, Any]]:
        """Each member's declaration by its code."""
        members: dict[str, dict[str, Any]] = self.document["members"]
        return members

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical content: comments and layout do not count."""
        return canonical_digest(self.document)


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return ``value`` as canonical JSON: sorted keys, no space, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def canonical_digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the SHA-256 (hex) of ``value`` as canonical JSON."""
    return hashlib.sha256(canonical(value)).hexdigest()


def load(path: Path | str) -> Agreement:
    """Read and check one agreement.

    Raises ``paranal.messages.Refusal`` (PAR-01xx) with the first problem, naming file and line.
    """
    from paranal.agreement.check import problems  # a node derives from views, and reads none
    from paranal.agreement.source import read

    source = read(Path(path))
    for problem in problems(source):
        raise problem
    return Agreement(source.path, source.data)
