"""Connections derive from the view alone, mirror each other, and are named by their content."""

from __future__ import annotations

import copy
import itertools
import re

import pytest

from paranal.agreement import member_view
from paranal.agreement.connections import (
    Connection,
    anchor_digest,
    connections,
    to_swanctl,
    to_vici,
)
from paranal.agreement.crypto import PROFILES
from tests.unit.agreement.views import document, view

MEMBERS = ("cl", "co", "mx", "pe")
PAIRS = list(itertools.combinations(MEMBERS, 2))
ANCHORS = {code: code * 32 for code in MEMBERS}


def declared(code: str, agreement: str = "pacific-alliance") -> dict[str, Connection]:
    return {one["peer"]: one for one in connections(view(code, agreement), ANCHORS)}


@pytest.mark.req("R6")
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_ends_mirror_each_other(one: str, other: str) -> None:
    ours, theirs = (
        declared(me, "all-live")[peer]["config"] for me, peer in ((one, other), (other, one))
    )
    assert ours["local_addrs"] == theirs["remote_addrs"]
    assert ours["local"]["id"] == theirs["remote"]["id"]
    assert ours["proposals"] == theirs["proposals"]
    for channel in ("operational", "strategic"):
        mine, yours = ours["children"][channel], theirs["children"][channel]
        assert mine["local_ts"] == yours["remote_ts"]
        assert mine["esp_proposals"] == yours["esp_proposals"]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_exactly_one_end_starts_and_the_other_only_traps(one: str, other: str) -> None:
    first, second = declared(one, "all-live")[other], declared(other, "all-live")[one]
    assert first["initiates"]
    assert not second["initiates"]
    assert (first["config"]["unique"], second["config"]["unique"]) == ("no", "no")
    for channel, child in first["config"]["children"].items():
        assert (child["start_action"], child["close_action"]) == ("trap|start", "start")
        assert child["dpd_action"] == "restart"
        assert second["config"]["children"][channel]["start_action"] == "trap"


@pytest.mark.req("R12")
def test_a_pending_member_has_lines_and_no_children() -> None:
    for connection in declared("cl").values():
        assert connection["name"] == f"{connection['stem']}-line"
        assert connection["channels"] == []
        assert "children" not in connection["config"]
        assert connection["config"]["keyingtries"] == "1"


@pytest.mark.req("R12")
def test_an_open_pair_next_to_a_pending_one_has_children() -> None:
    assert declared("pe")["cl"]["channels"] == []
    assert declared("pe")["co"]["channels"] == ["operational", "strategic"]


@pytest.mark.req("R6")
def test_every_peer_is_pinned_to_its_name_and_to_its_own_root() -> None:
    for peer, connection in declared("pe", "all-live").items():
        remote = connection["config"]["remote"]
        assert remote["id"] == f"gw.{peer}.paranal.example"
        assert remote["cacerts"] == [f"{peer}-root.pem"]
        assert remote["revocation"] == "strict"
        assert remote["auth"] == "ecdsa-384-sha384"
        assert "certs" not in connection["config"]["local"]


def test_lives_stay_inside_the_audits_limits() -> None:
    seconds = {
        key: int(text[:-1])
        for key, text in declared("pe")["co"]["config"].items()
        if isinstance(text, str) and re.fullmatch(r"\d+s", text)
    }
    assert seconds["rekey_time"] + seconds["over_time"] <= 8 * 3600
    assert seconds["reauth_time"] + seconds["over_time"] <= 8 * 3600
    child = declared("pe")["co"]["config"]["children"]["operational"]
    assert int(child["life_time"][:-1]) - int(child["rekey_time"][:-1]) > 165
    assert int(child["rekey_packets"]) < int(child["life_packets"]) < 2**32
    assert int(child["life_bytes"]) <= 100 * 10**9


