"""What a peer publishes is trusted only when it holds together and stays in its own domain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.agreement import load, member_view
from paranal.agreement.connections import anchor_digest
from paranal.messages import Refusal
from paranal.pki import certificates, peers
from paranal.pki.authority import CertificateAuthority

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock, Country, MakeRequest, Strange

DOMAIN = "pe.paranal.example"
AGREEMENT = Path(__file__).parents[3] / "agreement"


@pytest.fixture
def published(tmp_path: Path, country: Country, authority: CertificateAuthority) -> Path:
    """Return a directory with what PE and CO publish."""
    for one in (authority, country("co")):
        one.publish(tmp_path / "published")
    return tmp_path / "published"


def put(published: Path, relative: str, thing: x509.Certificate) -> None:
    (published / relative).write_bytes(thing.public_bytes(Encoding.PEM))


def test_what_an_authority_publishes_is_read_back(
    published: Path, authority: CertificateAuthority
) -> None:
    one = peers.read(published, "pe", DOMAIN)
    assert (one.root, one.issuing) == (authority.root, authority.issuing)
    lists = authority.lists()
    assert one.numbers == {name: certificates.crl_number(crl) for name, crl in lists.items()}
    assert one.crl_end == lists["issuing"].next_update_utc


def test_publishing_twice_changes_nothing_and_dry_writes_nothing(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere"
    assert sorted(authority.publish(target, dry=True)) == sorted(peers.public_files("pe"))
    assert not target.exists()
    assert sorted(authority.publish(target)) == sorted(peers.public_files("pe"))
    assert authority.publish(target) == []


@pytest.mark.parametrize("relative", peers.public_files("pe"))
def test_a_missing_or_damaged_file_is_named(published: Path, relative: str) -> None:
    (published / relative).write_text("-----BEGIN")
    with pytest.raises(Refusal, match=f"PAR-0418.*{relative}"):
        peers.read(published, "pe", DOMAIN)
    (published / relative).unlink()
    with pytest.raises(Refusal, match=f"PAR-0418.*{relative}"):
        peers.read(published, "pe", DOMAIN)


def test_an_authority_that_nobody_can_read_is_refused(published: Path, strange: Strange) -> None:
    (published / "ca/pe-root.pem").write_bytes(strange.certificate)
    with pytest.raises(Refusal, match=r"PAR-0418.*ca/pe-root\.pem"):
        peers.read(published, "pe", DOMAIN)


@pytest.mark.parametrize("relative", peers.public_files("pe"))
def test_a_file_of_another_country_under_our_name_is_refused(
    published: Path, relative: str
) -> None:
    shutil.copy(published / relative.replace("pe-", "co-"), published / relative)
    with pytest.raises(Refusal, match="PAR-0419"):
        peers.read(published, "pe", DOMAIN)


def test_a_whole_authority_of_another_country_under_our_name_is_refused(published: Path) -> None:
    for relative in peers.public_files("pe"):
        shutil.copy(published / relative.replace("pe-", "co-"), published / relative)
    with pytest.raises(Refusal, match="PAR-0419") as refusal:
        peers.read(published, "pe", DOMAIN)
    assert f"not limited to {DOMAIN}" in refusal.value.text("en")


def remade(
    root: x509.Certificate, dropped: tuple[type, ...], changes: dict[str, Any]
) -> x509.Certificate:
    """Return a self-signed root like ``root``, without some extensions or with others."""
    key = changes.get("key") or ec.generate_private_key(ec.SECP384R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(root.subject)
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(root.serial_number)
        .not_valid_before(root.not_valid_before_utc)
        .not_valid_after(root.not_valid_after_utc)
    )
    for extension in root.extensions:
        identifiers = (x509.AuthorityKeyIdentifier, x509.SubjectKeyIdentifier)
        if not isinstance(extension.value, (*identifiers, *dropped)):
            builder = builder.add_extension(extension.value, extension.critical)
    for value, critical in changes.get("added", ()):
        builder = builder.add_extension(value, critical)
    return builder.sign(key, changes.get("algorithm", hashes.SHA384()))


CONSTRAINTS = x509.NameConstraints
BASIC = x509.BasicConstraints
ONLY = [x509.DNSName(DOMAIN)]


@pytest.mark.parametrize(
    ("dropped", "changes", "reason"),
    [
        ((CONSTRAINTS,), {}, "name-constrained"),
        ((CONSTRAINTS,), {"added": [(CONSTRAINTS(ONLY, None), False)]}, "not limited"),
        (
            (CONSTRAINTS,),
            {"added": [(CONSTRAINTS([*ONLY, x509.DNSName("co.paranal.example")], None), True)]},
            "not limited",
        ),
        ((CONSTRAINTS,), {"added": [(CONSTRAINTS(None, ONLY), True)]}, "not limited"),
        ((BASIC,), {}, "name-constrained"),
        ((BASIC,), {"added": [(BASIC(ca=False, path_length=None), True)]}, "not a CA"),
        ((BASIC,), {"added": [(BASIC(ca=True, path_length=1), False)]}, "not a CA"),
        ((), {"key": ec.generate_private_key(ec.SECP256R1())}, "not P-384"),
        ((), {"algorithm": hashes.SHA224()}, "weak hash"),
    ],
)
def test_a_root_that_is_not_limited_to_its_country_is_refused(
    published: Path,
    authority: CertificateAuthority,
    dropped: tuple[type, ...],
    changes: dict[str, Any],
    reason: str,
) -> None:
    put(published, "ca/pe-root.pem", remade(authority.root, dropped, changes))
    with pytest.raises(Refusal, match="PAR-0419") as refusal:
        peers.read(published, "pe", DOMAIN)
    assert reason in refusal.value.text("en")


def test_an_issuing_authority_that_its_root_withdrew_is_refused(
    published: Path, authority: CertificateAuthority
) -> None:
    authority.revoke(authority.issuing.serial_number, "key-compromise")
    authority.publish(published)
    with pytest.raises(Refusal, match="PAR-0419") as refusal:
        peers.read(published, "pe", DOMAIN)
    assert "the root revoked it" in refusal.value.text("en")


# --- receiving ------------------------------------------------------------------------------------


def roots_in(received: Path) -> list[str]:
    """Return what an agreement says that names the root as it was received."""
    return [anchor_digest((received / "ca/pe-root.pem").read_bytes())]


def renewed(authority: CertificateAuthority, clock: Clock, target: Path) -> Path:
    clock.advance(days=5)
    assert authority.crl() == ["issuing"]
    authority.publish(target)
    return target


def test_a_newer_list_is_taken_in_once(
    published: Path, authority: CertificateAuthority, clock: Clock, tmp_path: Path
) -> None:
    received = renewed(authority, clock, tmp_path / "received")
    taken = peers.accept(received, published, "pe", DOMAIN, roots_in(received), clock.now)
    assert taken == ["crl/pe-issuing.crl"]
    assert peers.accept(received, published, "pe", DOMAIN, roots_in(received), clock.now) == []


def test_the_first_publication_of_a_member_is_taken_in_whole(
    published: Path, clock: Clock, tmp_path: Path
) -> None:
    taken = peers.accept(published, tmp_path / "ours", "pe", DOMAIN, roots_in(published), clock.now)
    assert taken == list(peers.public_files("pe"))


@pytest.mark.req("B2")
def test_a_root_that_the_agreement_does_not_name_is_not_taken_in(
    published: Path, clock: Clock, tmp_path: Path
) -> None:
    for roots in ([], ["ab" * 32]):
        with pytest.raises(Refusal, match="PAR-0436"):
            peers.accept(published, tmp_path / "ours", "pe", DOMAIN, roots, clock.now)
    assert not (tmp_path / "ours").exists()


def test_an_older_list_is_a_replay_and_refused(
    published: Path, authority: CertificateAuthority, clock: Clock, tmp_path: Path
) -> None:
    old = shutil.copytree(published, tmp_path / "old")
    renewed(authority, clock, published)
    with pytest.raises(Refusal, match="PAR-0420"):
        peers.accept(old, published, "pe", DOMAIN, roots_in(old), clock.now)


@pytest.mark.parametrize("written", range(4))
def test_an_authority_made_anew_is_taken_in_although_an_earlier_try_ended_half_way(
    published: Path, clock: Clock, tmp_path: Path, written: int
) -> None:
    clock.advance(hours=1)
    CertificateAuthority.create(
        tmp_path / "new" / "pe", "pe", DOMAIN, b"a new passphrase of it", clock=clock
    ).publish(tmp_path / "received")
    for relative in peers.public_files("pe")[:written]:
        shutil.copy(tmp_path / "received" / relative, published / relative)
    taken = peers.accept(
        tmp_path / "received", published, "pe", DOMAIN, roots_in(tmp_path / "received"), clock.now
    )
    assert taken == list(peers.public_files("pe")[written:])
    assert peers.read(published, "pe", DOMAIN)


def test_what_is_held_and_unreadable_is_not_taken_for_nothing(
    published: Path, clock: Clock, tmp_path: Path
) -> None:
    received = shutil.copytree(published, tmp_path / "received")
    (published / "crl/pe-issuing.crl").write_text("-----BEGIN")
    with pytest.raises(Refusal, match="PAR-0418"):
        peers.accept(received, published, "pe", DOMAIN, roots_in(received), clock.now)


def test_a_list_past_its_end_is_not_taken_in(published: Path, clock: Clock, tmp_path: Path) -> None:
    clock.advance(days=8)
    with pytest.raises(Refusal, match="PAR-0421"):
        peers.accept(published, tmp_path / "ours", "pe", DOMAIN, roots_in(published), clock.now)


# --- two generations ------------------------------------------------------------------------------


@pytest.fixture
def successor(tmp_path: Path, published: Path, clock: Clock) -> CertificateAuthority:
    """Peru's second authority, published beside its first."""
    passphrase = b"a new passphrase of it"
    made = CertificateAuthority.create(
        tmp_path / "ca" / "pe-g2", "pe", DOMAIN, passphrase, clock=clock, generation=2
    )
    assert sorted(made.publish(published)) == sorted(peers.public_files("pe", 2))
    return made


