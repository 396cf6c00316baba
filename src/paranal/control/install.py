"""A verified list put where charon and HAProxy read it, and kept so that no older one comes back.

The files belong to roles ``ipsec`` and ``query_server``: what is written here is what they would
write, octet for octet, and the controller learns of it from ``kept`` (``node_state``'s probe).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from paranal.messages import Refusal
from paranal.pki import lists, peers
from paranal.pki.lists import News
from paranal.pki.storage import write_atomic
from paranal.serving.view import View

KEPT = Path("/var/lib/paranal/node/lists")
"""Every list that came by ``control`` or by hand, ``CC-root.crl`` and ``CC-issuing.crl``."""


@dataclass(frozen=True)
class Place:
    """A node's files; ``root`` is elsewhere in a test."""

    root: Path = Path("/")

    def real(self, path: Path | str) -> Path:
        """Return where ``path`` of the node is."""
        return self.root / str(path).lstrip("/")

    def authorities(self, view: View) -> list[peers.PublicAuthority]:
        """Return every member's authority as installed; one that is broken is left out.

        Raises its ``Refusal`` (PAR-0418, PAR-0419) only when nothing is left.
        """
        found, first = [], None
        for member in (view.member, *view.peers):
            try:
                found += peers.installed(member.code, member.domain, self.real(peers.SWANCTL))
            except Refusal as refusal:
                first = first or refusal
        if first and not found:
            raise first
        return found

    def judge(self, data: bytes, view: View, now: datetime) -> News:
        """Return what a list is, beside what is installed now; refuses as ``lists`` does."""
        return lists.judge(lists.parse(data), self.authorities(view), now)

    def kept(self) -> list[tuple[Path, bool]]:
        """Return the file of every list that was kept, and whether it has yet to take effect."""
        files = sorted(self.real(KEPT).glob("*.crl"))
        return [(path, path.with_suffix(".owed").exists()) for path in files]

    def install(self, news: News) -> list[str]:
        """Keep a list and put it in place; return the paths that changed."""
        text = news.crl.public_bytes(Encoding.PEM)
        self._owed(news).touch()
        files = {f"{KEPT}/{news.file}": text} | self._files(news)
        return list(self._written(files))

    def settle(self, news: News) -> None:
        """Note that a list counts everywhere; until then it is owed, whatever ends this process."""
        self._owed(news).unlink(missing_ok=True)

    def _owed(self, news: News) -> Path:
        return self.real((KEPT / news.file).with_suffix(".owed"))

    def _files(self, news: News) -> dict[str, bytes]:
        """Return the lists of charon and HAProxy, where it has any, and the record of both."""
        every = news.generations
        texts = peers.trust_files("swanctl", every) | {
            path: text
            for path, text in peers.trust_files("haproxy", every).items()
            if self.real(path).exists()
        }
        files = {path: text.encode() for path, text in texts.items() if path.endswith(".crl")}
        recorded = self.real(peers.TRUST_RECORD)
        records = json.loads(recorded.read_bytes()) if recorded.exists() else {}
        mine = {name: each for one in every for name, each in peers.record(one).items()}
        text = peers.record_text({**records, news.member: mine})
        return files | {peers.TRUST_RECORD: text.encode()}

    def _written(self, files: dict[str, bytes]) -> Iterable[str]:
        for path, content in files.items():
            target = self.real(path)
            if not target.exists() or target.read_bytes() != content:
                write_atomic(target, content, 0o644)
                yield path
