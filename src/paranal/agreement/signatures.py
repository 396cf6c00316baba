"""Signatures on an agreement: OpenSSH's (``ssh-keygen -Y``), made and checked by OpenSSH itself.

What is signed is the canonical content and the digest of the agreement that it replaces, so that a
signature binds the change that its signer was shown. A signer is a member's code, the principal of
the ``allowed_signers`` file (ssh-keygen(1)) that each national inventory pins.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from paranal.messages import Refusal

NAMESPACE = "paranal-agreement"
_PUBLIC = re.compile(
    r"(?:sk-)?(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521))(?:@openssh\.com)?"
    r" [A-Za-z0-9+/]+={0,2}(?: [\w.@+-]+)*"
)
"""One public key as ``ssh-keygen`` writes it; not RSA, whose strength its name does not tell."""


def sign(content: bytes, key: Path) -> str:
    """Return the armoured signature of ``content`` by ``key``.

    ``key`` is a private key, or a public one whose private half an agent or a token holds; a
    passphrase is asked for by ssh-keygen. Raises ``Refusal`` PAR-0144.
    """
    done = _ssh_keygen(["-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)], content)
    if done.returncode != 0:
        raise Refusal("PAR-0144", key=key, reason=_reason(done))
    return done.stdout.decode("ascii")


def check(content: bytes, signature: str, member: str, allowed: Path) -> None:
    """Refuse a signature that is not ``member``'s on ``content``.

    Raises ``Refusal`` PAR-0145 (no list of signers) or PAR-0146 (not by a key that it has).
    """
    if not allowed.is_file():
        raise Refusal("PAR-0145", path=allowed)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "signature"
        file.write_text(signature, encoding="utf-8")
        argv = ["-Y", "verify", "-n", NAMESPACE, "-f", str(allowed), "-I", member, "-s", str(file)]
        done = _ssh_keygen(argv, content)
    if done.returncode != 0:
        raise Refusal("PAR-0146", member=member, path=allowed, reason=_reason(done))


def listed(member: str, public: str) -> str:
    """Return the line of ``allowed_signers`` by which ``member`` signs with this key."""
    return f'{member} namespaces="{NAMESPACE}" {public.strip()}\n'


def fingerprint(public: str) -> str | None:
    """Return what two people compare by voice of a public key; None when it is not one.

    What is not one may be a private key that somebody took for it: it is never repeated.
    """
    if not _PUBLIC.fullmatch(public.strip()):
        return None
    done = _ssh_keygen(["-l", "-f", "/dev/stdin"], public.strip().encode() + b"\n")
    return done.stdout.decode().split()[1] if done.returncode == 0 else None


def make_key(path: Path, comment: str) -> None:
    """Make a signing key at ``path`` (Ed25519, without a passphrase) and ``path.pub``."""
    argv = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    done = _ssh_keygen(argv, b"")
    if done.returncode != 0:
        raise Refusal("PAR-0144", key=path, reason=_reason(done))


def _ssh_keygen(argv: list[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - a fixed program, no shell
        ["ssh-keygen", *argv],  # noqa: S607 - OpenSSH's, wherever the system has it
        input=content,
        capture_output=True,
        check=False,
    )


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return ssh-keygen's last word on it, on one line."""
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"ssh-keygen: {done.returncode}"