def digests(*authorities: CertificateAuthority) -> list[str]:
    return [certificates.fingerprint(one.root) for one in authorities]


@pytest.mark.req("B5")
def test_what_the_agreement_names_is_read_and_nothing_else(
    published: Path, authority: CertificateAuthority, successor: CertificateAuthority
) -> None:
    both = peers.read_agreed(published, "pe", DOMAIN, digests(successor, authority))
    assert [one.root for one in both] == [authority.root, successor.root]
    for one in (authority, successor):
        (alone,) = peers.read_agreed(published, "pe", DOMAIN, digests(one))
        assert alone.root == one.root
    with pytest.raises(Refusal, match="PAR-0436"):
        peers.read_agreed(published, "pe", DOMAIN, ["ab" * 32])
    with pytest.raises(Refusal, match=r"PAR-0449.*abababab"):
        peers.read_agreed(published, "pe", DOMAIN, [*digests(authority), "ab" * 32])


def test_an_agreed_generation_without_one_of_its_files_is_refused(
    published: Path, authority: CertificateAuthority, successor: CertificateAuthority
) -> None:
    (published / "crl/pe-g2-issuing.crl").unlink()
    with pytest.raises(Refusal, match=r"PAR-0418.*pe-g2-issuing\.crl"):
        peers.read_agreed(published, "pe", DOMAIN, digests(authority, successor))
    assert peers.read_agreed(published, "pe", DOMAIN, digests(authority))


