"""Files that change under a running service: read again when they did, and only then."""

from __future__ import annotations

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

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]) -> None:
        """Remember what to watch; nothing is read before the first call."""
        self._paths = tuple(paths)
        self._make = make
        self._stamp: Stamp | None = None
        self._value: T

    def __call__(self) -> T:
        """Return the current value."""
        stamp = self._look()
        if stamp != self._stamp:
            self._value = self._make()
            self._stamp = stamp
        return self._value

    def _look(self) -> Stamp:
        stats = (path.stat() for path in self._paths)
        return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in stats)
