"""The relief of a country's authority by its next generation: who issues now, and what may go.

Pure, but for the look at the directories. The agreement and what stands on the node say how far it
has come (docs/adr/0019): both roots named, every peer trusts both; the node's leaves of the new
one; only the new root named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paranal.messages import Refusal

_GENERATION = re.compile(r"(?P<base>.+?)(-g(?P<number>[1-9][0-9]*))?")


@dataclass(frozen=True)
class Generation:
    """One authority of this country: where it is, and the SHA-256 (hex) of its certificates."""

    directory: Path
    root: str
    issuing: str


def directories(directory: Path) -> list[Path]:
    """Return the directories of all generations beside each other: ``ca/pe``, ``ca/pe-g2``.

    ``directory`` is any of them, and is all that is returned where there is none.
    """
    base = _split(directory)[0]
    there = [directory.with_name(base), *directory.parent.glob(f"{base}-g*")]
    found = [path for path in there if (path / "ca.json").exists() and _split(path)[0] == base]
    return sorted(found, key=lambda path: _split(path)[1]) or [directory]


def passphrase_file(given: Path, directory: Path) -> Path:
    """Return a generation's passphrase file: ``pe.passphrase`` is the first's, or ``pe-g2``'s."""
    base, number = _split(given.with_suffix(""))[0], _split(directory)[1]
    return given.with_name(f"{base}{'' if number == 1 else f'-g{number}'}{given.suffix}")


def in_use(
    here: Sequence[Generation],
    agreed: Collection[str],
    issued_by: Collection[str],
    is_asked: bool,
    lacking: Callable[[str], Collection[str]],
) -> Generation:
    """Return the authority that issues this node's leaves.

    ``here`` are this country's, the oldest first, ``agreed`` the roots that the agreement names,
    ``issued_by`` the issuing CAs of the leaves on the node. The newest issues when the operator
    asked for it (``is_asked``) or the agreement names no other, and from its first leaf on for
    good: what a crash cut short goes on with it. Refuses (PAR-0450) to begin with one that is not
    the leaves' own while ``lacking``, which is asked only then, names a peer that does not say that
    it trusts its root; what ``lacking`` refuses is refused.
    """
    named = [one for one in here if one.root in agreed] or list(here[:1])
    newest = named[-1]
    elders = [one for one in here if one != newest and (one in named or one.issuing in issued_by)]
    if newest.issuing in issued_by or not elders:
        return newest
    used = newest if is_asked or elders[-1] not in named else elders[-1]
    if used is not newest and (used.issuing in issued_by or not issued_by):
        return used
    if missing := sorted(lacking(used.root)):
        raise Refusal("PAR-0450", missing=", ".join(missing), root=used.root[:16])
    return used


def must_trust(view: Mapping[str, Any]) -> list[str]:
    """Return the peers that a rollover waits for: those with anything open.

    One that this member suspended (ADR 0016) has nothing open, with its reason in the record.
    """
    return sorted(peer["code"] for peer in view.get("peers", []) if peer["pair"]["channels"])


def not_trusting(pairs: Mapping[str, Any], wanted: Collection[str], root: str) -> list[str]:
    """Return which peers say, in ``paranal control parity``'s data, that they do not trust a root.

    Refuses (PAR-0478) while one of ``wanted`` says nothing: silence is no trust.
    """
    told = {one["theirs"]["member"]: one["theirs"] for one in pairs.values() if one["theirs"]}
    if silent := sorted(set(wanted) - told.keys()):
        raise Refusal("PAR-0478", silent=", ".join(silent), root=root[:16])
    return [code for code in wanted if root not in told[code].get("trusts", ())]


def trusted_roots(probe: Mapping[str, Any], member: str) -> set[str]:
    """Return the roots of ``member`` (SHA-256, hex) that the node trusts already, as probed."""
    trusted = probe.get("certificates", {}).get("trust", {}).get(member, {})
    return {record["sha256"] for name, record in trusted.items() if name.endswith("root")}


def refuse_removal(
    member: str,
    agreed: Collection[str],
    trusted: Collection[str],
    chains: Mapping[str, Collection[str]] | None,
) -> None:
    """Refuse (PAR-0451) to lose a root of ``member`` that a live IKE_SA still chains to.

    ``trusted`` are the roots that the node trusts now. ``chains`` is the probe's: by peer the
    SHA-256 (hex) of the roots that its IKE_SAs stand on; None where charon could not be asked, and
    then none goes (PAR-0452).
    """
    if chains is None:
        for root in sorted(set(trusted) - set(agreed)):
            raise Refusal("PAR-0452", member=member, root=root[:16])
        return
    for root in sorted(set(chains.get(member, ())) - set(agreed)):
        raise Refusal("PAR-0451", member=member, root=root[:16])


def refuse_leaves(
    member: str, root: str, issuing: Collection[str], told: Collection[str] | None
) -> None:
    """Refuse (PAR-0453) to lose ``root`` of ``member`` while it uses a leaf that chains to it.

    ``issuing`` are the issuing CAs under the roots that stay, ``told`` those whose leaves it says
    that it uses: IKE, TLS and signing alike. None, for it says nothing, is refused (PAR-0454).
    """
    if not told:
        raise Refusal("PAR-0454", member=member, root=root[:16])
    if set(told) - set(issuing):
        raise Refusal("PAR-0453", member=member, root=root[:16])


def _split(path: Path) -> tuple[str, int]:
    match = _GENERATION.fullmatch(path.name)
    return (match["base"], int(match["number"] or 1)) if match else (path.name, 1)
