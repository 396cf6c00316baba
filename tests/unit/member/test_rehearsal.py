"""Joining and leaving from end to end on one desk: cards, signatures, published authorities."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from paranal import cli
from paranal.agreement import load, member_view
from paranal.agreement.accept import accepted
from paranal.agreement.signatures import listed
from paranal.messages import Refusal
from tests.unit.agreement.views import REPOSITORY
from tests.unit.member.test_init import DOMAIN, FACTS

MEMBERS = ("cl", "co", "mx", "pe")


@dataclass
class Alliance:
    """Four members who have signed, and a fifth that is not one yet."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def file(self) -> Path:
        return self.folder / "agreement" / "alliance.yml"

    @property
    def allowed(self) -> Path:
        return self.folder / "allowed_signers"

    @property
    def half(self) -> Path:
        return self.folder / "ec"

    def do(self, *words: object, status: int = 0) -> Any:  # noqa: ANN401 - JSON
        assert cli.main([*map(str, words), "--json"]) == status
        return json.loads(self.capsys.readouterr().out.strip().splitlines()[-1])

    def sign(self, *members: str) -> None:
        for member in members:
            key = self.half / "signer" / "ec" if member == "ec" else self.folder / member
            argv = ["agreement", "sign", "--agreement", str(self.file), "--member", member]
            assert cli.main([*argv, "--key", str(key)]) == 0
        self.capsys.readouterr()

    def epochs(self) -> list[object]:
        return [one["epoch"] for one in accepted(load(self.file), self.allowed)]


@pytest.fixture
def alliance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Alliance:
    made = Alliance(tmp_path, capsys)
    text = (REPOSITORY / "agreement" / "pacific-alliance.yml").read_text("utf-8")
    document = yaml.safe_load(text)
    for number, member in enumerate(MEMBERS):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / member)]
        subprocess.run(argv, check=True)  # noqa: S603 - fixed words, our own path
        with made.allowed.open("a", encoding="utf-8") as file:
            file.write(listed(member, (tmp_path / f"{member}.pub").read_text("utf-8")))
        contact = document["members"][member]["contact"]["email"]
        text = text.replace(f"{contact}}}", f"{contact}}}\n    roots: [{f'{number:064x}'}]")
    made.file.parent.mkdir()
    made.file.write_text(text, encoding="utf-8")
    made.sign(*MEMBERS)
    (tmp_path / "facts.yml").write_text(FACTS, encoding="utf-8")
    what = ("--domain", DOMAIN, "--facts", tmp_path / "facts.yml", "--directory", made.half)
    made.do("member", "init", "ec", *what)
    return made


def join(alliance: Alliance) -> None:
    card = alliance.half / "public" / "ec.yml"
    told = alliance.do("agreement", "add-member", card, "--agreement", alliance.file)
    with alliance.allowed.open("a", encoding="utf-8") as file:
        file.write(told["listed"])


@pytest.mark.req("B1")
def test_a_state_is_in_when_all_have_signed_and_itself_too(alliance: Alliance) -> None:
    join(alliance)
    alliance.sign(*MEMBERS)
    with pytest.raises(Refusal, match="PAR-0152"):
        alliance.epochs()
    alliance.sign("ec")
    assert alliance.epochs() == [2]
    view = member_view(load(alliance.file), "ec")
    assert [peer["code"] for peer in view["peers"]] == list(MEMBERS)
    assert all(peer["pair"]["line_check"] for peer in view["peers"])


@pytest.mark.req("B1")
def test_its_authority_is_taken_only_where_its_root_is_the_agreements(alliance: Alliance) -> None:
    join(alliance)
    where = ("--agreement", alliance.file, "--published", alliance.file.parent)
    taken = alliance.do("pki", "accept", *where, "--member", "ec", alliance.half / "public")
    assert len(taken["changed"]) == 4
    other = alliance.folder / "other"
    secret = ("--passphrase-file", alliance.folder / "other.passphrase")
    names = ("--member", "ec", "--domain", f"ec.{DOMAIN}", "--published", alliance.folder / "new")
    alliance.do("pki", "init", "--directory", other, *secret, *names, "--generation", 2)
    refused = alliance.do(
        "pki", "accept", *where, "--member", "ec", alliance.folder / "new", status=3
    )
    assert refused["refusal"]["code"] == "PAR-0436"


@pytest.mark.req("B1")
@pytest.mark.parametrize("signers", [("ec",), MEMBERS])
def test_a_state_leaves_by_its_own_word_or_by_everybody_elses(
    alliance: Alliance, signers: tuple[str, ...]
) -> None:
    join(alliance)
    alliance.sign(*MEMBERS, "ec")
    alliance.do("agreement", "remove-member", "ec", "--agreement", alliance.file)
    with pytest.raises(Refusal, match="PAR-0151"):
        alliance.epochs()
    alliance.sign(*signers[:-1] or ("pe",))
    with pytest.raises(Refusal, match="PAR-0152"):
        alliance.epochs()
    alliance.sign(signers[-1])
    assert alliance.epochs()[-1] == 3
    assert set(load(alliance.file).members) == set(MEMBERS)
