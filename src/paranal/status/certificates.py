"""Our own leaves and the revocation lists on this node, by their dates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography import x509

from paranal.status.facts import Certificate, Crl

LEAVES = {
    "ike": Path("/etc/swanctl/x509/ike.pem"),
    "operational": Path("/etc/haproxy/paranal/operational.pem"),
    "national": Path("/etc/haproxy/paranal/national.pem"),
    "asker": Path("/etc/paranal/tls/asker.pem"),
    "strategic": Path("/etc/haproxy/paranal/strategic.pem"),
    "control": Path("/etc/paranal/tls/control.pem"),
    "asker-signer": Path("/etc/paranal/signing/asker.pem"),
    "answerer-signer": Path("/etc/paranal/signing/answerer.pem"),
}
"""Name -> file; a file with more than one certificate has the leaf first."""

CRLS = Path("/etc/swanctl/x509crl")


def read_leaves(paths: Mapping[str, Path] = LEAVES) -> tuple[Certificate, ...]:
    """Return the leaves that are there; raises ``OSError`` or ``ValueError`` for a bad one."""
    found = []
    for name, path in paths.items():
        if path.exists():
            leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
            found.append(
                Certificate(name, str(path), leaf.not_valid_before_utc, leaf.not_valid_after_utc)
            )
    return tuple(found)


def read_crls(countries: Iterable[str], folder: Path = CRLS) -> tuple[Crl, ...]:
    """Return both lists of each generation of each country's authority, those that are there.

    A list without a next update counts as due at once: nobody could tell a stale one from it.
    Raises ``OSError`` or ``ValueError`` for a bad one.
    """
    found = []
    for country in countries:
        for authority in ("root", "issuing"):
            for path in sorted(folder.glob(f"{country}*-{authority}.crl")):
                crl = _crl(path.read_bytes())
                due = crl.next_update_utc or crl.last_update_utc
                found.append(Crl(country, authority, crl.last_update_utc, due))
    return tuple(found)


def _crl(data: bytes) -> x509.CertificateRevocationList:
    if data.startswith(b"-----"):
        return x509.load_pem_x509_crl(data)
    return x509.load_der_x509_crl(data)
