"""Give a lab what each country brings itself: an enrolled post, and records in its source.

Everything here is idempotent: a post with good credentials is left alone, and a source that holds
exactly these records is loaded again but does not count as changed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from paranal import package
from paranal.agreement import member_view
from paranal.lab import names, people
from paranal.lab.lab import Lab
from paranal.messages import Refusal
from paranal.pki import post
from paranal.pki.authority import CertificateAuthority
from paranal.pki.storage import read_passphrase

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
    agreement = lab.agreement()
    members = sorted(lab.facts()["members"])

    def one(member: str) -> str | None:
        installed = _install(lab, names.border(member), deb)
        view = member_view(agreement, member)["member"]
        authority = lab.home.folder / "ca" / member
        passphrase = authority.with_suffix(".passphrase")

        def opened() -> CertificateAuthority:
            return CertificateAuthority(authority, read_passphrase(passphrase))

        def run(words: Sequence[str], given: bytes) -> bytes:
            return _ran(lab, names.border(member), *words, given=given)

        enrolled = post.enrol(run, opened, view, POST)
        return str(enrolled["post"]) if installed or enrolled["issued"] else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [changed for changed in pool.map(one, members) if changed]


def load_sources(lab: Lab) -> list[str]:
    """Import each country's synthetic records on its node; return the countries that changed."""
    members = sorted(lab.facts()["members"])

    def one(member: str) -> str | None:
        lines = "".join(
            json.dumps(record, ensure_ascii=False) + "\n" for record in people.records(member)
        )
        words = ["runuser", "--user", "paranal-source", "--", "paranal", "source", "import", "-"]
        options = ["--format", "jsonl", "--source", SOURCE, "--replace", "--json"]
        result: dict[str, Any] = json.loads(
            _ran(lab, member, *words, *options, given=lines.encode())
        )
        return member if result["changed"] else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [changed for changed in pool.map(one, members) if changed]


def _install(lab: Lab, part: str, deb: Path) -> bool:
    """Install the package on a post unless it holds this very version; tell whether it did."""
    wanted = deb.stem.split("_")[1]
    held = lab.exec(part, "dpkg-query", "--show", "--showformat=${Version}", "paranal", check=False)
    if held.returncode == 0 and held.stdout.decode() == wanted:
        return False
    _ran(lab, part, "dd", f"of={_PACKAGE}", "status=none", given=deb.read_bytes())
    _ran(lab, part, "dpkg", "--install", _PACKAGE)
    return True


def _ran(lab: Lab, part: str, *words: str, given: bytes = b"") -> bytes:
    """Run ``words`` inside a part and return its output. Raises ``Refusal`` PAR-0222."""
    try:
        return lab.exec(part, *words, given=given).stdout
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit {error.returncode}"
        raise Refusal("PAR-0222", part=part, command=" ".join(words[:3]), reason=reason) from None
