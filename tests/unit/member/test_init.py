"""A country's half: whole or not at all, its own alone, and nothing secret in what leaves it."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from paranal import cli
from paranal.agreement import load
from paranal.agreement.card import read_card
from paranal.member.inventory import inventory
from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority
from paranal.pki.storage import read_passphrase

REPOSITORY = Path(__file__).parents[3]
EXAMPLE = REPOSITORY / "inventories" / "example-pe"
SHIPPED = REPOSITORY / "agreement" / "pacific-alliance.yml"
DOMAIN = "paranal.example"
FACTS = f"""\
name: {{es: Ecuador, en: Ecuador}}
status: pending
wan_address: 198.51.100.50
inner_prefix: 10.59.0.0/16
addresses: {{national: 10.59.0.1, operational: 10.59.1.1, strategic: 10.59.2.1}}
identities: {{ike: gw.ec.{DOMAIN}, operational: q.ec.{DOMAIN}, strategic: s.ec.{DOMAIN}}}
data_plane: kernel
operator: Servicio de Migración
desk: Mesa Estratégica
liaison: Ministerio de Relaciones Exteriores
contact: {{name: Turno 24/7 Ecuador, phone: +593 2 5550 0159, email: turno@ec.{DOMAIN}}}
"""
Edit = Callable[[str], str]


@dataclass
class Desk:
    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def half(self) -> Path:
        return self.folder / "half"

    @property
    def facts(self) -> Path:
        return self.folder / "facts.yml"

    def init(self, *words: str, status: int = 0, text: bool = False) -> Any:  # noqa: ANN401 - JSON
        argv = ["member", "init", "ec", "--domain", DOMAIN, "--facts", str(self.facts)]
        argv += ["--directory", str(self.half), *words, *([] if text else ["--json"])]
        assert cli.main(argv) == status
        said = self.capsys.readouterr()
        self.said = said.out + said.err
        return None if text else json.loads(said.out)

    def left(self) -> list[str]:
        """Return what stands beside the facts."""
        return sorted(path.name for path in self.folder.iterdir() if path != self.facts)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    made = Desk(tmp_path, capsys)
    made.facts.write_text(FACTS, encoding="utf-8")
    return made


def secrets_of(half: Path, code: str = "ec") -> list[bytes]:
    """Return every line that must not leave: passphrases, private keys."""
    files = [half / "ca" / f"{code}.passphrase", half / "ppk" / f"{code}.passphrase"]
    files += [half / "ca" / code / each / "key.pem" for each in ("root", "issuing")]
    files += [half / "signer" / code]
    lines = [line for path in files for line in path.read_bytes().splitlines()]
    return [line for line in lines if len(line) > 16 and not line.startswith(b"-----")]


@pytest.mark.req("B1")
def test_the_example_inventory_is_what_the_templates_give() -> None:
    keys = {
        line.split()[0]: line
        for line in (EXAMPLE / "allowed_signers").read_text("utf-8").splitlines()
        if not line.startswith("#")
    }
    places = {
        "agreement": "{{ inventory_dir | realpath | dirname | dirname }}"
        "/agreement/pacific-alliance.yml",
        "ca": "/srv/paranal/ca/pe",
        "ppk": "/srv/paranal/ppk/pe",
    }
    found = inventory("pe", load(SHIPPED).members["pe"], list(keys.values()), places)
    written = {
        str(path.relative_to(EXAMPLE)): path.read_text(encoding="utf-8")
        for path in EXAMPLE.rglob("*")
        if path.is_file()
    }
    assert found == written


@pytest.mark.req("B1")
def test_the_half_has_all_that_joining_needs_and_the_card_is_accepted(desk: Desk) -> None:
    told = desk.init()
    card = read_card(Path(told["card"]))
    assert (card.code, card.fingerprint, card.member["roots"]) == (
        "ec",
        told["signer"],
        [told["root"]],
    )
    assert card.member == {**yaml.safe_load(FACTS), "roots": [told["root"]]}
    passphrase = read_passphrase(desk.half / "ca" / "ec.passphrase")
    authority = CertificateAuthority(desk.half / "ca" / "ec", passphrase)
    authority.unlock()
    assert (authority.member, authority.domain) == ("ec", f"ec.{DOMAIN}")
    published = ["ca/ec-issuing.pem", "ca/ec-root.pem", "crl/ec-issuing.crl", "crl/ec-root.crl"]
    for folder, more in (("agreement", []), ("public", ["ec.yml"])):
        held = [path for path in (desk.half / folder).rglob("*") if path.is_file()]
        names = sorted(str(path.relative_to(desk.half / folder)) for path in held)
        assert names == sorted([*published, *more])
    variables = yaml.safe_load(
        (desk.half / "inventory/group_vars/alliance/node.yml").read_text("utf-8")
    )
    assert variables["paranal_ca_directory"] == str(desk.half / "ca" / "ec")
    file = desk.folder / "alliance.yml"
    file.write_bytes(SHIPPED.read_bytes())
    assert cli.main(["agreement", "add-member", told["card"], "--agreement", str(file)]) == 0
    assert "ec" in load(file).members
    assert (desk.half / "inventory/allowed_signers").read_text("utf-8").splitlines()[1] in (
        desk.capsys.readouterr().out
    )


@pytest.mark.req("B1")
@pytest.mark.parametrize("text", [False, True])
def test_nothing_secret_is_in_what_leaves_the_house_or_on_the_screen(
    desk: Desk, text: bool
) -> None:
    desk.init(text=text)
    secrets = secrets_of(desk.half)
    assert len(secrets) > 10
    leaving = [path for path in (desk.half / "public").rglob("*") if path.is_file()]
    shown = [path for path in (desk.half / "inventory").rglob("*") if path.is_file()]
    for content in (*(path.read_bytes() for path in (*leaving, *shown)), desk.said.encode()):
        assert not [secret for secret in secrets if secret in content]
        assert b"PRIVATE" not in content
    # The control: where they are, the scan finds them.
    assert any(secrets[0] in path.read_bytes() for path in (desk.half / "ca").glob("*.passphrase"))


def test_every_directory_is_its_owners_alone_and_so_is_every_secret(desk: Desk) -> None:
    desk.init()
    for path in (desk.half, *desk.half.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
        elif re.search(r"passphrase|key\.pem|signer/ec$", str(path)):
            assert mode == 0o600, path


def test_a_signing_key_of_the_countrys_own_is_taken_and_none_is_made(desk: Desk) -> None:
    key = desk.folder / "token"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "token", "-f", str(key)]
    subprocess.run(argv, check=True)  # noqa: S603 - fixed words, our own path
    told = desk.init("--signing-key", f"{key}.pub")
    assert read_card(Path(told["card"])).signer == Path(f"{key}.pub").read_text().strip()
    assert not (desk.half / "signer").exists()


def test_a_private_key_is_taken_for_no_public_one(desk: Desk) -> None:
    key = desk.folder / "token"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(argv, check=True)  # noqa: S603 - fixed words, our own path
    said = desk.init("--signing-key", str(key), status=3)
    assert said["refusal"]["code"] == "PAR-1004"
    assert not [line for line in key.read_text().splitlines()[1:-1] if line in desk.said]
    assert not desk.half.exists()


@pytest.mark.parametrize("made", [True, False])
def test_an_empty_directory_may_be_there_and_a_full_one_is_left_alone(
    desk: Desk, made: bool
) -> None:
    desk.half.mkdir()
    if made:
        desk.init()
        before = secrets_of(desk.half)
        assert desk.init(status=3)["refusal"]["code"] == "PAR-1001"
        assert secrets_of(desk.half) == before
    else:
        (desk.half / "note").write_text("mine")
        assert desk.init(status=3)["refusal"]["code"] == "PAR-1001"
        assert [path.name for path in desk.half.iterdir()] == ["note"]
    assert desk.left() == ["half"]


def test_what_fails_half_way_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> dict[str, str]:
        raise Refusal("PAR-0144", key="x", reason="x")

    monkeypatch.setattr("paranal.member.half.inventory", fails)
    assert desk.init(status=3)["refusal"]["code"] == "PAR-0144"
    assert desk.left() == []


@pytest.mark.parametrize(
    ("edit", "code", "line"),
    [
        pytest.param(lambda text: text.replace("pending", "live"), "PAR-0159", 2, id="opens"),
        pytest.param(lambda text: f"{text}roots: [{'a' * 64}]\n", "PAR-1003", 12, id="roots"),
        pytest.param(lambda text: text.replace("desk:", "desks:"), "PAR-1002", 1, id="missing"),
        pytest.param(lambda text: text.replace("kernel", "magic"), "PAR-1002", 7, id="plane"),
        pytest.param(lambda text: text.replace("10.59.1.1", "10.58.1.1"), "PAR-0116", 5, id="out"),
        pytest.param(lambda text: text.replace("gw.ec", "gw.pe"), "PAR-0110", 6, id="domain"),
        pytest.param(
            lambda text: text.replace("198.51.100.50", "127.0.0.1"), "PAR-0115", 3, id="loopback"
        ),
        pytest.param(lambda text: "- a\n", "PAR-1002", 1, id="a list"),
        pytest.param(lambda text: "a: [", "PAR-0101", 2, id="no YAML"),
    ],
)
def test_wrong_facts_are_refused_at_their_line_and_nothing_is_made(
    desk: Desk, edit: Edit, code: str, line: int
) -> None:
    desk.facts.write_text(edit(FACTS), encoding="utf-8")
    said = desk.init(status=3)["refusal"]
    assert said["code"] == code
    assert said["es"].startswith(f"{desk.facts}:{line}: ")
    assert desk.left() == []


@pytest.mark.parametrize(("code", "domain"), [("EC", DOMAIN), ("ecu", DOMAIN), ("ec", "x y")])
def test_a_code_or_a_domain_that_is_none_is_refused(desk: Desk, code: str, domain: str) -> None:
    argv = ["member", "init", code, "--domain", domain, "--facts", str(desk.facts)]
    assert cli.main([*argv, "--directory", str(desk.half)]) == 3
    assert desk.capsys.readouterr().err.startswith("PAR-1005: ")
    assert desk.left() == []
