"""Enrol a border post: its key is made on the post and never leaves it.

Two halves. ``enrol`` runs beside the authority and reaches the post through a command prefix
(``ssh post-1``, ``docker exec -i ...``). On the post it calls ``python3 -m paranal.pki.post``,
which knows three words: ``held`` shows the leaf, ``request`` makes a key and its request,
``install`` puts certificate, CA and settings in place.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from paranal.agreement.address import endpoint
from paranal.messages import Refusal
from paranal.pki import certificates
from paranal.pki.authority import RENEW_AT_FRACTION, CertificateAuthority, key_digest
from paranal.pki.renewal import is_due
from paranal.pki.rollover import directories
from paranal.pki.storage import write_atomic

NATIONAL_PORT = 7440
SETTINGS = Path("/etc/paranal/post.json")
CREDENTIALS = Path("/etc/paranal/tls/post.pem")
"""Key, leaf and issuing CA in one file, so that one rename replaces the pair."""
CA = Path("/etc/paranal/tls/ca.pem")

Run = Callable[[Sequence[str], bytes], bytes]
"""Runs a command on the post with standard input; returns its output; raises when it fails."""


def enrol(
    run: Run,
    opened: Callable[[], CertificateAuthority],
    member: Mapping[str, Any],
    post: str,
    issued_before: datetime | None = None,
) -> dict[str, Any]:
    """Give a post its credentials and settings; return ``{"post", "issued": serial or None}``.

    ``member`` is the ``member`` part of the country's view, ``opened`` returns the authority able
    to sign. A post whose leaf is good is left alone but for its settings; one issued before
    ``issued_before`` is not good. Refusals: PAR-0404 to
    PAR-0417, PAR-0426.
    """
    authority = opened()
    name = f"{post}.{member['domain']}"
    settings = {
        "national_url": f"https://{endpoint(member['addresses']['national'], NATIONAL_PORT)}",
        "server_name": f"n.{member['domain']}",
        "ca": str(CA),
        "certificate": str(CREDENTIALS),
        "key": str(CREDENTIALS),
        "member": member["code"],
        "post": post,
    }
    given: dict[str, str] = {
        "settings": json.dumps(settings, indent=1, sort_keys=True) + "\n",
        "ca": "".join(_trusted(authority, member.get("roots", []))),
    }
    serial = None
    if not _is_good(_ask(run, post, "held", b""), name, authority, issued_before):
        request = _ask(run, post, "request", name.encode())
        issued = authority.issue(request, "post", [name])
        given["chain"] = issued.chain_pem.decode()
        serial = f"{issued.certificate.serial_number:x}"
    _ask(run, post, "install", json.dumps(given).encode())
    return {"post": name, "issued": serial}


def _trusted(authority: CertificateAuthority, agreed: Sequence[str]) -> list[str]:
    """Return the roots (PEM) that a post trusts: each generation's that the agreement names."""
    beside = [CertificateAuthority(one).root for one in directories(authority.directory)]
    roots = [root for root in beside if certificates.fingerprint(root) in agreed]
    return [root.public_bytes(Encoding.PEM).decode() for root in roots or [authority.root]]


def _ask(run: Run, post: str, word: str, given: bytes) -> bytes:
    try:
        return run(["python3", "-m", "paranal.pki.post", word], given)
    except OSError as error:
        raise Refusal("PAR-0426", post=post, reason=error) from None


def _is_good(
    pem: bytes, name: str, authority: CertificateAuthority, issued_before: datetime | None
) -> bool:
    """Say whether a post's leaf is ours, for that name, not revoked, young and with life left.

    What cannot be read is no leaf: a post is asked for a new request, whatever it showed.
    """
    try:
        leaf = x509.load_pem_x509_certificate(pem)
        names = certificates.names_of(leaf)
    except certificates.MALFORMED:
        return False
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    serial = f"{leaf.serial_number:x}"
    revoked = {entry["serial"] for entry in authority.issued() if entry["revoked"]}
    return (
        certificates.is_issued_by(leaf, authority.issuing)
        and names == (name,)
        and serial not in revoked
        and (issued_before is None or start + certificates.BACKDATE >= issued_before)
        and not is_due(start, end, RENEW_AT_FRACTION, datetime.now(UTC))
    )


# --- on the post ----------------------------------------------------------------------------------


def held(root: Path = Path("/")) -> bytes:
    """Return the post's leaf (PEM), empty when it has none or the key does not fit."""
    try:
        content = _below(root, CREDENTIALS).read_bytes()
        leaf = x509.load_pem_x509_certificate(content)
        key = load_pem_private_key(content, None)
    except (OSError, *certificates.MALFORMED):
        return b""
    if key_digest(key.public_key()) != key_digest(leaf.public_key()):
        return b""
    return leaf.public_bytes(Encoding.PEM)


def request(name: str, root: Path = Path("/")) -> bytes:
    """Make a new key, keep it aside, and return its signing request (PEM)."""
    key = certificates.new_key()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    waiting = _waiting(root)
    waiting.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(waiting, pem)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA384())
    return signed.public_bytes(Encoding.PEM)


def install(given: Mapping[str, str], root: Path = Path("/")) -> None:
    """Put ``{"settings", "ca", "chain"?}`` in place; refuse (PAR-0422) another key's chain."""
    if "chain" in given:
        chain = given["chain"].encode()
        key_pem = _waiting(root).read_bytes()
        key = load_pem_private_key(key_pem, None)
        leaf = x509.load_pem_x509_certificate(chain)
        if key_digest(key.public_key()) != key_digest(leaf.public_key()):
            raise Refusal("PAR-0422", name=", ".join(certificates.names_of(leaf)))
        write_atomic(_below(root, CREDENTIALS), key_pem + chain)
        _waiting(root).unlink()
    for path, word in ((CA, "ca"), (SETTINGS, "settings")):
        target = _below(root, path)
        content = given[word].encode()
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, content, 0o644)


def _waiting(root: Path) -> Path:
    return _below(root, CREDENTIALS.with_suffix(".key"))


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def main(argv: Sequence[str]) -> int:
    """Do one word on the post: ``held``, ``request`` or ``install``."""
    given = sys.stdin.buffer.read()
    if argv == ["held"]:
        sys.stdout.buffer.write(held())
    elif argv == ["request"]:
        sys.stdout.buffer.write(request(given.decode().strip()))
    elif argv == ["install"]:
        install(json.loads(given))
    else:
        sys.stderr.write("held | request | install\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
