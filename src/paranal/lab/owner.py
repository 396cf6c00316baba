"""The process a lab was made for: when it has gone, ``gc`` may take the lab down."""

from __future__ import annotations

from pathlib import Path

from paranal.messages import Refusal


def owner(pid: int) -> str:
    """Return ``PID:START``, which names a process for good: a reused id has another start.

    START is in clock ticks since boot (field 22 of ``/proc/PID/stat``). 0, the parent of a process
    that was started into this pid namespace from outside, stands for the first process here.
    Raises ``Refusal`` PAR-0218 when there is no such process.
    """
    pid = pid or 1
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise Refusal("PAR-0218", reason=f"--owner {pid}: no pid") from None
    # The command's name stands in parentheses and may itself hold spaces and parentheses.
    return f"{pid}:{stat.rpartition(')')[2].split()[19]}"


def is_alive(mark: str) -> bool:
    """Tell whether the process that ``owner`` marked still runs."""
    try:
        return owner(int(mark.partition(":")[0])) == mark
    except (Refusal, ValueError):
        return False
