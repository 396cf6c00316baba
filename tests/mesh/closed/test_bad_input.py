"""A file that a hand broke is named, changes nothing that runs, and opens nothing at a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from paranal.lab.lab import Lab
from tests.mesh.conftest import AGREEMENT
from tests.mesh.support import (
    by_hand,
    changed_by,
    eventually,
    every_spi,
    on_node,
    played,
    tunnels_up,
)

pytestmark = [
    pytest.mark.req("R6", "B3"),
    pytest.mark.skipif(AGREEMENT == "all-live", reason="a node reads alike under either agreement"),
]
CONNECTIONS = "/etc/swanctl/conf.d/paranal.conf"
RULES = "/etc/paranal/firewall.nft"
BROKEN: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "truncated": lambda text: text[: text.rindex("}") // 2],
    "wrongly encoded": lambda text: text[:4000].encode("utf-16-le").decode("latin-1"),
    "a section twice": lambda text: text + text[text.index("{") - 20 :],
}
BACK_SECONDS = 60


@pytest.fixture(scope="module")
def pe(lab: Lab, nodes: dict[str, Host]) -> Iterator[Host]:
    """Peru's node; afterwards the next run has put its files right."""
    with by_hand(nodes["pe"], "line-check"):
        yield nodes["pe"]
    assert changed_by(played(lab, "--limit", "pe")) == {"pe": {"firewall", "ipsec"}}
    assert eventually(lambda: tunnels_up(nodes["pe"], ["co", "mx"]), BACK_SECONDS)
    assert changed_by(played(lab, "--limit", "pe")) == {}


@pytest.fixture(scope="module")
def whole(pe: Host) -> dict[str, str]:
    """What the two files are before anybody breaks them."""
    return {path: pe.file(path).content_string for path in (CONNECTIONS, RULES)}


def _codes(node: Host) -> str:
    shown = node.run("paranal status --json")
    assert shown.rc == 1
    return str(shown.stdout)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_named_and_what_runs_goes_on(
    pe: Host, whole: dict[str, str], how: str
) -> None:
    before, rules = every_spi(pe), pe.check_output("nft --stateless list table inet paranal")
    on_node(pe, "write", files={path: BROKEN[how](text) for path, text in whole.items()})
    named = _codes(pe)
    assert {code for code in ("PAR-0733", "PAR-0734") if code in named} == {"PAR-0733", "PAR-0734"}
    verified = pe.run("paranal tunnels verify")
    assert (verified.rc, CONNECTIONS in verified.stderr) == (3, True)
    pe.check_output("paranal tunnels heal")
    pe.check_output("paranal firewall heal")
    assert pe.run("systemctl reload paranal-firewall.service").rc != 0
    told = pe.check_output("journalctl --unit=paranal-firewall.service --lines=5 --output=cat")
    assert "PAR-0733" in told
    assert pe.check_output("nft --stateless list table inet paranal") == rules
    assert every_spi(pe) == before


def test_charon_that_restarts_on_a_broken_file_is_shut_and_named(
    pe: Host, whole: dict[str, str]
) -> None:
    on_node(pe, "write", files={CONNECTIONS: BROKEN["truncated"](whole[CONNECTIONS])})
    with by_hand(pe, "heal"):
        pe.run("systemctl restart strongswan.service")
        answer = pe.run("swanctl --list-conns")
        assert (answer.rc != 0, answer.stdout) in ((True, ""), (False, "")), "it loaded something"
        assert "PAR-0734" in _codes(pe)
