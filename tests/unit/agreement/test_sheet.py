"""A parameter sheet says what both ends' connections say, in any make's words, on one page."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from paranal import cli
from paranal.agreement import Agreement
from paranal.agreement.connections import connections
from paranal.agreement.crypto import PROFILES
from paranal.agreement.derive import member_view
from paranal.agreement.sheet import pair_name, published, sheet
from paranal.agreement.sheet_page import COLUMNS, LINES, page
from paranal.agreement.transforms import TYPE_NAMES, esp_transforms, transforms
from paranal.messages import Refusal
from tests.unit.agreement.views import REPOSITORY, document

GOLDEN = Path(__file__).parent / "golden"
PRINTS = {
    code: {authority: digit * 64 for authority, digit in (("root", "a"), ("issuing", "b"))}
    for code in ("co", "pe")
}


def made(
    agreement: Agreement | None = None, pair: str = "co-pe", local: str = "pe"
) -> dict[str, Any]:
    return sheet(agreement or document("pacific-alliance"), pair, local, PRINTS)


def with_profile(profile: str) -> Agreement:
    agreement = document("all-live")
    changed = copy.deepcopy(agreement.document)
    for pair in changed["pairs"]:
        pair |= {"crypto_profile": profile, "ppk": {"generation": 2}}
    return replace(agreement, document=changed)


@pytest.mark.req("R6")
@pytest.mark.parametrize("language", ["es", "en"])
def test_the_page_is_the_golden_one(language: str) -> None:
    path, text = GOLDEN / f"pe-co.{language}.txt", page(made(), language)
    if os.environ.get("PARANAL_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("language", ["es", "en"])
def test_every_pair_of_every_profile_fits_one_page(profile: str, language: str) -> None:
    agreement = with_profile(profile)
    for pair in agreement.document["pairs"]:
        lines = page(
            made(agreement, "-".join(pair["members"]), pair["members"][1]), language
        ).splitlines()
        assert len(lines) <= LINES
        assert max(map(len, lines)) <= COLUMNS


def test_long_names_go_below_each_other_and_none_is_cut() -> None:
    long = copy.deepcopy(made())
    long["ends"]["pe"]["identity"] = f"gw.{'x' * 45}.pe.paranal.example"
    long["ends"]["co"]["contact"]["name"] = "Turno " * 20
    lines = page(long, "es").splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert any(line.endswith(long["ends"]["pe"]["identity"]) for line in lines)
    assert " ".join(lines).count("Turno") == 21


@pytest.mark.req("R6")
@pytest.mark.parametrize("local", ["co", "pe"])
def test_a_sheet_says_what_each_ends_own_connection_says(local: str) -> None:
    found = made(local=local)
    for code, peer in (("co", "pe"), ("pe", "co")):
        view = member_view(document("pacific-alliance"), code)
        (own,) = (
            each
            for each in connections(view, {one["code"]: "" for one in view["peers"]})
            if each["peer"] == peer
        )
        config, end = own["config"], found["ends"][code]
        assert [end["wan_address"]] == config["local_addrs"]
        assert f"{end['rekey_seconds']}s" == config["rekey_time"]
        assert [found["ike"]["proposal"]] == config["proposals"]
        for child in found["children"]:
            theirs = config["children"][child["name"]]
            assert child["selectors"][code] == theirs["local_ts"]
            assert child["selectors"][peer] == theirs["remote_ts"]
            assert [child["proposal"]] == theirs["esp_proposals"]
    assert (found["local"], found["ends"]["co"]["initiates"]) == (local, True)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_word_of_a_profile_has_its_name_and_number(profile: str) -> None:
    chosen = PROFILES[profile]
    ike = [TYPE_NAMES[each.type] for each in transforms(chosen.ike)]
    assert ike[:3] == ["ENCR", "PRF", "KE"]
    for esn in (True, False):
        (last,) = (each for each in esp_transforms(chosen.esp_proposal(esn=esn)) if each.type == 5)
        assert last.number == int(esn)


def test_a_word_without_a_number_is_never_left_out() -> None:
    with pytest.raises(KeyError):
        transforms("aes256gcm16-prfsha384-modp1024")


def test_a_preshared_key_is_named_and_never_shown() -> None:
    found = made(with_profile("ppk"))
    assert found["ike"]["ppk_id"] == "co-pe-g2"
    assert "PPK co-pe-g2" in page(found, "es")
    assert "PPK no" in page(made(), "es")


@pytest.mark.req("R12")
def test_a_pair_with_nothing_open_has_no_child() -> None:
    found = sheet(document("pacific-alliance"), "cl-pe", "pe", {})
    assert found["children"] == []
    assert "solo prueba de línea" in page(found, "es")
    assert "sin publicar todavía" in page(found, "es")


@pytest.mark.parametrize("written", ["pe-xx", "pe", "pe-pe", "pe-co-mx", ""])
def test_an_unknown_pair_is_refused_with_those_there_are(written: str) -> None:
    with pytest.raises(Refusal, match=r"PAR-0140.*co-pe"):
        pair_name(document("pacific-alliance"), written)


def test_a_pair_may_be_written_from_either_end() -> None:
    assert {pair_name(document("pacific-alliance"), each) for each in ("co-pe", "pe-co")} == {
        "co-pe"
    }


def test_an_end_that_is_not_of_the_pair_is_refused() -> None:
    with pytest.raises(Refusal, match=r"PAR-0141.*«cl».*co-pe"):
        made(local="cl")


def certificate() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    return built.sign(key, hashes.SHA384())


def test_fingerprints_are_those_of_the_published_certificates(tmp_path: Path) -> None:
    root = certificate()
    (tmp_path / "pe-root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    found = published(tmp_path, "co-pe")
    assert found == {"pe": {"root": root.fingerprint(hashes.SHA256()).hex()}}


def relieved(**roots: list[str]) -> Agreement:
    """Return the agreement with these members' roots named."""
    agreement = document("pacific-alliance")
    for code, named in roots.items():
        agreement.document["members"][code]["roots"] = named
    return agreement


