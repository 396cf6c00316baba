"""Issue, revoke and list: every refusal, every judgement by openssl, every crash point."""

from __future__ import annotations

import json
import os
import stat
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.messages import Refusal
from paranal.pki import certificates, profiles, storage
from paranal.pki.authority import CertificateAuthority

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock, Country, MakeRequest, Strange, Verify

DOMAIN = "pe.paranal.example"
PASSPHRASE = b"a passphrase of the test, long enough"
GATEWAY = [f"gw.{DOMAIN}"]


def numbers(authority: CertificateAuthority) -> dict[str, int]:
    return {name: certificates.crl_number(crl) for name, crl in authority.lists().items()}


# --- what a verifier says ---------------------------------------------------------------------


@pytest.mark.req("R6")
def test_a_leaf_holds_under_its_own_authority_and_no_other(
    authority: CertificateAuthority,
    clock: Clock,
    verify: Verify,
    csr: MakeRequest,
    country: Country,
) -> None:
    leaf = authority.issue(csr(GATEWAY), "ike", GATEWAY).pem
    assert verify(leaf, authority, clock.now) == "OK"
    assert verify(leaf, country("co"), clock.now) == ("unable to get local issuer certificate")


@pytest.mark.parametrize(
    "name", ["gw.co.paranal.example", "gw.CO.paranal.example", "q.evilpe.paranal.example"]
)
def test_a_foreign_name_under_the_right_authority_is_refused_by_its_constraints(
    authority: CertificateAuthority, clock: Clock, verify: Verify, name: str
) -> None:
    """The authority's own check is passed by: what a thief of its key could sign."""
    rogue = certificates.leaf(
        profiles.PROFILES["ike"],
        "pe",
        [name],
        certificates.new_key().public_key(),
        1,
        authority.issuing,
        authority._issuing.key,
        clock.now,
    )
    pem = rogue.public_bytes(Encoding.PEM)
    assert verify(pem, authority, clock.now) == "permitted subtree violation"


def test_a_leaf_is_refused_before_and_after_its_life(
    authority: CertificateAuthority, clock: Clock, verify: Verify, csr: MakeRequest
) -> None:
    clock.advance(hours=1)
    leaf = authority.issue(csr(GATEWAY), "ike", GATEWAY).pem
    clock.advance(seconds=-29)
    assert verify(leaf, authority, clock.now) == "OK"
    clock.advance(seconds=-2)
    assert verify(leaf, authority, clock.now) == "certificate is not yet valid"
    clock.advance(days=89, hours=23)
    authority.crl()
    assert verify(leaf, authority, clock.now) == "OK"
    clock.advance(hours=2)
    authority.crl()
    assert verify(leaf, authority, clock.now) == "certificate has expired"


