"""A list from whoever brings it is taken when it is its authority's, whole, of now, and newer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.messages import Refusal
from paranal.pki import certificates, lists, peers
from paranal.pki.authority import CertificateAuthority

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock, Country, MakeRequest

DAY = timedelta(days=1)
LATER = 2**40
"""Beyond every number that an authority takes from its clock."""

Signed = Callable[..., x509.CertificateRevocationList]


@pytest.fixture
def held(
    tmp_path: Path, country: Country, authority: CertificateAuthority
) -> list[peers.PublicAuthority]:
    """Return what a node holds of CO and PE."""
    found = []
    for one in (country("co"), authority):
        one.publish(tmp_path / "published")
        found.append(peers.read(tmp_path / "published", one.member, one.domain))
    return found


@pytest.fixture
def signed(authority: CertificateAuthority, clock: Clock) -> Signed:
    """Return a function that signs a list of PE's issuing CA, however odd."""

    def sign(
        number: int = 9,
        begin: timedelta = -DAY,
        end: timedelta = DAY,
        algorithm: hashes.SHA224 | hashes.SHA384 | None = None,
        more: x509.ExtensionType | None = None,
    ) -> x509.CertificateRevocationList:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.issuing.subject)
            .last_update(clock.now + begin)
            .next_update(clock.now + end)
            .add_extension(x509.CRLNumber(LATER + number), critical=False)
        )
        if more:
            builder = builder.add_extension(more, critical=True)
        return builder.sign(authority._issuing.key, algorithm or hashes.SHA384())

    return sign


def refused(
    crl: x509.CertificateRevocationList, held: list[peers.PublicAuthority], clock: Clock
) -> Refusal:
    with pytest.raises(Refusal) as caught:
        lists.judge(crl, held, clock.now)
    return caught.value


def test_the_next_list_of_either_authority_is_news(
    authority: CertificateAuthority,
    held: list[peers.PublicAuthority],
    csr: MakeRequest,
    clock: Clock,
) -> None:
    names = ["gw.pe.paranal.example"]
    serial = authority.issue(csr(names), "ike", names).certificate.serial_number
    authority.revoke(serial, "key-compromise")
    news = lists.judge(authority.lists()["issuing"], held, clock.now)
    assert (news.member, news.name, news.is_newer) == ("pe", "issuing", True)
    assert news.number == certificates.crl_number(held[1].issuing_crl) + 1
    assert lists.revoked(news.authority) - lists.revoked(held[1]) == {serial}
    again = lists.judge(news.crl, [held[0], news.authority], clock.now)
    assert not again.is_newer

    authority.revoke(authority.issuing.serial_number, "key-compromise")
    root = lists.judge(authority.lists()["root"], held, clock.now)
    assert (root.name, root.authority.is_withdrawn) == ("root", True)
    assert not held[1].is_withdrawn


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_a_list_is_read_in_either_form(signed: Signed, form: Encoding) -> None:
    assert certificates.crl_number(lists.parse(signed(7).public_bytes(form))) == LATER + 7


def test_what_is_no_single_list_is_refused(signed: Signed, authority: CertificateAuthority) -> None:
    pem = signed().public_bytes(Encoding.PEM)
    certificate = authority.root.public_bytes(Encoding.PEM)
    numberless = pem.replace(b"M", b"N", 1)
    for data in (b"", b"\0" * 99, b"{}", certificate, pem + pem, pem[:200], numberless):
        with pytest.raises(Refusal, match="PAR-0904"):
            lists.parse(data)
    with pytest.raises(Refusal, match="PAR-0903"):
        lists.parse(b"0" * (lists.OCTETS_MAX + 1))


def test_an_octet_that_is_another_gives_a_list_or_a_refusal(signed: Signed) -> None:
    good = signed().public_bytes(Encoding.DER)
    codes = []
    for at in range(len(good)):
        odd = bytearray(good)
        odd[at] ^= 0x06
        try:
            lists.parse(bytes(odd))
        except Refusal as refusal:
            codes.append(refusal.code)
    assert set(codes) == {"PAR-0904"}


