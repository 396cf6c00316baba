"""One measured value beside the mark that it is held against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value, its unit, and the mark it is held against (None: no mark)."""

    value: float
    unit: str
    mark: float | None = None

    @property
    def met(self) -> bool | None:
        """Tell whether the value is within its mark; None without a mark."""
        return None if self.mark is None else self.value <= self.mark
