"""Files that change under a running service: read again when they did, and only then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int], ...]


class Watched(Generic[T]):
    """A value made from files; made anew when one of them was replaced or rewritten.

    A rotation or a suspension thus takes effect with the next question, without a restart.
    ``make`` may raise: the caller sees it, and the next call tries again.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        make: Callable[[], T],
        max_age_seconds: float = float("inf"),
        may_lack: Sequence[Path] = (),
    ) -> None:
        """Remember what to watch; nothing is read before the first call.

        A value older than ``max_age_seconds`` is made anew although no file changed. Of ``paths``
        every one must be there; of ``may_lack`` one that comes or goes is a change like another.
        """
        self._paths, self._may_lack = tuple(paths), tuple(may_lack)
        self._make = make
        self._max_age = max_age_seconds
        self._made = 0.0
        self._stamp: Stamp | None = None
        self._value: T

    def __call__(self) -> T:
        """Return the current value."""
        stamp, now = self._look(), time.monotonic()
        if stamp != self._stamp or now - self._made > self._max_age:
            self._value = self._make()
            self._stamp, self._made = stamp, now
        return self._value

    def forget(self) -> None:
        """Have the value made anew by the next call."""
        self._stamp = None

    def _look(self) -> Stamp:
        found = [_stamp(path) for path in self._paths]
        for path in self._may_lack:
            try:
                found.append(_stamp(path))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