def test_a_list_without_a_number_is_none(authority: CertificateAuthority, clock: Clock) -> None:
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.issuing.subject)
    builder = builder.last_update(clock.now).next_update(clock.now + DAY)
    crl = builder.sign(authority._issuing.key, hashes.SHA384())
    with pytest.raises(Refusal, match="PAR-0904"):
        lists.parse(crl.public_bytes(Encoding.DER))


def test_a_list_of_nobodys_authority_is_refused(
    signed: Signed, held: list[peers.PublicAuthority], clock: Clock
) -> None:
    """Also one in the right name: PE's list means nothing to who holds CO's authority only."""
    assert refused(signed(), held[:1], clock).code == "PAR-0905"
    forged = signed().public_bytes(Encoding.DER)
    forged = forged[:-1] + bytes([forged[-1] ^ 1])
    assert refused(lists.parse(forged), held, clock).code == "PAR-0905"


def test_an_older_list_is_refused_and_another_of_the_same_number(
    signed: Signed, held: list[peers.PublicAuthority], clock: Clock
) -> None:
    newest = lists.judge(signed(9), held, clock.now).authority
    assert refused(signed(8), [newest], clock).code == "PAR-0906"
    assert refused(signed(9, end=2 * DAY), [newest], clock).code == "PAR-0907"
    assert lists.judge(signed(10), [newest], clock.now).is_newer


@pytest.mark.parametrize(
    ("begin", "end"),
    [(-2 * DAY, -DAY), (DAY, 2 * DAY), (lists.AHEAD + timedelta(seconds=1), DAY)],
)
def test_a_list_outside_its_life_is_refused(
    signed: Signed,
    held: list[peers.PublicAuthority],
    clock: Clock,
    begin: timedelta,
    end: timedelta,
) -> None:
    assert refused(signed(begin=begin, end=end), held, clock).code == "PAR-0908"
    assert lists.judge(signed(begin=lists.AHEAD), held, clock.now).is_newer


@pytest.mark.parametrize(
    "odd",
    [
        {"algorithm": hashes.SHA224()},
        {"more": x509.DeltaCRLIndicator(1)},
        {"more": x509.IssuingDistributionPoint(None, None, True, False, None, False, False)},
    ],
)
def test_a_weak_or_partial_list_is_refused(
    signed: Signed, held: list[peers.PublicAuthority], clock: Clock, odd: dict[str, object]
) -> None:
    assert refused(signed(**odd), held, clock).code == "PAR-0909"


def test_the_newest_of_several_counts_and_strange_ones_do_not(
    signed: Signed, held: list[peers.PublicAuthority], clock: Clock
) -> None:
    given = [signed(n).public_bytes(Encoding.PEM) for n in (11, 10)] + [b"garbage"]
    pe = lists.newest(held[1], given, clock.now)
    assert pe.numbers["issuing"] == LATER + 11
    assert lists.newest(held[0], given, clock.now) == held[0]


def test_an_authority_is_read_as_charon_has_it_also_when_its_root_withdrew_it(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    authority.revoke(authority.issuing.serial_number, "key-compromise")
    authority.publish(tmp_path / "published")
    for ours, theirs in (("x509ca", "ca"), ("x509crl", "crl")):
        (tmp_path / "published" / theirs).rename(tmp_path / ours)
    assert peers.installed("pe", authority.domain, tmp_path)[0].is_withdrawn
    with pytest.raises(Refusal, match="PAR-0419"):
        peers.installed("pe", "co.paranal.example", tmp_path)
    (tmp_path / "x509crl/pe-root.crl").unlink()
    with pytest.raises(Refusal, match="PAR-0418"):
        peers.installed("pe", authority.domain, tmp_path)
