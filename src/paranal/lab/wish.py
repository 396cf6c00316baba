"""What an ``up`` asks for, and whether the agreement and a running lab can be that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paranal.lab import machine
from paranal.lab.lab import Lab
from paranal.messages import Refusal

if TYPE_CHECKING:
    from paranal.agreement import Agreement

DEFAULT_AGREEMENTS = {None: "pacific-alliance", "userspace": "pacific-alliance", "kernel": "kernel"}
"""By the data plane that is asked for."""
DEFAULT_SUITE = "trixie"


@dataclass(frozen=True)
class Wish:
    """What an ``up`` asks for; None leaves it to a running lab, or to the default."""

    members: tuple[str, ...] | None = None
    agreement: str | None = None
    suites: Mapping[str, str] | None = None
    """Member -> suite of its image; under "" that of all others."""
    crypto_profile: str | None = None
    """Of every pair, in the lab's own copy of the agreement."""
    data_plane: str | None = None
    foreign: tuple[str, ...] = ()
    """Members whose gateway is a machine of another make; no role provisions it."""
    translated: tuple[str, ...] | None = None
    """Members behind a 1:1 translation of their WAN address."""

    def suite(self, member: str) -> str:
        """Return the suite of one member's image, or of what is nobody's (``""``)."""
        default = "forky" if self.crypto_profile == "hybrid" else DEFAULT_SUITE
        suites = self.suites or {}
        return suites.get(member, suites.get("", default))


def read_wish(lab: Lab, wish: Wish) -> tuple[Agreement, list[str]]:
    """Return the agreement (a file, or a word: ``agreement/WORD.yml``) and the members wished."""
    from paranal.agreement import load  # its checks take time that a running lab need not spend

    chosen = wish.agreement or DEFAULT_AGREEMENTS[wish.data_plane]
    named = lab.home.root / "agreement" / f"{chosen}.yml"
    agreement = load(named if named.exists() else Path(chosen))
    if wish.crypto_profile:
        agreement = with_profile(agreement, wish.crypto_profile)
    members = sorted(set(wish.members or agreement.members))
    for member in {*members, *(wish.suites or {})} - {""}:
        if member not in agreement.members:
            known = ", ".join(sorted(agreement.members))
            raise Refusal("PAR-0106", where=agreement.path, member=member, members=known)
    for member in wish.translated or ():
        if member not in members:
            raise Refusal("PAR-0213", part=member, lab=lab.name, parts=", ".join(members))
    _check_plane(agreement, members, wish)
    return agreement, members


def with_profile(agreement: Agreement, profile: str) -> Agreement:
    """Return the agreement with one crypto profile for every pair."""

    def own() -> dict[str, Any]:
        # Each pair's is its own: what two of them shared would be written as an alias of YAML.
        key = {"ppk": {"generation": 1}} if profile == "ppk" else {}
        return {"crypto_profile": profile, **key}

    declared = agreement.document["pairs"]
    pairs = [{key: pair[key] for key in pair if key != "ppk"} | own() for pair in declared]
    return replace(agreement, document={**agreement.document, "pairs": pairs})


def check_wish(lab: Lab, facts: Mapping[str, Any], wish: Wish) -> None:
    """Refuse (PAR-0208) what a running lab cannot become without losing what is in it."""
    differences = []
    if wish.members and sorted(set(wish.members)) != sorted(facts["members"]):
        differences.append(f"--members {','.join(sorted(facts['members']))}")
    if wish.agreement or wish.crypto_profile or wish.data_plane:
        agreement, _ = read_wish(lab, wish)
        if agreement.digest != facts["agreement"]["digest"]:
            differences.append(f"--agreement {facts['agreement']['source']}")
    suites = {code: node["suite"] for code, node in facts["members"].items()}
    if wish.suites and any(wish.suite(code) != suite for code, suite in suites.items()):
        differences.append("--image " + ",".join(f"{code}={it}" for code, it in suites.items()))
    foreign = sorted(code for code, node in facts["members"].items() if "foreign" in node)
    if wish.foreign and sorted(wish.foreign) != foreign:
        differences.append(f"--foreign {','.join(foreign)}")
    translated = {code for code, node in facts["members"].items() if "wan_local_address" in node}
    if wish.translated is not None and set(wish.translated) != translated:
        differences.append(f"--nat {','.join(sorted(translated))}")
    if differences:
        raise Refusal("PAR-0208", lab=lab.name, options=" ".join(differences))


def _check_plane(agreement: Agreement, members: Sequence[str], wish: Wish) -> None:
    """Refuse (PAR-0211, PAR-0230, PAR-0231) what the agreement's data planes do not give."""
    planes = {code: agreement.members[code]["data_plane"] for code in members}
    found = {"where": agreement.path, "members": ", ".join(f"{c}: {planes[c]}" for c in members)}
    if wish.data_plane == machine.PLANE and machine.PLANE not in planes.values():
        raise Refusal("PAR-0211", **found)
    if wish.data_plane == "userspace" and machine.PLANE in planes.values():
        raise Refusal("PAR-0230", **found)
    for code in wish.foreign:
        if planes.get(code) != machine.PLANE:
            raise Refusal("PAR-0231", where=agreement.path, member=code)
