"""The certificate authorities of a lab, where one machine stands in for every ministry."""

from __future__ import annotations

from pathlib import Path

from paranal.agreement import Agreement, member_view
from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority
from paranal.pki.storage import ensure_passphrase


def ensure(lab: Path, agreement: Agreement) -> list[str]:
    """Make sure that every member of the agreement has its authority and has published it.

    ``lab`` is ``.lab/NAME``. An existing authority is kept, its due lists are renewed. Returns
    what changed, relative to ``lab``; a second call returns nothing. Refuses (PAR-0401) an
    authority that was made for another domain.
    """
    changed = []
    for member in sorted(agreement.members):
        domain = member_view(agreement, member)["member"]["domain"]
        directory = lab / "ca" / member
        passphrase = ensure_passphrase(lab / "ca" / f"{member}.passphrase")
        if not directory.exists():
            CertificateAuthority.create(directory, member, domain, passphrase)
            changed.append(str(directory.relative_to(lab)))
        authority = CertificateAuthority(directory, passphrase)
        if (authority.member, authority.domain) != (member, domain):
            raise Refusal("PAR-0401", directory=directory, reason=authority.domain)
        authority.crl()
        published = authority.publish(lab / "agreement")
        changed += [f"agreement/{relative}" for relative in published]
    return changed
