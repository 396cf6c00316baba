"""A list is verified, put where the daemons read it, and kept; anything else changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.control import inbox
from paranal.control.install import KEPT
from paranal.messages import Refusal
from paranal.pki import lists, peers
from paranal.pki.authority import CertificateAuthority
from paranal.pki.certificates import fingerprint

if TYPE_CHECKING:
    from tests.unit.control.conftest import Holding


def files(node: Holding) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in node.place.root.rglob("*") if path.is_file()}


def test_a_newer_list_stands_wherever_its_readers_look_and_in_the_record(node: Holding) -> None:
    text = node.next_of_peer()
    news = node.place.judge(text, node.view, datetime.now(UTC))
    changed = node.place.install(news)
    assert set(changed) == {
        f"{KEPT}/pe-issuing.crl",
        "/etc/swanctl/x509crl/pe-issuing.crl",
        "/etc/haproxy/paranal/pe.crl",
        peers.TRUST_RECORD,
    }
    record = json.loads(node.place.real(peers.TRUST_RECORD).read_text())
    assert record["pe"]["issuing"]["number"] == news.number
    assert record["co"]
    # What charon's role would write is the same, octet for octet.
    assert node.place.real("/etc/swanctl/x509crl/pe-issuing.crl").read_bytes() == text
    assert not node.place.install(news)


@pytest.mark.req("B5")
def test_a_list_of_one_generation_leaves_the_others_lists_where_they_are(
    node: Holding, tmp_path: Path
) -> None:
    second = CertificateAuthority.create(
        tmp_path / "ca" / "pe-g2", "pe", node.peer.domain, b"another passphrase", generation=2
    )
    for one in (node.peer, second):
        one.publish(tmp_path / "published")
    roots = [fingerprint(one.root) for one in (node.peer, second)]
    both = peers.read_agreed(tmp_path / "published", "pe", node.peer.domain, roots)
    before = peers.trust_files("swanctl", both) | peers.trust_files("haproxy", both)
    for path, text in before.items():
        node.place.real(path).write_text(text)
    news = node.place.judge(node.next_of_peer(), node.view, datetime.now(UTC))
    assert "/etc/haproxy/paranal/pe.crl" in node.place.install(news)
    after = node.place.real("/etc/haproxy/paranal/pe.crl").read_text()
    assert after.count("BEGIN X509 CRL") == 4
    record = json.loads(node.place.real(peers.TRUST_RECORD).read_text())["pe"]
    assert sorted(record) == ["g2-issuing", "g2-root", "issuing", "root"]
    second.crl()
    again = node.place.judge(
        second.lists()["issuing"].public_bytes(Encoding.PEM), node.view, datetime.now(UTC)
    )
    assert (again.file, again.is_newer) == ("pe-g2-issuing.crl", False)


def test_a_list_that_haproxy_has_no_place_for_is_not_put_there(node: Holding) -> None:
    node.place.real("/etc/haproxy/paranal/pe.crl").unlink()
    news = node.place.judge(node.next_of_peer(), node.view, datetime.now(UTC))
    assert not any("haproxy" in path for path in node.place.install(news))


def test_a_list_is_owed_until_it_counts_everywhere(node: Holding) -> None:
    news = node.place.judge(node.next_of_peer(), node.view, datetime.now(UTC))
    node.place.install(news)
    assert [owed for _, owed in node.place.kept()] == [True]
    node.place.settle(news)
    assert [owed for _, owed in node.place.kept()] == [False]


def test_an_older_list_changes_nothing(node: Holding) -> None:
    older = node.issuing_of_peer()
    news = node.place.judge(node.next_of_peer(), node.view, datetime.now(UTC))
    node.place.install(news)
    before = files(node)
    with pytest.raises(Refusal, match="PAR-0906"):
        node.place.judge(older, node.view, datetime.now(UTC))
    assert files(node) == before


def test_an_authority_that_is_broken_hinders_no_other(node: Holding) -> None:
    node.place.real("/etc/swanctl/x509ca/co-root.pem").write_text("garbage")
    assert node.place.judge(node.next_of_peer(), node.view, datetime.now(UTC)).member == "pe"
    node.place.real("/etc/swanctl/x509ca/pe-root.pem").write_text("garbage")
    with pytest.raises(Refusal, match=r"PAR-041[89]"):
        node.place.authorities(node.view)


def test_the_inbox_is_read_without_following_what_a_service_could_plant(
    node: Holding, tmp_path: Path
) -> None:
    folder, secret = tmp_path / "inbox", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("secret")
    (folder / "a-link").symlink_to(secret)
    (folder / "b-directory").mkdir()
    (folder / "c-long").write_bytes(b"0" * (lists.OCTETS_MAX + 9))
    news = node.place.judge(node.next_of_peer(), node.view, datetime.now(UTC))
    inbox.put(news, folder)
    found = {path.name: data for path, data in inbox.waiting(folder)}
    assert (found["a-link"], found["b-directory"]) == (b"", b"")
    assert len(found["c-long"]) == lists.OCTETS_MAX + 1
    assert found["pe-issuing.crl"] == node.issuing_of_peer()
    assert inbox.drop(folder / "a-link") is None
    assert secret.exists()
    stays = inbox.drop(folder / "b-directory")
    assert stays
    assert stays.code == "PAR-0910"
    with pytest.raises(Refusal, match="PAR-0910"):
        inbox.put(news, tmp_path / "absent")
