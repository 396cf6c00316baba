"""Give a lab what each country brings itself: an enrolled post, and records in its source.

Everything here is idempotent: a post with good credentials is left alone, and a source that holds
exactly these records is loaded again but does not count as changed.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from paranal import package
from paranal.lab import names, people
from paranal.lab.lab import Lab, failed

POST = "post-1"
SOURCE = "national"
_PACKAGE = "/var/tmp/paranal.deb"  # noqa: S108 - inside a container that only the lab enters
_AT_ONCE = 4


def equip(lab: Lab) -> dict[str, list[str]]:
    """Enrol every post and load every source; return what changed, ``{"posts", "sources"}``."""
    return {"posts": enrol_posts(lab), "sources": load_sources(lab)}


def enrol_posts(lab: Lab) -> list[str]:
    """Install paranal.deb on every border post and enrol it; return the posts that changed.

    Needs the countries' authorities only, not their nodes, so it can run beside a converge.
    """
    deb = package.build()

    def one(member: str) -> str | None:
        installed = install(lab, names.border(member), deb)
        enrolled = _enrol(lab, member)
        return str(enrolled["post"]) if installed or enrolled["issued"] else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        members = sorted(lab.facts()["members"])
        return [changed for changed in pool.map(one, members) if changed]


def load_sources(lab: Lab, only: Sequence[str] | None = None) -> list[str]:
    """Import each country's synthetic records on its node, if it is ours; return what changed.

    With ``only``, on the nodes of these members.
    """
    ours = sorted(code for code, node in lab.facts()["members"].items() if "foreign" not in node)
    members = [code for code in ours if only is None or code in only]

    def one(member: str) -> str | None:
        lines = "".join(
            json.dumps(record, ensure_ascii=False) + "\n" for record in people.records(member)
        )
        words = ["runuser", "--user", "paranal-source", "--", "paranal", "source", "import", "-"]
        options = ["--format", "jsonl", "--source", SOURCE, "--replace", "--json"]
        done = lab.exec(member, *words, *options, given=lines.encode())
        result: dict[str, Any] = json.loads(done.stdout)
        return member if result["changed"] else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [changed for changed in pool.map(one, members) if changed]


def _enrol(lab: Lab, member: str) -> dict[str, Any]:
    """Enrol one country's post by the command that the country itself would use.

    Raises ``Refusal`` PAR-0222 with that command's own refusal.
    """
    authority = lab.home.folder / "ca" / member
    via = lab.command(names.border(member), [])
    words = [sys.executable, "-m", "paranal", "pki", "post", "--json", "--post", POST]
    words += ["--directory", str(authority), "--agreement", str(lab.home.agreement)]
    words += ["--passphrase-file", str(authority.with_suffix(".passphrase"))]
    words += ["--via", shlex.join(via)]
    done = subprocess.run(words, capture_output=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise failed(names.border(member), words[2:], done)
    enrolled: dict[str, Any] = json.loads(done.stdout)
    return enrolled


def install(lab: Lab, part: str, deb: Path) -> bool:
    """Install the package on a post unless it holds this very version; tell whether it did."""
    wanted = deb.stem.split("_")[1]
    held = lab.exec(part, "dpkg-query", "--show", "--showformat=${Version}", "paranal", check=False)
    if held.returncode == 0 and held.stdout.decode() == wanted:
        return False
    lab.exec(part, "dd", f"of={_PACKAGE}", "status=none", given=deb.read_bytes())
    lab.exec(part, "dpkg", "--install", _PACKAGE)
    return True
