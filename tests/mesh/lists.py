"""Revocation lists in the lab: an authority signs its next one, and a node shows what it holds."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from testinfra.host import Host

from paranal.lab.lab import Lab
from paranal.pki import certificates
from paranal.pki.authority import CertificateAuthority, utc_now
from paranal.pki.storage import read_passphrase
from tests.mesh.forgery import issuing_of
from tests.mesh.support import on_node

FILE = "/run/list.crl"
DAY = timedelta(days=1)


def authority_of(lab: Lab, member: str) -> CertificateAuthority:
    """Open a country's own authority, able to sign."""
    directory = lab.home.folder / "ca" / member
    return CertificateAuthority(directory, read_passphrase(directory.with_suffix(".passphrase")))


def next_list(lab: Lab, member: str) -> tuple[int, str]:
    """Have a country sign and publish its next list; return its number and text (PEM)."""
    authority = authority_of(lab, member)
    authority._issuing.sign_crl(utc_now())
    return published(lab, authority)


def published(lab: Lab, authority: CertificateAuthority) -> tuple[int, str]:
    """Publish a country's lists as they are; return number and text of the issuing CA's."""
    authority.publish(lab.home.agreement.parent)
    crl = authority.lists()["issuing"]
    return certificates.crl_number(crl), crl.public_bytes(Encoding.PEM).decode()


def expired(lab: Lab, member: str, number: int) -> str:
    """Return a list that ended yesterday, signed by a country's own key."""
    crl = certificates.revocation_list(
        *issuing_of(lab, member), number, [], utc_now() - 2 * DAY, DAY
    )
    return crl.public_bytes(Encoding.PEM).decode()


def foreign(folder: Path, member: str, domain: str) -> str:
    """Return a list of another authority in a country's own name."""
    authority = CertificateAuthority.create(folder / member, member, domain, b"of nobody")
    return authority.lists()["issuing"].public_bytes(Encoding.PEM).decode()


def brought(node: Host, text: str, file: str = FILE) -> str:
    """Put a list onto a node, as an operator brings it; return where it is."""
    on_node(node, "write", files={file: text})
    return file


def held(node: Host, member: str) -> int:
    """Return the number of a country's issuing list that a node has installed."""
    record = json.loads(node.check_output("cat /etc/paranal/trust.json"))
    return int(record[member]["issuing"]["number"])


def counts(node: Host, member: str, text: str) -> bool:
    """Tell whether charon and HAProxy themselves hold a country's list."""
    crl = x509.load_pem_x509_crl(text.encode())
    number = f"{certificates.crl_number(crl):x}"
    told = node.check_output("swanctl --list-certs --type x509_crl").replace(":", "")
    asked = "from paranal.haproxy import ask; print(ask('show ssl crl-file {}'))"
    shown = node.check_output("python3 -c %s", asked.format(f"/etc/haproxy/paranal/{member}.crl"))
    # HAProxy shows no number; the root's list, in the same file, is of another second.
    begin = f"{crl.last_update_utc:%b %e %H:%M:%S %Y} GMT"
    return f"serial    {number}" in told and f"Last Update: {begin}" in shown
