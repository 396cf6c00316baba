"""The service control: both ends of a pair compare, and a revocation list gets everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement import Agreement
from paranal.agreement.derive import parity
from paranal.lab.lab import Lab
from tests.mesh.lists import FILE, brought, counts, expired, foreign, held, next_list
from tests.mesh.support import ASKER, Views, eventually

OPEN = ("co", "mx", "pe")
"""Between these control is live in every agreement that the mesh is tried with."""
CREDENTIALS = "/etc/paranal/tls/control.pem"
TAKEN_SECONDS = 10.0
Told = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def level(lab: Lab, nodes: dict[str, Host]) -> Iterator[None]:
    """Afterwards every node has what was published: the next run of site.yml has nothing to do."""
    yield
    for code in ("co", "pe"):
        path = lab.home.agreement.parent / f"crl/{code}-issuing.crl"
        for node in nodes.values():
            text = path.read_text(encoding="ascii")
            node.check_output("paranal control import %s", brought(node, text))


def compared(node: Host, *options: str) -> tuple[int, Told]:
    done = node.run(" ".join(("paranal control parity --json", *options)))
    return done.rc, json.loads(done.stdout)["pairs"]


def called(node: Host, views: Views, asker: str, *options: str, **other: str) -> tuple[str, Told]:
    """Call Peru's control from a peer, as its service does; return HTTP status and answer."""
    own, pe = views[asker]["member"], views["pe"]
    given = {
        "name": f"{asker}.{pe['member']['identities']['strategic']}",
        "credentials": CREDENTIALS,
        "path": "/v1/parity",
    } | other
    where = f"{pe['member']['addresses']['strategic']}:{pe['services']['control']['port']}"
    done = node.run(
        f"curl --silent --insecure --max-time 5 --interface {own['addresses']['strategic']} "
        f"--cert {given['credentials']} --connect-to ::{where} --write-out '\\n%{{http_code}}' "
        f"{' '.join(options)} https://{given['name']}{given['path']}"
    )
    body, _, status = done.stdout.rpartition("\n")
    return status, json.loads(body) if body.startswith("{") else {}


@pytest.mark.req("B2")
def test_both_ends_of_every_pair_tell_the_same_digest(
    nodes: dict[str, Host], agreement: Agreement
) -> None:
    for code in OPEN:
        status, pairs = compared(nodes[code])
        assert status == 0
        assert set(OPEN) <= {member for pair in pairs for member in pair.split("-")}
        for name, pair in pairs.items():
            agreed = parity(agreement, *name.split("-"))
            assert (pair["verdict"], pair["ours"]["parity"]) == ("equal", agreed)
            assert pair["theirs"]["parity"] == agreed
            assert pair["theirs"]["member"] != code


@pytest.mark.req("B2")
def test_an_end_that_holds_another_text_is_found_out(nodes: dict[str, Host]) -> None:
    pe = nodes["pe"]
    view = json.loads(pe.check_output("cat /etc/paranal/view.json"))
    (co,) = (peer for peer in view["peers"] if peer["code"] == "co")
    co["pair"]["parity"] = "0" * 64
    other = brought(pe, json.dumps(view), "/run/other-view.json")
    status, pairs = compared(pe, "--view", other)
    assert status == 1
    assert pairs["co-pe"]["verdict"] == "differs"
    assert pairs["mx-pe"]["verdict"] == "equal"


@pytest.mark.req("B2", "B5", "D3")
def test_only_a_peer_under_its_own_name_is_answered(nodes: dict[str, Host], views: Views) -> None:
    co = nodes["co"]
    call = partial(called, co, views, "co")
    status, told = call()
    assert (status, told["member"], told["pair"]) == ("200", "pe", "co-pe")
    status, told = call(credentials=ASKER)
    assert (status, told["refusal"]["code"]) == ("403", "PAR-0901")
    name = f"mx.{views['pe']['member']['identities']['strategic']}"
    assert call(name=name) == ("000", {})
    assert call(path="/health")[0] != "200"


@pytest.mark.req("B5")
def test_a_list_that_is_pushed_counts_at_every_peer(lab: Lab, nodes: dict[str, Host]) -> None:
    number, text = next_list(lab, "pe")
    assert held(nodes["pe"], "pe") < number
    done = nodes["pe"].run("paranal control push --json %s", brought(nodes["pe"], text))
    assert done.rc == 0, done.stderr
    told = json.loads(done.stdout)["told"]
    assert {code for code in OPEN if code != "pe"} <= set(told)
    assert set(told.values()) == {None}
    for code in ("pe", *told):
        assert eventually(partial(counts, nodes[code], "pe", text), TAKEN_SECONDS), code
        assert held(nodes[code], "pe") == number