def test_a_leaf_lives_as_long_as_asked_and_never_longer_than_ninety_days(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    leaf = authority.issue(csr(GATEWAY), "ike", GATEWAY, timedelta(minutes=3)).certificate
    assert leaf.not_valid_after_utc == clock.now - timedelta(seconds=30) + timedelta(minutes=3)
    for life in (timedelta(days=90, seconds=1), timedelta(minutes=1), -timedelta(days=1)):
        with pytest.raises(Refusal, match="PAR-0437"):
            authority.issue(csr(GATEWAY), "ike", GATEWAY, life)


def test_a_revoked_leaf_is_refused_and_its_neighbour_is_not(
    authority: CertificateAuthority, clock: Clock, verify: Verify, csr: MakeRequest
) -> None:
    leaves = [authority.issue(csr(GATEWAY), "ike", GATEWAY) for _ in range(2)]
    assert authority.revoke(leaves[0].certificate.serial_number, "key-compromise")
    assert verify(leaves[0].pem, authority, clock.now) == "certificate revoked"
    assert verify(leaves[1].pem, authority, clock.now) == "OK"


def test_a_list_past_its_end_refuses_everything(
    authority: CertificateAuthority, clock: Clock, verify: Verify, csr: MakeRequest
) -> None:
    leaf = authority.issue(csr(GATEWAY), "ike", GATEWAY).pem
    clock.advance(days=8)
    assert verify(leaf, authority, clock.now) == "CRL has expired"
    assert authority.crl() == ["issuing"]
    assert verify(leaf, authority, clock.now) == "OK"


# --- requests ---------------------------------------------------------------------------------


def test_a_request_that_is_no_request_is_refused(authority: CertificateAuthority) -> None:
    for junk in (b"", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", b"\xff" * 100):
        with pytest.raises(Refusal, match="PAR-0404"):
            authority.issue(junk, "ike", GATEWAY)


def test_a_request_that_nobody_can_read_is_refused(
    authority: CertificateAuthority, strange: Strange
) -> None:
    with pytest.raises(Refusal, match="PAR-0404"):
        authority.issue(strange.request, "ike", GATEWAY)


def test_a_request_not_signed_by_its_key_is_refused(
    authority: CertificateAuthority, csr: MakeRequest
) -> None:
    der = x509.load_pem_x509_csr(csr(GATEWAY)).public_bytes(Encoding.DER)
    forged = x509.load_der_x509_csr(der[:-1] + bytes([der[-1] ^ 1]))
    with pytest.raises(Refusal, match="PAR-0405"):
        authority.issue(forged.public_bytes(Encoding.PEM), "ike", GATEWAY)


def test_a_request_for_other_names_is_refused(
    authority: CertificateAuthority, csr: MakeRequest
) -> None:
    with pytest.raises(Refusal, match="PAR-0417"):
        authority.issue(csr([f"other.{DOMAIN}"]), "ike", GATEWAY)


def test_a_request_for_more_than_names_is_refused(
    authority: CertificateAuthority, csr: MakeRequest
) -> None:
    wants_ca = csr(GATEWAY, None, x509.BasicConstraints(ca=True, path_length=None))
    with pytest.raises(Refusal, match="PAR-0404"):
        authority.issue(wants_ca, "ike", GATEWAY)
    with pytest.raises(Refusal, match="PAR-0404"):
        authority.issue(csr([]), "ike", GATEWAY)


def test_a_key_is_certified_once_also_by_another_process(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    authority.issue(csr(GATEWAY, key), "ike", GATEWAY)
    other = CertificateAuthority(authority.directory, PASSPHRASE, clock=clock)
    for again in (authority, other):
        with pytest.raises(Refusal, match="PAR-0409"):
            again.issue(csr(GATEWAY, key), "tls", GATEWAY)


def test_an_issuing_authority_at_its_end_certifies_nothing(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    clock.advance(days=1094)
    late = authority.issue(csr(GATEWAY), "ike", GATEWAY)
    assert late.certificate.not_valid_after_utc == authority.issuing.not_valid_after_utc
    clock.advance(hours=1)
    with pytest.raises(Refusal, match="PAR-0415"):
        authority.issue(csr(GATEWAY), "ike", GATEWAY)


# --- serials and registers --------------------------------------------------------------------


def test_serials_are_random_long_and_never_used_twice(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, csr: MakeRequest
) -> None:
    first = authority.issue(csr(GATEWAY), "ike", GATEWAY).certificate.serial_number
    assert first.bit_length() > 128
    draws = iter([first, first, 7])
    monkeypatch.setattr(x509, "random_serial_number", lambda: next(draws))
    assert authority.issue(csr(GATEWAY), "ike", GATEWAY).certificate.serial_number == 7


def test_ten_thousand_serials_differ(authority: CertificateAuthority) -> None:
    serials = set()
    for _ in range(10_000):
        serial = authority._new_serial()
        authority._serials.add(f"{serial:x}")
        serials.add(serial)
    assert len(serials) == 10_000
    assert max(serials).bit_length() <= 159


def test_many_issue_at_once_and_every_one_is_written_down(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    """Each thread has its own handle, as each Ansible fork has."""
    serials: list[int] = []

    def work() -> None:
        mine = CertificateAuthority(authority.directory, PASSPHRASE, clock=clock)
        for _ in range(10):
            serials.append(mine.issue(csr(GATEWAY), "ike", GATEWAY).certificate.serial_number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [int(entry["serial"], 16) for entry in authority.issued()]
    assert len(set(serials)) == 80
    assert sorted(written) == sorted(serials)


def test_a_busy_authority_says_who_holds_it(authority: CertificateAuthority) -> None:
    with (
        storage.locked(authority.directory),
        pytest.raises(Refusal, match=f"PAR-0412.*{os.getpid()}"),
        storage.locked(authority.directory, patience=0.05),
    ):
        pass


def test_a_line_cut_by_a_crash_is_dropped_and_a_damaged_one_refused(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    first = authority.issue(csr(GATEWAY), "ike", GATEWAY)
    register = authority.directory / "issuing" / "issued.jsonl"
    with register.open("ab") as stream:
        stream.write(b'{"serial": "' + b"a" * 2000)
    fresh = CertificateAuthority(authority.directory, PASSPHRASE, clock=clock)
    second = fresh.issue(csr(GATEWAY), "ike", GATEWAY)
    wanted = [f"{one.certificate.serial_number:x}" for one in (first, second)]
    assert [json.loads(line)["serial"] for line in register.read_text().splitlines()] == wanted
    register.write_bytes(b"not json\n" + register.read_bytes())
    with pytest.raises(Refusal, match="PAR-0414"):
        CertificateAuthority(authority.directory, PASSPHRASE).issued()


def test_a_certificate_that_could_not_be_written_down_is_not_handed_out(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, csr: MakeRequest
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        authority.issue(csr(GATEWAY), "ike", GATEWAY)
    monkeypatch.undo()
    assert authority.issued() == []
    assert authority.issue(csr(GATEWAY), "ike", GATEWAY)


def test_the_first_line_of_a_register_is_durable_with_its_name(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, csr: MakeRequest
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(storage, "sync_directory", synced.append)
    authority.issue(csr(GATEWAY), "ike", GATEWAY)
    assert synced == [authority.directory / "issuing"]
    authority.issue(csr(GATEWAY), "ike", GATEWAY)
    assert len(synced) == 1


# --- revocation lists -------------------------------------------------------------------------


def test_a_second_call_signs_nothing_until_a_third_of_life_is_left(
    authority: CertificateAuthority, clock: Clock
) -> None:
    before = numbers(authority)
    assert authority.crl() == []
    clock.advance(days=4.6)
    assert authority.crl() == []
    clock.advance(days=0.1)
    assert authority.crl() == ["issuing"]
    assert numbers(authority)["issuing"] > before["issuing"]
    assert numbers(authority)["root"] == before["root"]
    clock.advance(days=240)
    assert authority.crl() == ["root", "issuing"]


def test_a_number_grows_within_one_second_and_after_a_restored_backup(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    seen = [numbers(authority)["issuing"]]
    backup = (authority.directory / "issuing" / "crl.pem").read_bytes()
    for _ in range(3):
        leaf = authority.issue(csr(GATEWAY), "ike", GATEWAY).certificate
        authority.revoke(leaf.serial_number, "superseded")
        seen.append(numbers(authority)["issuing"])
    (authority.directory / "issuing" / "crl.pem").write_bytes(backup)
    clock.advance(minutes=1)
    assert authority.crl() == ["issuing"]
    seen.append(numbers(authority)["issuing"])
    assert seen == sorted(set(seen))


def test_a_revocation_is_kept_when_the_list_was_not_signed(
    authority: CertificateAuthority,
    clock: Clock,
    verify: Verify,
    monkeypatch: pytest.MonkeyPatch,
    csr: MakeRequest,
) -> None:
    leaf = authority.issue(csr(GATEWAY), "ike", GATEWAY)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_renew_lists", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            authority.revoke(leaf.certificate.serial_number, "key-compromise")
    assert verify(leaf.pem, authority, clock.now) == "OK"
    assert authority.crl() == ["issuing"]
    assert verify(leaf.pem, authority, clock.now) == "certificate revoked"


def test_revoking_twice_changes_nothing(authority: CertificateAuthority, csr: MakeRequest) -> None:
    serial = authority.issue(csr(GATEWAY), "ike", GATEWAY).certificate.serial_number
    assert authority.revoke(serial, "superseded") is True
    before = numbers(authority)
    assert authority.revoke(serial, "key-compromise") is False
    assert numbers(authority) == before
    assert authority.issued()[0]["revoked"] == "superseded"


def test_an_expired_certificate_leaves_the_list_one_list_later(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    serial = authority.issue(csr(GATEWAY), "ike", GATEWAY).certificate.serial_number
    authority.revoke(serial, "superseded")
    clock.advance(days=91)
    authority.crl()
    assert len(authority.lists()["issuing"]) == 1
    clock.advance(days=8)
    authority.crl()
    assert len(authority.lists()["issuing"]) == 0


def test_what_was_never_issued_cannot_be_revoked(authority: CertificateAuthority) -> None:
    with pytest.raises(Refusal, match="PAR-0410"):
        authority.revoke(12345, "superseded")
    with pytest.raises(Refusal, match="PAR-0411"):
        authority.revoke(12345, "because")


def test_the_root_withdraws_its_issuing_authority(
    authority: CertificateAuthority, clock: Clock, verify: Verify, csr: MakeRequest
) -> None:
    leaf = authority.issue(csr(GATEWAY), "ike", GATEWAY).pem
    authority.revoke(authority.issuing.serial_number, "key-compromise")
    assert verify(leaf, authority, clock.now) == "certificate revoked"


def test_an_offline_root_stops_only_what_needs_its_key(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    (authority.directory / "root" / "key.pem").unlink()
    offline = CertificateAuthority(authority.directory, PASSPHRASE, clock=clock)
    assert offline.issue(csr(GATEWAY), "ike", GATEWAY)
    with pytest.raises(Refusal, match="PAR-0413"):
        offline.revoke(authority.issuing.serial_number, "key-compromise")
    clock.advance(days=300)
    assert offline.crl() == ["issuing"]
    report = offline.status()
    assert (report["root"]["key_present"], report["root"]["crl_due"]) == (False, True)


# --- the directory ----------------------------------------------------------------------------


def test_keys_are_encrypted_and_only_ours_to_read(authority: CertificateAuthority) -> None:
    for name in ("root", "issuing"):
        key = authority.directory / name / "key.pem"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert key.read_bytes().startswith(b"-----BEGIN ENCRYPTED ")
    assert stat.S_IMODE(authority.directory.stat().st_mode) == 0o700


def test_a_wrong_passphrase_opens_nothing(
    authority: CertificateAuthority, csr: MakeRequest
) -> None:
    for passphrase in (b"another passphrase of the test", None):
        locked = CertificateAuthority(authority.directory, passphrase)
        with pytest.raises(Refusal, match="PAR-0403"):
            locked.issue(csr(GATEWAY), "ike", GATEWAY)


def test_root_and_issuing_may_have_their_own_passphrases(
    tmp_path: Path, clock: Clock, csr: MakeRequest
) -> None:
    CertificateAuthority.create(
        tmp_path / "pe", "pe", DOMAIN, PASSPHRASE, root_passphrase=b"root's own words", clock=clock
    )
    only_issuing = CertificateAuthority(tmp_path / "pe", PASSPHRASE, clock=clock)
    assert only_issuing.issue(csr(GATEWAY), "ike", GATEWAY)
    with pytest.raises(Refusal, match="PAR-0403"):
        only_issuing.revoke(only_issuing.issuing.serial_number, "superseded")


def create(directory: Path, clock: Clock) -> CertificateAuthority:
    return CertificateAuthority.create(directory, "pe", DOMAIN, PASSPHRASE, clock=clock)


def test_a_new_authority_is_complete_and_works(
    tmp_path: Path, clock: Clock, csr: MakeRequest, verify: Verify
) -> None:
    made = create(tmp_path / "new" / "pe", clock)
    leaf = made.issue(csr(GATEWAY), "ike", GATEWAY).pem
    assert verify(leaf, made, clock.now) == "OK"
    assert made.crl() == []


def test_creation_is_whole_or_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CertificateAuthority, "crl", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        create(tmp_path / "ca" / "pe", clock)
    assert list((tmp_path / "ca").iterdir()) == []


def test_an_authority_is_never_overwritten(authority: CertificateAuthority, clock: Clock) -> None:
    root = authority.root
    with pytest.raises(Refusal, match="PAR-0416"):
        create(authority.directory, clock)
    assert CertificateAuthority(authority.directory).root == root
    assert [entry.name for entry in authority.directory.parent.iterdir()] == ["pe"]


@pytest.mark.parametrize(("member", "domain"), [("PE", DOMAIN), ("per", DOMAIN), ("pe", "pe")])
def test_a_member_or_domain_that_is_none_is_refused(
    tmp_path: Path, member: str, domain: str
) -> None:
    with pytest.raises(Refusal, match="PAR-0416"):
        CertificateAuthority.create(tmp_path / "ca", member, domain, PASSPHRASE)


def test_a_directory_without_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="PAR-0401"):
        CertificateAuthority(tmp_path)
    for text in ("{}", "[]", "{"):
        (tmp_path / "ca.json").write_text(text)
        with pytest.raises(Refusal, match="PAR-0401"):
            CertificateAuthority(tmp_path)


def test_a_place_where_nothing_can_be_made_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match="PAR-0416"):
        create(tmp_path / "file" / "pe", clock)
    with pytest.raises(Refusal, match="PAR-0402"):
        storage.ensure_passphrase(tmp_path / "file" / "pe.passphrase")


@pytest.mark.parametrize("name", ["certificate.pem", "crl.pem"])
@pytest.mark.parametrize("signer", ["root", "issuing"])
def test_a_damaged_file_is_named(authority: CertificateAuthority, signer: str, name: str) -> None:
    damaged = authority.directory / signer / name
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(Refusal, match=f"PAR-0414: {damaged}"):
        CertificateAuthority(authority.directory, PASSPHRASE).status()


def test_a_lost_list_is_named(authority: CertificateAuthority) -> None:
    (authority.directory / "root" / "crl.pem").unlink()
    with pytest.raises(Refusal, match="PAR-0414"):
        authority.lists()


def test_a_lost_register_does_not_forget_a_revocation(
    authority: CertificateAuthority, clock: Clock, csr: MakeRequest
) -> None:
    serial = authority.issue(csr(GATEWAY), "ike", GATEWAY).certificate.serial_number
    authority.revoke(serial, "superseded")
    (authority.directory / "issuing" / "issued.jsonl").unlink()
    clock.advance(days=6)
    with pytest.raises(Refusal, match="PAR-0414"):
        CertificateAuthority(authority.directory, PASSPHRASE, clock=clock).crl()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE + b"\n")
    path.chmod(mode)
    with pytest.raises(Refusal, match="PAR-0402"):
        storage.read_passphrase(path)
    path.chmod(0o600)
    assert storage.read_passphrase(path) == PASSPHRASE


def test_a_short_or_missing_passphrase_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    with pytest.raises(Refusal, match="PAR-0402"):
        storage.read_passphrase(path)
    storage.write_atomic(path, b"too short\n")
    with pytest.raises(Refusal, match="PAR-0402"):
        storage.read_passphrase(path)


def test_a_passphrase_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "pe.passphrase"
    first = storage.ensure_passphrase(path)
    assert storage.ensure_passphrase(path) == first
    assert len(first) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "crl.pem"
    storage.write_atomic(path, b"old", 0o644)
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        storage.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["crl.pem"]
