"""Where the service leaves lists for root, one file for each authority of each member.

The directory is the service's own, so root follows no link in it and reads no more than a list can
have, and what it takes it verifies again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from paranal.messages import Refusal
from paranal.pki.lists import OCTETS_MAX, News
from paranal.pki.storage import write_atomic

INBOX = Path("/var/lib/paranal/control")


def put(news: News, folder: Path) -> None:
    """Leave a list in the inbox, over an older one; raises ``Refusal`` PAR-0910."""
    path = folder / news.file
    try:
        write_atomic(path, news.crl.public_bytes(Encoding.PEM), 0o644)
    except OSError as error:
        raise Refusal("PAR-0910", path=path, reason=error.strerror) from None


def waiting(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each file of the inbox with its content; what cannot be read as one is empty."""
    for path in sorted(folder.glob("*")):
        yield path, content(path, OCTETS_MAX)


def content(path: Path, limit: int) -> bytes:
    """Return a file of a directory that is not root's, no more than ``limit`` octets and one.

    What is no regular file there (a link, a pipe) is empty, as what is missing.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(limit + 1)


def drop(path: Path) -> Refusal | None:
    """Remove what was looked at; return why it stays (PAR-0910), a directory for one."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return Refusal("PAR-0910", path=path, reason=error.strerror)
    return None
