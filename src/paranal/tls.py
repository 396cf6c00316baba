"""The TLS that a member's machine opens to a peer's: 1.3, one country's CA, revocation required."""

from __future__ import annotations

import ssl
from pathlib import Path


def tls_context(credentials: Path, ca: Path, crl: Path) -> ssl.SSLContext:
    """Return a client context: TLS 1.3, our leaf, one country's CA and its revocation lists.

    ``credentials`` holds key, leaf and issuing CA; every certificate of the peer's chain must have
    its list in ``crl``. Raises ``OSError`` or ``ssl.SSLError`` for files that do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=ca)
    context.load_verify_locations(cafile=crl)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    context.load_cert_chain(credentials)
    return context