@pytest.mark.parametrize(
    ("ours", "theirs", "esn"),
    [("kernel", "kernel", True), ("kernel", "userspace", False), ("userspace", "kernel", False)],
)
def test_extended_sequence_numbers_only_where_both_planes_have_them(
    ours: str, theirs: str, esn: bool
) -> None:
    changed = view("pe")
    changed["member"]["data_plane"] = ours
    changed["peers"][1]["data_plane"] = theirs
    child = connections(changed, ANCHORS)[1]["config"]["children"]["operational"]
    assert child["esp_proposals"][0].endswith("-esn") is esn


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_each_profile_offers_one_proposal_with_an_exchange_of_its_own(profile: str) -> None:
    changed = view("pe")
    changed["peers"][1]["pair"] |= {"crypto_profile": profile, "ppk": "co-pe-g2"}
    config = connections(changed, ANCHORS)[1]["config"]
    child = config["children"]["strategic"]["esp_proposals"]
    for proposals in (config["proposals"], child):
        (only,) = proposals
        assert "ecp384" in only
        assert "aes256gcm16" in only
        assert not re.search(r"sha1|md5|3des|none|default|aes128|modp", only)
        assert ("ke1_mlkem1024" in only) is (profile == "hybrid")
    assert (config.get("ppk_required") == "yes") is (profile == "ppk")
    assert config.get("ppk_id") == ("co-pe-g2" if profile == "ppk" else None)


@pytest.mark.req("B4")
def test_a_new_key_is_a_new_generation_of_its_connection_alone() -> None:
    names = []
    for generation in (1, 2):
        changed = view("pe")
        changed["peers"][1]["pair"] |= {"crypto_profile": "ppk", "ppk": f"co-pe-g{generation}"}
        names.append([one["name"] for one in connections(changed, ANCHORS)])
    assert [one == other for one, other in zip(*names, strict=True)] == [True, False, True]


def test_the_name_changes_with_the_content_and_only_with_it() -> None:
    before = declared("pe")["co"]
    assert declared("pe")["co"]["name"] == before["name"]
    moved = view("pe")
    moved["peers"][1]["wan_address"] = "198.51.100.35"
    assert connections(moved, ANCHORS)[1]["name"] != before["name"]
    assert connections(moved, ANCHORS)[2]["name"] == declared("pe")["mx"]["name"]
    spoken = view("pe")
    spoken["peers"][1]["contact"] = {"name": "x", "phone": "y", "email": "z"}
    assert connections(spoken, ANCHORS)[1]["name"] == before["name"]


def test_a_generation_that_differs_in_its_children_only_has_an_ike_configuration_of_its_own() -> (
    None
):
    narrowed = view("pe")
    narrowed["peers"][1]["pair"]["channels"] = ["operational"]
    before, after = (declared("pe")["co"]["config"], connections(narrowed, ANCHORS)[1]["config"])
    shared = before.keys() - {"children", "over_time", "rand_time"}
    assert {key: before[key] for key in shared} == {key: after[key] for key in shared}
    marks = [(one["over_time"], one["rand_time"]) for one in (before, after)]
    assert marks[0] != marks[1]


def test_a_new_root_under_the_same_file_name_is_a_new_generation() -> None:
    before = declared("pe")["co"]["name"]
    after = connections(view("pe"), {**ANCHORS, "co": "f" * 64})
    assert after[1]["name"] != before
    assert after[2]["name"] == declared("pe")["mx"]["name"]


@pytest.mark.req("B5")
def test_two_pinned_roots_are_a_new_generation_and_one_is_what_it_was() -> None:
    before, first = declared("pe")["co"], {"co-root.pem": ANCHORS["co"]}
    assert connections(view("pe"), {**ANCHORS, "co": first})[1] == before
    both = connections(view("pe"), {**ANCHORS, "co": {**first, "co-g2-root.pem": "f" * 64}})[1]
    assert both["config"]["remote"]["cacerts"] == ["co-g2-root.pem", "co-root.pem"]
    heir = connections(view("pe"), {**ANCHORS, "co": {"co-g2-root.pem": "f" * 64}})[1]
    assert heir["config"]["remote"]["cacerts"] == ["co-g2-root.pem"]
    assert len({one["name"] for one in (before, both, heir)}) == 3


