"""Print what stands on a node, one line each: files with their change times, sysctls, rules, units.

Left out is what a running machine changes by itself: logs, caches, the database's own files.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

PASSED_OVER = frozenset(
    {"/dev", "/proc", "/run", "/sys", "/tmp", "/var/log", "/var/cache", "/var/tmp"}  # noqa: S108
    | {"/var/backups", "/var/lib/apt", "/var/lib/chrony", "/var/lib/systemd"}
    | {"/var/lib/postgresql", "/home/ops/.ansible", "/root/.ansible"}
)
QUESTIONS = (
    ("nft", "list", "ruleset"),
    ("ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp"),
    ("systemctl", "list-unit-files", "--no-legend", "--plain"),
    ("systemctl", "list-units", "--type=service", "--state=running", "--no-legend", "--plain"),
)
SYSCTLS = ("/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf")


def files() -> Iterator[str]:
    """Yield every file and folder: a change time cannot be set back."""
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if str(Path(folder, name)) not in PASSED_OVER]
        for name in [".", *names]:
            path = Path(folder, name)
            try:
                seen = path.lstat()
            except FileNotFoundError:  # gone since the folder was listed
                continue
            yield f"{path} {seen.st_mode:o} {seen.st_uid}:{seen.st_gid} {seen.st_ctime_ns}"


def settings() -> Iterator[str]:
    """Yield the kernel's settings of every interface."""
    for root in SYSCTLS:
        for path in Path(root).glob("*/*"):
            try:
                yield f"{path} {path.read_text().split()}"
            except OSError:  # a setting that can only be written, or has no value yet
                continue


def answers() -> Iterator[str]:
    """Yield what the kernel and systemd say."""
    for question in QUESTIONS:
        said = subprocess.run(question, check=True, capture_output=True, text=True)  # noqa: S603
        yield from (f"{question[0]} {' '.join(line.split())}" for line in said.stdout.splitlines())


if __name__ == "__main__":
    print(*sorted({*files(), *settings(), *answers()}), sep="\n")  # noqa: T201 - its one purpose
