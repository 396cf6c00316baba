"""Print the process that a lab of Molecule's is for: Molecule itself, while it runs.

Ansible starts each command through processes that end at once; an owner that is gone would let
`scripts/lab gc` take the lab away in the middle of a test.
"""

import os
from pathlib import Path


def parent(process: int) -> int:
    """Return a process's parent: the fourth field of its stat, counted from the command's end."""
    stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat.rpartition(")")[2].split()[1])


if __name__ == "__main__":
    process = os.getpid()
    while process > 1 and Path(f"/proc/{process}/comm").read_text().strip() != "molecule":
        process = parent(process)
    print(process or 1)  # noqa: T201 - its one purpose
