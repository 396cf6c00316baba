"""No secret of one country is anywhere but with it: every node, post and controller is searched."""

from __future__ import annotations

import pytest

from paranal.lab import names, people
from paranal.lab.controllers import Controller
from paranal.lab.lab import Lab
from tests.mesh.conftest import MEMBERS
from tests.mesh.sovereign.support import ask, on_host, on_part, secrets

pytestmark = [pytest.mark.req("B1"), pytest.mark.quick]
Own = dict[str, Controller]


@pytest.fixture(scope="session")
def known(lab: Lab, own: Own, whole: dict[str, str]) -> dict[str, set[str]]:
    """Each country's secrets; those of its officers too, who asked from its posts only."""
    for code in MEMBERS:
        ask(lab, code, [c for c in MEMBERS if c != code], people.DEMO_CLEAN_MRZ, officer(code))
        lab.exec(code, "runuser", "-u", "postgres", "--", "psql", "-qc", "checkpoint")
    return {code: secrets(lab, one) | {officer(code)} for code, one in own.items()}


def officer(code: str) -> str:
    return f"habilitado-{code}-5d2f81"


def of_others(known: dict[str, set[str]], member: str) -> set[str]:
    return {text for code, texts in known.items() if code != member for text in texts}


def test_every_country_has_secrets_and_shares_none(known: dict[str, set[str]]) -> None:
    counted = {code: len(texts) for code, texts in known.items()}
    different = len(set().union(*known.values()))
    assert min(counted.values()) > 20
    assert different == sum(counted.values())


def test_a_node_holds_its_own_secrets_only(
    lab: Lab, known: dict[str, set[str]], member: str
) -> None:
    assert len(on_part(lab, member, known[member])) >= 4
    assert on_part(lab, member, {officer(member)})
    found = on_part(lab, member, of_others(known, member))
    assert not found


def test_a_post_holds_its_own_secrets_only(
    lab: Lab, known: dict[str, set[str]], member: str
) -> None:
    assert on_part(lab, names.border(member), known[member])
    found = on_part(lab, names.border(member), of_others(known, member))
    assert not found


def test_a_controller_holds_its_own_secrets_only(
    own: Own, known: dict[str, set[str]], member: str
) -> None:
    assert len(on_host(own[member].home, known[member])) >= 4
    found = on_host(own[member].home, of_others(known, member))
    assert not found


def test_what_lies_between_them_holds_no_secret(lab: Lab, known: dict[str, set[str]]) -> None:
    everything = set().union(*known.values())
    found = on_host(lab.home.folder, everything)
    assert not found
    found = on_part(lab, names.WAN, everything)
    assert not found


def test_no_secret_leaves_a_country_for_its_own_node(
    lab: Lab, own: Own, known: dict[str, set[str]], member: str
) -> None:
    """What signs stays on the controller: neither passphrase nor key of the authority is copied."""
    home = {text for text in known[member] if on_host(own[member].home, {text})}
    assert home
    found = on_part(lab, member, home - {officer(member)})
    assert not found


def test_the_scan_finds_what_is_planted(lab: Lab, own: Own, known: dict[str, set[str]]) -> None:
    key = own["co"].half / "ca" / "co" / "issuing" / "key.pem"
    lab.exec("mx", "dd", "of=/var/tmp/planted", "status=none", given=key.read_bytes())
    planted = own["pe"].receive(key, "planted")
    try:
        assert on_part(lab, "mx", of_others(known, "mx")) == ["/var/tmp/planted"]  # noqa: S108
        assert on_host(own["pe"].home, of_others(known, "pe")) == [str(planted)]
    finally:
        lab.exec("mx", "rm", "/var/tmp/planted")  # noqa: S108
        planted.unlink()
