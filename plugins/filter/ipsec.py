"""Filters of the role ipsec: what a node lacks for the tunnels that the agreement declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.plugins.test.core import version_compare

from paranal.messages import Refusal

# The first with ML-KEM, by OpenSSL 3.5.
HYBRID_SINCE = "6.0.2"


def ipsec_problems(
    probe: Mapping[str, Any], view: Mapping[str, Any], missing: Iterable[str], keys: str
) -> list[str]:
    """Return, in the catalogue's words, why this node cannot carry the member's tunnels.

    ``missing`` are the packages that neither the node has nor role base installs in this run,
    ``keys`` is the country's own directory of preshared keys.
    """
    return [str(problem) for problem in _problems(probe, view, missing, keys)]


def _problems(
    probe: Mapping[str, Any], view: Mapping[str, Any], missing: Iterable[str], keys: str
) -> Iterator[Refusal]:
    member = view["member"]
    code, plane = member["code"], member["data_plane"]
    if packages := ", ".join(missing):
        yield Refusal("PAR-0715", member=code, role="ipsec", packages=packages)
    planes = probe.get("tunnels", {}).get("planes", [])
    if plane not in planes:
        there = ", ".join(planes) or "-"
        yield Refusal("PAR-0716", member=code, plane=plane, there=there)
    declared = {peer["pair"].get("ppk") for peer in view["peers"]} - {None}
    # Only its name is looked for: the run opens it, and refuses by itself what does not open.
    if absent := ", ".join(sorted(name for name in declared if not _holds(keys, name))):
        yield Refusal("PAR-0717", member=code, keys=absent, directory=keys)
    # None when role base has just installed it: then charon itself refuses what it does not know.
    charon = probe["packages"].get("charon-systemd", "")
    if charon and not _has_hybrid(charon) and (pairs := _pairs(view, "hybrid")):
        yield Refusal(
            "PAR-0718", member=code, pairs=pairs, found=charon, wanted=f"strongSwan {HYBRID_SINCE}"
        )


def _holds(directory: str, name: str) -> bool:
    return (Path(directory) / f"{name}.vault").exists()


def _pairs(view: Mapping[str, Any], profile: str) -> str:
    """Return the member's pairs with this crypto profile, in words."""
    pairs = [peer["pair"] for peer in view["peers"]]
    return ", ".join(pair["name"] for pair in pairs if pair["crypto_profile"] == profile)


def _has_hybrid(version: str) -> bool:
    """Say whether this strongSwan surely knows the hybrid profile."""
    try:
        return bool(version_compare(version, HYBRID_SINCE, ">="))  # type: ignore[no-untyped-call]
    except AnsibleFilterError:
        # A word where the other has a number (6.0~rc1): not provably new enough.
        return False


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"ipsec_problems": ipsec_problems}