def test_the_generations_of_a_relieved_authority_are_all_published(tmp_path: Path) -> None:
    pem = certificate().public_bytes(serialization.Encoding.PEM)
    for name in ("pe-root", "pe-issuing", "pe-g2-root", "pe-g2-issuing", "pem-g2-root"):
        (tmp_path / f"{name}.pem").write_bytes(pem)
    found = published(tmp_path, "co-pe")
    assert set(found["pe"]) == {"root", "issuing", "g2-root", "g2-issuing"}


BOTH = {"root": "a" * 64, "issuing": "b" * 64, "g2-root": "c" * 64, "g2-issuing": "d" * 64}


@pytest.mark.parametrize(
    ("named", "lines", "absent"),
    [
        (["a", "c"], ["CA PE raíz", "CA PE emisora", "PE g2 raíz", "PE g2 emisora"], []),
        (["a"], ["CA PE raíz", "CA PE emisora"], ["PE g2"]),
        (["c"], ["PE g2 raíz", "PE g2 emisora"], ["CA PE"]),
        (["e"], ["CA PE raíz      sin publicar"], ["PE g2"]),
    ],
)
def test_every_agreed_generation_is_on_the_page_and_no_other(
    named: list[str], lines: list[str], absent: list[str]
) -> None:
    agreement = relieved(pe=[digit * 64 for digit in named])
    text = page(sheet(agreement, "co-pe", "pe", {"pe": BOTH}), "es")
    for line in lines:
        assert f"\n{line}" in text
    for label in absent:
        assert f"\n{label}" not in text


def test_both_ends_relieved_at_once_fit_one_page() -> None:
    agreement = relieved(**{code: ["a" * 64, "c" * 64] for code in ("co", "pe")})
    lines = page(sheet(agreement, "co-pe", "pe", {"co": BOTH, "pe": BOTH}), "es").splitlines()
    assert sum("g2" in line for line in lines) == 4
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS


def test_what_is_published_and_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "co-issuing.pem").write_text("-----BEGIN", encoding="ascii")
    with pytest.raises(Refusal, match=r"PAR-0142.*co-issuing.pem"):
        published(tmp_path, "co-pe")


def test_the_command_prints_a_page_data_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        *("agreement", "sheet", "pe-co"),
        *("--agreement", str(REPOSITORY / "agreement/pacific-alliance.yml")),
    ]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("HOJA DE PARÁMETROS · par co-pe")
    assert "LOCAL PE" in printed
    assert cli.main([*words, "--from", "co", "--lang", "en", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["local"] == "co"
    assert cli.main([*words, "-o", str(tmp_path / "sheet.txt")]) == 0
    assert (tmp_path / "sheet.txt").read_text(encoding="utf-8") == printed
    assert cli.main([*words, "-o", str(tmp_path / "none/sheet.txt")]) == cli.EXIT_REFUSED
    assert "PAR-0002" in capsys.readouterr().err
