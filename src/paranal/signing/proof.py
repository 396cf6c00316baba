"""``python3 -m paranal.signing.proof FILE``: what this account signs opens as its own country's.

A rotation runs it as the account of the service that signs (role ``pki``): the account reads the
file, key and leaf belong together, and a peer that trusts what this node trusts opens the envelope.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from paranal.messages import Refusal
from paranal.pki.peers import HAPROXY
from paranal.serving.view import Member, View, load
from paranal.signing.envelope import opened, read_signer, sign
from paranal.signing.trust import Senders

TYP = "paranal-proof+jws"
"""An envelope of this kind is asked for by nobody else, so it is worth nothing elsewhere."""


def proven(path: Path, member: Member, trust: Path, now: datetime) -> x509.Certificate:
    """Return the leaf that signed, with the key in ``path``, what opens as ``member``'s.

    Refuses as ``envelope.read_signer``, ``trust.Senders`` and ``envelope.opened`` do.
    """
    envelope = sign(TYP.encode(), TYP, read_signer(path))
    return opened(envelope.encode(), TYP, Senders(trust)(member), now).leaf


def main(argv: list[str] | None = None) -> int:
    """Print the leaf's SHA-256 (hex) and return 0, or say the refusal and return 3."""
    parser = argparse.ArgumentParser(prog="python3 -m paranal.signing.proof", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--view", type=Path, default=Path("/etc/paranal/view.json"))
    parser.add_argument("--trust", type=Path, default=Path(HAPROXY))
    args = parser.parse_args(argv)
    try:
        member = load(args.view, View).member
        leaf = proven(args.file, member, args.trust, datetime.now(UTC))
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 3
    sys.stdout.write(f"{leaf.fingerprint(hashes.SHA256()).hex()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