@pytest.mark.req("B5")
def test_a_successor_is_taken_in_beside_the_first_once_it_is_agreed(
    published: Path,
    authority: CertificateAuthority,
    successor: CertificateAuthority,
    clock: Clock,
    tmp_path: Path,
) -> None:
    ours, agreed = tmp_path / "ours", digests(authority, successor)
    first = peers.accept(published, ours, "pe", DOMAIN, agreed[:1], clock.now)
    assert first == list(peers.public_files("pe"))
    second = peers.accept(published, ours, "pe", DOMAIN, agreed, clock.now)
    assert second == list(peers.public_files("pe", 2))
    assert len(peers.read_agreed(ours, "pe", DOMAIN, agreed)) == 2


@pytest.mark.req("B5")
def test_a_node_trusts_both_generations_with_the_lists_of_both(
    published: Path, authority: CertificateAuthority, successor: CertificateAuthority
) -> None:
    both = peers.read_agreed(published, "pe", DOMAIN, digests(authority, successor))
    files = peers.trust_files("swanctl", both)
    for relative in (*peers.public_files("pe"), *peers.public_files("pe", 2)):
        target = f"/etc/swanctl/x509{relative}"
        assert files[target] == (published / relative).read_text()
    record = json.loads(files[peers.TRUST_RECORD])["pe"]
    assert sorted(record) == ["g2-issuing", "g2-root", "issuing", "root"]
    assert record["g2-root"]["sha256"] == digests(successor)[0]
    haproxy = peers.trust_files("haproxy", both)
    assert haproxy["/etc/haproxy/paranal/pe-ca.pem"].count("BEGIN CERTIFICATE") == 4
    assert haproxy["/etc/haproxy/paranal/pe.crl"].count("BEGIN X509 CRL") == 4
    with pytest.raises(Refusal, match=r"PAR-0420.*g2-issuing"):
        peers.refuse_older(both[1], {"g2-issuing": 2**40})


