"""Which roots of each peer this node trusts where it runs, and whose leaves it uses itself.

charon and HAProxy answer root alone, and the service is not root. So root asks both each minute and
leaves what it saw in ``FILE``; what is too old, or was never seen, is not told, and a peer that
asks takes silence for no. Whoever relieves its authority waits for the roots, and whoever would
cease to trust the elder waits for the leaves (docs/adr/0019).
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from paranal.agreement.connections import root_files
from paranal.haproxy import Ask, ask
from paranal.messages import Refusal
from paranal.pki.peers import HAPROXY
from paranal.pki.standing import MEMORY
from paranal.pki.storage import write_atomic
from paranal.serving.view import View
from paranal.tunnels import chains
from paranal.tunnels.charon import Charon, CharonError
from paranal.tunnels.record import Paths, Record, file_intact, read_record

FILE = Path("/run/paranal/trusted/roots.json")
FRESH_SECONDS = 150.0
"""Older than two turns of the timer: nobody knows any more."""

_SHA1 = re.compile(r"^SHA1 FingerPrint: ([0-9A-F]{40})$", re.MULTILINE)
Roots = dict[str, set[str]]


@dataclass(frozen=True)
class Told:
    """What a peer is told: its roots that we trust, and the issuing CAs of our leaves in use."""

    trusts: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()


class Daemon(Protocol):
    """What is asked of charon."""

    def connections(self) -> dict[str, dict[str, Any]]:
        """Return every loaded connection by name."""

    def certificates(self) -> list[dict[str, Any]]:
        """Return the certificates that charon holds."""


def in_charon(
    record: Record, loaded: Iterable[str], pins: Mapping[str, str], held: Iterable[bytes]
) -> Roots:
    """Return by peer the roots (SHA-256, hex) that all its connections pin, in charon and on disk.

    ``record`` is the node's, ``loaded`` are charon's connections by name, ``pins`` gives the digest
    of each root by file name, ``held`` are charon's certificates (DER). A root that an elder
    generation lacks is not trusted while its IKE_SA may authenticate anew; nor is any, where the
    newest generation is not loaded.
    """
    names, there = set(loaded), {hashlib.sha256(one).hexdigest() for one in held}
    found: Roots = {}
    for name, one in record.held.items():
        peer, files = one["connection"]["peer"], one["connection"]["config"]["remote"]["cacerts"]
        roots = {pins[file] for file in files if file in pins} & there
        is_loaded = name in names or name in record.superseded
        found[peer] = found.get(peer, roots) & roots if is_loaded else set()
    return found


def in_haproxy(member: str, certificates: Mapping[str, bytes], ask: Ask = ask) -> set[str]:
    """Return which of a member's roots (digest -> DER) HAProxy has in the CA file it loaded."""
    shown = ask(f"show ssl ca-file {HAPROXY}/{member}-ca.pem")
    loaded = set(_SHA1.findall(shown))
    sha1 = {
        digest: hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
        for digest, der in certificates.items()
    }
    return {digest for digest, name in sha1.items() if name in loaded}


def seen(
    view: View,
    paths: Paths,
    charon: Callable[[], AbstractContextManager[Daemon]] = Charon,
    ask: Ask = ask,
) -> dict[str, list[str]]:
    """Return by peer the roots that charon and HAProxy both trust now, sorted.

    Raises ``CharonError``, ``OSError`` or ``ValueError`` where one of them does not answer.
    """
    record = read_record(paths)
    if not file_intact(record, paths):  # what a restarted charon would load is another thing
        return {}
    folder = paths.swanctl / "x509ca"
    files = {peer.code: root_files(folder, peer.code) for peer in view.peers}
    pins = chains.pinned((name for names in files.values() for name in names), paths.certificate)
    with charon() as daemon:
        held = [entry["data"] for entry in daemon.certificates()]
        trusted = in_charon(record, daemon.connections(), pins, held)
    ders = {pins[name]: _der(paths.certificate(name)) for name in pins}
    return {
        code: sorted(roots & in_haproxy(code, {one: ders[one] for one in roots}, ask))
        for code, roots in trusted.items()
        if roots
    }


def issuers(leaves: Path) -> list[str]:
    """Return the issuing CAs (SHA-256, hex) of every leaf of this node, sorted.

    None while a rotation is under way: it ends when each new leaf was proven to be the one really
    sent. Raises ``OSError`` or ``ValueError`` for a memory that cannot be read.
    """
    memory = json.loads(leaves.read_bytes())
    if memory.get("rotations"):
        return []
    return sorted({leaf["issuer_sha256"] for leaf in memory["leaves"].values()})


def note(
    view: View,
    now: float,
    find: Callable[[View, Paths], Any] = seen,
    leaves: Path = MEMORY,
) -> Refusal | None:
    """Leave what is known now for the service; return why it could not be seen (PAR-0920)."""
    try:
        known = {"at": now, "roots": find(view, Paths()), "issuers": issuers(leaves)}
        write_atomic(FILE, json.dumps(known).encode(), 0o644)
    except (CharonError, OSError, ValueError, KeyError) as error:
        return Refusal("PAR-0920", reason=str(error) or type(error).__name__)
    return None


def told(file: Path, member: str, now: float) -> Told:
    """Return what a member is told; nothing where nobody knows, or what is known is old."""
    try:
        found = json.loads(file.read_bytes())
        if not 0 <= now - found["at"] <= FRESH_SECONDS:
            return Told()
        return Told(tuple(found["roots"].get(member, ())), tuple(found["issuers"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Told()


def _der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode("ascii").strip())