@pytest.mark.req("B5")
def test_a_third_member_brings_on_a_list_that_its_owner_could_not(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    pe, mx = nodes["pe"], nodes["mx"]
    number, text = next_list(lab, "pe")
    pe.check_output("systemctl stop paranal-control.socket paranal-control.service")
    try:
        pe.check_output("paranal control push --to co %s", brought(pe, text))
        assert eventually(lambda: held(mx, "pe") == number, TAKEN_SECONDS)
        shown = mx.check_output("journalctl --unit paranal-control --output cat --lines 20")
        (last, *_) = (
            line
            for line in reversed(shown.splitlines())
            if '"list taken"' in line and '"source": "pe"' in line
        )
        assert json.loads(last)["member"] != "pe"
    finally:
        pe.check_output("systemctl start paranal-control.socket paranal-control.service")
    # HAProxy looks at a service every two seconds, and refuses for it until it has seen it.
    assert eventually(lambda: called(nodes["co"], views, "co")[0] == "200", 10)


@pytest.mark.req("B5")
def test_a_list_that_one_process_had_still_to_bring_on_its_next_one_does(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    co, mx, pe = nodes["co"], nodes["mx"], nodes["pe"]
    units = "paranal-control.socket paranal-control.service"
    number, text = next_list(lab, "pe")
    for node in (pe, mx):
        node.check_output(f"systemctl stop {units}")
    try:
        pe.check_output("paranal control push --to co %s", brought(pe, text))
        assert eventually(lambda: held(co, "pe") == number, TAKEN_SECONDS)
        co.check_output("systemctl restart paranal-control.service")
        assert held(mx, "pe") < number
        mx.check_output(f"systemctl start {units}")
        assert eventually(lambda: held(mx, "pe") == number, 60)
    finally:
        for node in (pe, mx):
            node.check_output(f"systemctl start {units}")


Make = Callable[[Lab, Path, int], str]


def _older(lab: Lab, _: Path, __: int) -> str:
    before = (lab.home.agreement.parent / "crl/pe-issuing.crl").read_text(encoding="ascii")
    next_list(lab, "pe")
    return before


def _foreign(lab: Lab, folder: Path, _: int) -> str:
    return foreign(folder, "pe", f"pe.{lab.agreement().document['domain']}")


def _expired(lab: Lab, _: Path, number: int) -> str:
    return expired(lab, "pe", number + 1)


@pytest.mark.req("B5", "D3")
@pytest.mark.parametrize(
    ("make", "code"),
    [(_older, "PAR-0906"), (_foreign, "PAR-0905"), (_expired, "PAR-0908")],
    ids=["older", "foreign", "expired"],
)
def test_a_list_that_is_not_the_next_is_refused_from_whoever_brings_it(
    lab: Lab, nodes: dict[str, Host], views: Views, tmp_path: Path, make: Make, code: str
) -> None:
    co, pe = nodes["co"], nodes["pe"]
    text = make(lab, tmp_path, held(pe, "pe"))
    if code == "PAR-0906":
        published = (lab.home.agreement.parent / "crl/pe-issuing.crl").read_text(encoding="ascii")
        pe.check_output("paranal control import %s", brought(pe, published))
    before = pe.check_output("sha256sum /etc/swanctl/x509crl/* /etc/haproxy/paranal/*.crl")
    done = pe.run("paranal control import %s", brought(pe, text))
    assert done.rc == 3
    assert code in done.stderr
    brought(co, text)
    status, told = called(co, views, "co", "--upload-file", FILE, path="/v1/crl")
    assert status in ("409", "422")
    assert told["refusal"]["code"] == code
    assert told["refusal"]["runbook"] == "RB-012-control"
    assert pe.check_output("sha256sum /etc/swanctl/x509crl/* /etc/haproxy/paranal/*.crl") == before


@pytest.mark.req("B5")
def test_a_list_brought_by_hand_counts_without_any_network(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    mx = nodes["mx"]
    number, text = next_list(lab, "co")
    alone = "systemd-run --quiet --collect --pipe --wait --property=PrivateNetwork=yes"
    assert mx.run(f"{alone} ip route get 198.51.100.1").rc != 0
    mx.check_output(f"{alone} paranal control import %s", brought(mx, text))
    assert held(mx, "co") == number
    assert counts(mx, "co", text)


def noticed(node: Host, peer: str) -> Told:
    """Return what a node's status says that a peer told of itself."""
    shown: Told = json.loads(node.run("paranal status --json").stdout)
    said: Told = shown["notices"].get(peer, {}).get("notice", {})
    return said


def _announced(node: Host, *texts: str) -> bool:
    return [window["text"] for window in noticed(node, "pe").get("windows", ())] == [*texts]


@pytest.mark.req("R12")
def test_maintenance_is_announced_to_every_peer_and_withdrawn(nodes: dict[str, Host]) -> None:
    announce = "paranal control notice %s --until 2999-01-01T05:00-05:00"
    nodes["pe"].check_output(announce, "cambio de disco")
    peers = [code for code in OPEN if code != "pe"]
    for code in peers:
        assert eventually(partial(_announced, nodes[code], "cambio de disco"), TAKEN_SECONDS)
        assert "PAR-0655" in nodes[code].run("paranal status").stdout
    nodes["pe"].check_output("paranal control notice --withdraw")
    for code in peers:
        assert eventually(partial(_announced, nodes[code]), TAKEN_SECONDS)


@pytest.mark.req("R12")
def test_a_notice_about_another_pair_is_refused(nodes: dict[str, Host], views: Views) -> None:
    said = {"closed": [{"direction": "mx>pe", "service": "person"}]}
    file = brought(nodes["co"], json.dumps(said), "/run/notice.json")
    status, told = called(nodes["co"], views, "co", "--upload-file", file, path="/v1/notice")
    assert (status, told["refusal"]["code"]) == ("422", "PAR-0925")
    said["closed"][0]["direction"] = "co>pe"
    file = brought(nodes["co"], json.dumps(said), "/run/notice.json")
    status, told = called(nodes["co"], views, "co", "--upload-file", file, path="/v1/notice")
    assert (status, told) == ("200", {"member": "pe"})
    nodes["co"].check_output("systemctl restart paranal-control.service")  # which tells the truth
    assert eventually(lambda: noticed(nodes["pe"], "co")["closed"] == [], 15)