# --- what a node trusts ---------------------------------------------------------------------------


@pytest.mark.req("R12")
def test_a_country_with_nothing_open_is_trusted_for_its_line_only() -> None:
    view = member_view(load(AGREEMENT / "pacific-alliance.yml"), "pe")
    assert list(peers.trusted_members("haproxy", view)) == ["pe", "co", "mx"]
    assert list(peers.trusted_members("swanctl", view)) == ["pe", "cl", "co", "mx"]
    view = member_view(load(AGREEMENT / "all-live.yml"), "pe")
    assert list(peers.trusted_members("haproxy", view)) == ["pe", "cl", "co", "mx"]


def test_each_country_has_files_of_its_own_and_none_is_pooled(published: Path) -> None:
    both = [peers.read(published, code, f"{code}.paranal.example") for code in ("pe", "co")]
    files = peers.trust_files("haproxy", both)
    assert sorted(files) == [
        f"/etc/haproxy/paranal/{name}" for name in ("co-ca.pem", "co.crl", "pe-ca.pem", "pe.crl")
    ]
    chain = x509.load_pem_x509_certificates(files["/etc/haproxy/paranal/co-ca.pem"].encode())
    assert chain == [both[1].root, both[1].issuing]
    files = peers.trust_files("swanctl", both)
    assert len(files) == 9
    record = json.loads(files[peers.TRUST_RECORD])
    assert record["pe"]["issuing"]["number"] == both[0].numbers["issuing"]
    assert record["co"]["root"]["sha256"] == certificates.fingerprint(both[1].root)


def test_a_leaf_of_one_country_is_no_authority_of_another(
    published: Path, authority: CertificateAuthority, csr: MakeRequest
) -> None:
    names = [f"gw.{DOMAIN}"]
    put(published, "ca/pe-issuing.pem", authority.issue(csr(names), "ike", names).certificate)
    with pytest.raises(Refusal, match="PAR-0419"):
        peers.read(published, "pe", DOMAIN)
