"""libreswan on a kernel with ESP, in the middle of three countries: it answers one, asks the other.

Mexico is a plain Debian machine with libreswan, configured from the parameter sheets; Colombia and
Peru are nodes of ours that roles provision and that know of it what the agreement says. All is
asked of our userspace plane, and again of our kernel plane.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping

import pytest
import yaml
from testinfra.host import Host

from paranal.lab import Lab, faults, lowering, names, raising
from paranal.lab.bench_tunnel import measured
from paranal.lab.home import ROOT
from paranal.lab.playbook import play
from paranal.lab.relay import Impairment
from paranal.lab.watching import Pair
from paranal.lab.wish import Wish
from tests.foreign.ends import IMPORT, typed_in
from tests.mesh.kernel.xfrm import states
from tests.mesh.support import ESP_FILTER, capture, connect, esp_flows, eventually, sas_with

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

MEMBERS = ("co", "mx", "pe")
FOREIGN, PEERS = "mx", ("co", "pe")
FORM = {"userspace": "udp", "kernel": "esp"}
"""Our data plane -> how ESP crosses the wide area; see ``esp_flows``."""
CHANNELS = frozenset({"operational", "strategic"})
UP_SECONDS = 90
DELAY_MS = 40
TRIPS, PUMP_SECONDS = 10, 1.0
Nodes = dict[str, Host]


@pytest.fixture(scope="module", params=FORM)
def plane(request: pytest.FixtureRequest) -> str:
    """The data plane of our two ends."""
    return str(request.param)


@pytest.fixture(scope="module")
def lab(plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three countries, 40 ms apart, the foreign one configured as its operator would.

    Labs that you name yourself (``PARANAL_LAB`` and the plane) stay up, and are taken again by the
    next run.
    """
    document = yaml.safe_load((ROOT / "agreement" / "all-live.yml").read_text(encoding="utf-8"))
    document["members"][FOREIGN] |= {"gateway": "foreign", "data_plane": "kernel"}
    for code in PEERS:
        document["members"][code]["data_plane"] = plane
    path = tmp_path_factory.mktemp("agreement") / "foreign.yml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    named = os.environ.get("PARANAL_LAB")
    made = Lab(f"{named or 't-foreign'}-{plane}")
    try:
        raising.up(
            made, Wish(members=MEMBERS, agreement=str(path), foreign=(FOREIGN,)), os.getpid()
        )
        play(made, "site")
        faults.impair(made, Impairment(delay_ms=DELAY_MS))
        configure(made)
        yield made
    finally:
        if not named:
            lowering.down(made)


def configure(lab: Lab) -> None:
    """Do on the foreign machine what its operator does once."""
    lab.exec(FOREIGN, "systemctl", "stop", "ipsec")
    put(lab, typed_in(lab, FOREIGN, PEERS))
    addresses = lab.agreement().members[FOREIGN]["addresses"]
    for channel in sorted(CHANNELS):
        lab.exec(FOREIGN, "ip", "addr", "replace", f"{addresses[channel]}/32", "dev", "lo")
    lab.exec(FOREIGN, "sh", "-c", f"rm -f /var/lib/ipsec/nss/*; {IMPORT}")
    lab.exec(FOREIGN, "systemctl", "start", "ipsec")


@pytest.fixture(scope="module")
def nodes(lab: Lab) -> Nodes:
    """Our two nodes over SSH, both pairs up with a key exchange of its own for each CHILD_SA.

    What our own control began, before the foreign end was there, is beside it for three turns of
    the upkeep at most.
    """
    found = {code: connect(lab, code) for code in PEERS}
    up = eventually(lambda: all(whole(found[code]) for code in PEERS), UP_SECONDS)
    assert up, ({code: sas_with(found[code], FOREIGN) for code in PEERS}, pluto(lab)[-3000:])
    return found


EXCHANGES = {(channel, "ECP_384") for channel in CHANNELS}


def whole(node: Host) -> bool:
    """Tell whether a node has one IKE_SA with the foreign gateway, and each channel once."""
    sas = sas_with(node, FOREIGN)
    channels = [child["name"] for sa in sas for child in sa["child-sas"].values()]
    return len(sas) == 1 and sorted(channels) == sorted(CHANNELS) and exchanges(node) == EXCHANGES


