"""Keep what explains a failure before a lab goes: journals, tunnels, rules, what Ansible said."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from paranal.lab import names
from paranal.lab.docker import CALL_SECONDS
from paranal.lab.lab import Lab

NODE_COMMANDS = {
    "journal": ("journalctl", "--boot", "--no-pager", "--output=short-iso-precise"),
    "failed": ("systemctl", "--failed", "--no-pager"),
    "sas": ("swanctl", "--list-sas"),
    "conns": ("swanctl", "--list-conns"),
    "xfrm-states": ("ip", "-statistics", "xfrm", "state", "list", "nokeys"),
    "xfrm-policies": ("ip", "xfrm", "policy", "list", "nosock"),
    "xfrm-counters": ("cat", "/proc/net/xfrm_stat"),
    "nft": ("nft", "list", "ruleset"),
    "addresses": ("ip", "address"),
    "routes": ("ip", "route", "show", "table", "all"),
    "routes6": ("ip", "-6", "route", "show", "table", "all"),
}
"""What is asked of each node: file's suffix -> command. None of it prints a secret."""
WAN_COMMANDS = {
    "addresses": ("ip", "address"),
    "rules": ("ip", "rule"),
    "rules6": ("ip", "-6", "rule"),
}


def collect(lab: Lab, folder: Path) -> list[Path]:
    """Write ``PART.WHAT.txt`` files, the lab's facts and Ansible's logs; return what was written.

    A part that does not answer leaves a file that says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = lab.home.read() or {"members": {}}
    questions = dict.fromkeys(facts["members"], NODE_COMMANDS) | {names.WAN: WAN_COMMANDS}
    asked = [(part, *item) for part, commands in questions.items() for item in commands.items()]

    def keep(part: str, what: str, words: tuple[str, ...]) -> Path:
        file = folder / f"{part}.{what}.txt"
        done = lab.exec(part, *words, check=False, seconds=CALL_SECONDS)
        file.write_bytes(done.stdout + done.stderr)
        return file

    with ThreadPoolExecutor(2) as pool:
        kept = [run.result() for run in [pool.submit(keep, *question) for question in asked]]
    logs = sorted(lab.home.log.glob("*.log"))
    for source in (lab.home.folder / "lab.json", lab.home.agreement, *logs):
        if source.exists() and source.parent != folder:
            kept.append(Path(shutil.copy(source, folder)))
    return kept