def test_a_peer_without_a_published_root_is_an_error() -> None:
    with pytest.raises(KeyError):
        connections(view("pe"), {})


def test_vici_gets_the_same_section_with_the_certificates_themselves() -> None:
    connection = declared("pe")["co"]
    message = to_vici(connection, lambda name: name.encode())
    section = copy.deepcopy(message[connection["name"]])
    assert section["remote"]["cacerts"] == [b"co-root.pem"]
    section["remote"]["cacerts"] = ["co-root.pem"]
    assert section == connection["config"]


def test_swanctl_text_holds_every_value_in_quotes() -> None:
    text = to_swanctl(declared("pe")["co"])
    assert text.count("{") == text.count("}") == 6
    for line in text.splitlines():
        if "=" in line:
            assert re.fullmatch(r' +[a-z_0-9]+ = "[^"\\]+"', line), line


@pytest.mark.parametrize("value", ["", "a\nb", "a,b", "\x00"])
def test_a_value_that_could_leave_its_place_is_refused(value: str) -> None:
    connection = copy.deepcopy(declared("pe")["co"])
    connection["config"]["remote"]["id"] = value
    with pytest.raises(ValueError, match="not a swanctl value"):
        to_swanctl(connection)


def test_a_quote_stays_inside_its_value() -> None:
    connection = copy.deepcopy(declared("pe")["co"])
    connection["config"]["remote"]["id"] = 'x" } evil { y = "z\\'
    assert 'id = "x\\" } evil { y = \\"z\\\\"' in to_swanctl(connection)


@pytest.mark.parametrize("name", ["a b", "a{", "", "a\n"])
def test_a_name_that_is_no_section_name_is_refused(name: str) -> None:
    connection = copy.deepcopy(declared("pe")["co"])
    connection["name"] = name
    with pytest.raises(ValueError, match="not a swanctl section"):
        to_swanctl(connection)


def test_an_anchor_is_the_certificate_not_its_wrapping() -> None:
    pem = b"-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n"
    assert anchor_digest(pem) == anchor_digest(b"\n" + pem.replace(b"AAAA\nBBBB", b"AAAABBBB"))
    assert anchor_digest(pem) != anchor_digest(pem.replace(b"AAAA", b"AAAC"))
    with pytest.raises(ValueError, match=r"PEM"):
        anchor_digest(b"no certificate")


@pytest.mark.req("R6")
def test_behind_a_translation_only_our_own_end_of_a_connection_moves() -> None:
    behind = member_view(document("all-live"), "pe", "192.0.2.2")
    for connection in connections(behind, ANCHORS):
        plain = declared("pe", "all-live")[connection["peer"]]["config"]
        moved = {"local_addrs": ["192.0.2.2"]}
        times = {key: plain[key] for key in ("over_time", "rand_time")}
        assert {**connection["config"], **times} == {**plain, **moved}


@pytest.mark.req("R6")
@pytest.mark.parametrize(
    ("code", "foreign", "childless"),
    [("pe", "co", "prefer"), ("co", "pe", "force"), ("pe", "mx", "force"), ("pe", "", "force")],
)
def test_only_a_foreign_gateway_that_starts_the_pair_may_make_a_child_in_ike_auth(
    code: str, foreign: str, childless: str
) -> None:
    changed = view(code)
    for peer in changed["peers"]:
        peer["gateway"] = "foreign" if peer["code"] == foreign else "paranal"
    other = "co" if code == "pe" else "pe"
    found = {one["peer"]: one["config"]["childless"] for one in connections(changed, ANCHORS)}
    assert found.pop(other) == childless
    found.pop(foreign, None)
    assert set(found.values()) == {"force"}