def put(lab: Lab, files: Mapping[str, bytes | str]) -> None:
    """Write files on the foreign machine."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    lab.exec(FOREIGN, "tar", "-x", "-C", "/", "-f", "-", given=archive.getvalue())


def pluto(lab: Lab) -> str:
    """Return what libreswan has logged."""
    return lab.exec(FOREIGN, "cat", "/run/pluto.log").stdout.decode()


def exchanges(node: Host) -> set[tuple[str, str]]:
    """Return (channel, key exchange) of every CHILD_SA that a node has with the foreign gateway."""
    return {
        (child["name"], child.get("dh-group", ""))
        for sa in sas_with(node, FOREIGN)
        for child in sa["child-sas"].values()
        if child["state"] == "INSTALLED"
    }


def numbers(node: Host, key: str) -> set[str]:
    """Return one kind of SPI (``spi-in``, ``spi-out``) of the CHILD_SAs in use with it."""
    return {
        child[key]
        for sa in sas_with(node, FOREIGN)
        for child in sa["child-sas"].values()
        if child["state"] == "INSTALLED"
    }


@pytest.mark.req("R6", "B4")
def test_both_pairs_are_up_as_agreed_whoever_begins(lab: Lab, nodes: Nodes, plane: str) -> None:
    (asked,), (answered,) = (sas_with(nodes[code], FOREIGN) for code in PEERS)
    assert (asked.get("initiator"), answered.get("initiator")) == ("yes", None)
    for sa in (asked, answered):
        suite = (sa["encr-alg"], sa["encr-keysize"], sa["prf-alg"], sa["dh-group"])
        assert suite == ("AES_GCM_16", "256", "PRF_HMAC_SHA2_384", "ECP_384")
        extended = {child.get("esn") for child in sa["child-sas"].values()}
        assert extended == {"1" if plane == "kernel" else None}

    def agreed() -> bool:
        # The first CHILD_SA that a foreign end makes has no exchange, and ends a little later.
        return all(node.run("paranal tunnels verify").rc == 0 for node in nodes.values())

    assert eventually(agreed, UP_SECONDS), "paranal tunnels verify on our ends"
    for node in nodes.values() if plane == "kernel" else ():
        held = states(node)
        assert set(held) >= numbers(node, "spi-in") | numbers(node, "spi-out")
        assert all(re.search(r"flag [^\n]*\besn\b", state.text) for state in held.values())


def trip_ms(lab: Lab, one: str, other: str, service: str) -> float:
    """Let one member call another at a service's port; return the median round trip."""
    agreement = lab.agreement()
    declared = agreement.document["services"][service]
    ends = [agreement.members[code]["addresses"][declared["channel"]] for code in (one, other)]
    found = measured(lab, Pair(one, other, CHANNELS), ends, declared["port"], TRIPS, PUMP_SECONDS)
    return found["rtt_ms"]


def kernel_spis(lab: Lab) -> set[str]:
    """Return the SPIs of every SA that the foreign kernel holds."""
    states = lab.exec(FOREIGN, "ip", "xfrm", "state", "list", "nokeys").stdout.decode()
    assert states.count("proto esp") == states.count("rfc4106(gcm(aes))")
    return set(re.findall(r"proto esp spi 0x([0-9a-f]{8})", states))


@pytest.mark.req("R6", "B4", "D4")
@pytest.mark.parametrize("peer", PEERS)
def test_traffic_passes_both_ways_as_esp_of_both_sas_and_nothing_in_clear(
    lab: Lab, nodes: Nodes, plane: str, peer: str
) -> None:
    members, node = lab.agreement().members, nodes[peer]
    inner = " or ".join(f"net {members[code]['inner_prefix']}" for code in (peer, FOREIGN))
    with capture(lab, ESP_FILTER) as wire, capture(lab, inner) as clear:
        # Our own daemon holds the operational port, so only the foreign end can listen there.
        for one, other, service in (
            (peer, FOREIGN, "person"),
            (peer, FOREIGN, "strategic"),
            (FOREIGN, peer, "strategic"),
        ):
            assert trip_ms(lab, one, other, service) > 2 * DELAY_MS
        assert clear.seen == []
        addresses = [members[code]["addresses"]["operational"] for code in (FOREIGN, peer)]
        assert clear.plant(names.wan_link(peer), *addresses), "the capture is blind"
    ours, theirs = numbers(node, "spi-in"), numbers(node, "spi-out")
    assert (len(ours), len(theirs)) == (2, 2)
    near, far = (members[code]["wan_address"] for code in (peer, FOREIGN))
    expected = {(far, near, spi) for spi in ours} | {(near, far, spi) for spi in theirs}
    between = {flow for flow in esp_flows(wire.seen, FORM[plane]) if set(flow[:2]) == {near, far}}
    assert between == expected
    assert ours | theirs <= kernel_spis(lab)


@pytest.mark.req("R6", "B4")
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("renews", ["ours", "foreign"])
@pytest.mark.parametrize("what", ["child", "ike"])
def test_keys_are_renewed_from_either_end(
    lab: Lab, nodes: Nodes, peer: str, renews: str, what: str
) -> None:
    node, pair = nodes[peer], "-".join(sorted((peer, FOREIGN)))
    (sa,) = sas_with(node, FOREIGN)
    before, ike = numbers(node, "spi-in"), (sa["initiator-spi"], sa["responder-spi"])
    if renews == "ours":
        child = ("--child", "operational") if what == "child" else ()
        node.check_output(" ".join(("swanctl --rekey --ike", sa["name"], *child)))
    else:
        words = ("ipsec", "whack", "--name", f"{pair}-operational", f"--rekey-{what}")
        lab.exec(FOREIGN, *words)

    def renewed() -> bool:
        found = sas_with(node, FOREIGN)
        if len(found) != 1 or exchanges(node) != EXCHANGES:
            return False
        if what == "child":
            return len(numbers(node, "spi-in") - before) == 1
        return (found[0]["initiator-spi"], found[0]["responder-spi"]) != ike

    assert eventually(renewed, 30), (sas_with(node, FOREIGN), pluto(lab)[-2000:])
    assert trip_ms(lab, peer, FOREIGN, "person") > 2 * DELAY_MS
    assert numbers(node, "spi-in") | numbers(node, "spi-out") <= kernel_spis(lab)
