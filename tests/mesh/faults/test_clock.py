"""A clock off by a day: a certificate from tomorrow is refused with a reason, and nothing ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from testinfra.host import Host

from paranal.lab.lab import Lab
from tests.mesh.faults.support import carries, kept, pairs_without, until
from tests.mesh.forgery import forge
from tests.mesh.support import Views, by_hand, on_node, sas_with

KEY, LEAF = "/etc/swanctl/private/ike.key", "/etc/swanctl/x509/ike.pem"
LOAD = "swanctl --load-creds --clear --noprompt"
REFUSED = "subject certificate invalid"
"""charon's words for a certificate that is not valid at this time."""


@pytest.fixture
def ahead(lab: Lab, nodes: dict[str, Host], views: Views) -> Iterator[None]:
    """Colombia's authority issued its gateway's leaf with a clock that is a day ahead."""
    co, name = nodes["co"], views["co"]["member"]["identities"]["ike"]
    key, chain = forge(lab, "co", "ike", name, timedelta(days=1))
    leaf = chain[: chain.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"
    with by_hand(co, "heal"):
        for path, text in ((KEY, key), (LEAF, leaf)):
            co.check_output("cp --archive %s %s", path, f"{path}.true")
            on_node(co, "write", files={path: text})
        co.check_output(LOAD)
        try:
            yield
        finally:
            for path in (KEY, LEAF):
                co.check_output("mv %s %s", f"{path}.true", path)
            co.check_output(LOAD)


def _renewed(node: Host, was: set[str]) -> bool:
    return any(carries(sa) and sa["uniqueid"] not in was for sa in sas_with(node, "pe"))


@pytest.mark.req("B3", "B4")
def test_a_certificate_from_tomorrow_is_refused_and_running_connections_are_kept(
    nodes: dict[str, Host], request: pytest.FixtureRequest
) -> None:
    co, pe = nodes["co"], nodes["pe"]
    before = kept(nodes, pairs_without())
    (sa,) = sas_with(co, "pe")
    request.getfixturevalue("ahead")
    co.run("swanctl --rekey --ike %s --reauth", sa["name"])
    refused = f"journalctl -u strongswan --since=-20s -o cat | grep '{REFUSED}'"
    assert until(lambda: pe.run(refused).rc == 0, 15) is not None
    assert not _renewed(co, {sa["uniqueid"]})
    assert kept(nodes, pairs_without()) == before


@pytest.mark.req("B4")
def test_the_same_renewal_with_the_true_certificate_passes(nodes: dict[str, Host]) -> None:
    """The control: without the wrong clock the same order makes a new IKE_SA."""
    (sa,) = sas_with(nodes["co"], "pe")
    nodes["co"].run("swanctl --rekey --ike %s --reauth", sa["name"])
    assert until(lambda: _renewed(nodes["co"], {sa["uniqueid"]}), 10) is not None
