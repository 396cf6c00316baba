"""A member joins and leaves as a proposal: the rest of the file stays as people wrote it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
import yaml

from paranal import cli
from paranal.agreement import bundle as bundles
from paranal.agreement import load
from paranal.agreement.changes import changes
from paranal.agreement.layout import rewrite

REPOSITORY = Path(__file__).parents[3]
SHIPPED = REPOSITORY / "agreement" / "pacific-alliance.yml"
DOMAIN = "paranal.example"
MEMBER = f"""\
member:
  name: {{es: Ecuador, en: Ecuador}}
  status: pending
  wan_address: 198.51.100.50
  inner_prefix: 10.59.0.0/16
  addresses: {{national: 10.59.0.1, operational: 10.59.1.1, strategic: 10.59.2.1}}
  identities:
    ike: gw.ec.{DOMAIN}
    operational: q.ec.{DOMAIN}
    strategic: s.ec.{DOMAIN}
  data_plane: kernel
  operator: Servicio de Migración
  desk: Mesa Estratégica
  liaison: Ministerio de Relaciones Exteriores
  contact: {{name: Turno 24/7 Ecuador, phone: +593 2 5550 0159, email: turno@ec.{DOMAIN}}}
  roots: [{"ec" * 32}]
"""
Edit = Callable[[str], str]


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> str:
    key = tmp_path_factory.mktemp("signer") / "ec"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "anexo@ec", "-f", str(key)]
    subprocess.run(argv, check=True)  # noqa: S603 - fixed words, our own path
    return key.with_suffix(".pub").read_text().strip()


@dataclass
class Desk:
    """Where a proposal is made: the agreement's file and the card."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def file(self) -> Path:
        return self.folder / "alliance.yml"

    @property
    def card(self) -> Path:
        return self.folder / "ec.yml"

    def do(self, word: str, what: object, *words: str, status: int = 0) -> Any:  # noqa: ANN401
        argv = ["agreement", word, str(what), "--agreement", str(self.file), *words, "--json"]
        assert cli.main(argv) == status
        return json.loads(self.capsys.readouterr().out)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], signer: str) -> Desk:
    made = Desk(tmp_path, capsys)
    made.file.write_bytes(SHIPPED.read_bytes())
    made.card.write_text(f"schema: 1\ncode: ec\n{MEMBER}signer: {signer}\n", encoding="utf-8")
    return made


def differing(before: str, after: str) -> tuple[list[str], list[str]]:
    """Return the lines that went and those that came."""
    lines = list(unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    gone, came = ([line[1:] for line in lines if line[0] == sign] for sign in "-+")
    return gone, came


@pytest.mark.req("B1")
@pytest.mark.parametrize("profile", ["classic", "ppk", "hybrid"])
def test_joining_adds_a_member_with_nothing_open_and_touches_no_other_line(
    desk: Desk, signer: str, profile: str
) -> None:
    said = desk.do("add-member", desk.card, "--crypto-profile", profile)
    assert (said["code"], said["epoch"]) == ("ec", 2)
    assert said["listed"] == f'ec namespaces="paranal-agreement" {signer}\n'
    gone, came = differing(SHIPPED.read_text("utf-8"), desk.file.read_text("utf-8"))
    assert gone == ["epoch: 1"]
    before, after = load(SHIPPED).document, load(desk.file).document
    assert [one.kind for one in changes(before, after)] == ["joins"]
    new = [pair for pair in after["pairs"] if "ec" in pair["members"]]
    assert [pair["members"] for pair in new] == [
        ["cl", "ec"],
        ["co", "ec"],
        ["ec", "mx"],
        ["ec", "pe"],
    ]
    opened = [
        status
        for pair in new
        for direction in pair["directions"].values()
        for status in direction["services"].values()
    ]
    assert (set(opened), len(opened)) == ({"pending"}, 4 * 2 * len(after["services"]))
    assert {pair["crypto_profile"] for pair in new} == {profile}
    assert not [line for line in came if line.startswith("#")]


@pytest.mark.req("B1")
def test_who_leaves_takes_its_pairs_along_and_nothing_else(desk: Desk) -> None:
    desk.do("add-member", desk.card)
    desk.do("remove-member", "ec")
    assert desk.file.read_text("utf-8") == SHIPPED.read_text("utf-8").replace(
        "epoch: 1", "epoch: 3"
    )
    desk.do("remove-member", "co")
    found = load(desk.file)
    assert [one.kind for one in changes(load(SHIPPED).document, found.document)] == ["leaves"]
    gone, came = differing(SHIPPED.read_text("utf-8"), desk.file.read_text("utf-8"))
    assert came == ["epoch: 4"]
    assert not [line for line in gone if line.startswith("#")]


def test_comments_stay_where_a_value_ends_before_them(desk: Desk) -> None:
    """ruamel keeps a comment with the value before it: it would stand inside the new member."""
    text = desk.file.read_text("utf-8")
    (last,) = (line for line in text.splitlines(True) if "contact:" in line and "@pe." in line)
    block = last.replace("{", "\n      ").replace(", ", "\n      ").replace("}", "  # by day")
    text = text.replace(last, block.replace("contact: \n", "contact:\n"))
    desk.file.write_text(f"{text}\n# The end.\n", encoding="utf-8")
    desk.do("add-member", desk.card)
    joined = desk.file.read_text("utf-8")
    assert f"{'ec' * 32}]\n\n# One entry per pair." in joined
    assert "email: turno@pe.paranal.example  # by day\n  ec:\n" in joined
    assert joined.endswith("\n\n# The end.\n")
    desk.do("remove-member", "pe")
    alone = desk.file.read_text("utf-8")
    assert f"{'ec' * 32}]\n\n# One entry per pair." in alone
    assert alone.endswith("\n\n# The end.\n")
    desk.do("remove-member", "ec")
    assert "turno@mx.paranal.example}\n\n# One entry per pair." in desk.file.read_text("utf-8")


def test_a_proposal_that_nobody_signed_yet_grows_and_stays_the_next_epoch(desk: Desk) -> None:
    bundle = bundles.Bundle().proposed(load(desk.file))
    bundles.write(bundles.beside(desk.file), bundle)
    assert desk.do("add-member", desk.card)["epoch"] == 2
    assert desk.do("remove-member", "cl")["epoch"] == 2


@pytest.mark.req("B1")
@pytest.mark.parametrize(
    ("edit", "code", "line"),
    [
        pytest.param(lambda text: text.replace("pending", "trial"), "PAR-0159", 5, id="opens"),
        pytest.param(lambda text: text.replace("code: ec", "code: pe"), "PAR-0161", 2, id="member"),
        pytest.param(lambda text: text.replace("10.59.", "10.52."), "PAR-0104", 7, id="overlap"),
        pytest.param(
            lambda text: text.replace("198.51.100.50", "203.0.113.34"), "PAR-0105", 6, id="taken"
        ),
        pytest.param(
            lambda text: text.replace("198.51.100.50", "2001:db8::1"), "PAR-0135", 6, id="family"
        ),
        pytest.param(lambda text: text.replace("gw.ec", "gw.es"), "PAR-0110", 10, id="domain"),
        pytest.param(
            lambda text: text.replace("  roots", "  root"), "PAR-0158", 3, id="without a root"
        ),
        pytest.param(lambda text: text.replace("schema: 1", "schema: 2"), "PAR-0158", 1, id="2"),
        pytest.param(lambda text: f"{text}key: x\n", "PAR-0158", 1, id="more"),
        pytest.param(lambda text: text.replace("ssh-ed25519", "ssh-rsa"), "PAR-0160", 19, id="rsa"),
        pytest.param(
            lambda text: text.replace("ssh-ed25519 AAAA", "ssh-ed25519 BBBB"),
            "PAR-0160",
            19,
            id="no key",
        ),
    ],
)
def test_a_wrong_card_is_refused_at_its_line_and_changes_nothing(
    desk: Desk, edit: Edit, code: str, line: int
) -> None:
    desk.card.write_text(edit(desk.card.read_text("utf-8")), encoding="utf-8")
    said = desk.do("add-member", desk.card, status=3)["refusal"]
    assert said["code"] == code
    assert said["es"].startswith(f"{desk.card}:{line}: ")
    assert desk.file.read_bytes() == SHIPPED.read_bytes()
    assert sorted(path.name for path in desk.folder.iterdir()) == ["alliance.yml", "ec.yml"]


def test_a_private_key_in_the_place_of_the_public_one_is_not_repeated(desk: Desk) -> None:
    card = yaml.safe_load(desk.card.read_text("utf-8"))
    secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"  # noqa: S105 - of nobody
    card["signer"] = f"-----BEGIN OPENSSH PRIVATE {'KEY'}-----\n{secret}\n"
    desk.card.write_text(yaml.safe_dump(card, allow_unicode=True), encoding="utf-8")
    said = desk.do("add-member", desk.card, status=3)
    assert said["refusal"]["code"] == "PAR-0160"
    assert secret not in json.dumps(said)


def test_who_is_no_member_cannot_leave(desk: Desk) -> None:
    said = desk.do("remove-member", "ec", status=3)["refusal"]
    assert said["code"] == "PAR-0106"
    assert desk.file.read_bytes() == SHIPPED.read_bytes()


def test_what_would_say_something_else_is_not_written(desk: Desk) -> None:
    agreement = load(desk.file)
    wanted = {**agreement.document, "catalogue": 2}
    with pytest.raises(Exception, match="PAR-0162"):
        rewrite(agreement, wanted)
    assert desk.file.read_bytes() == SHIPPED.read_bytes()
    assert sorted(path.name for path in desk.folder.iterdir()) == ["alliance.yml", "ec.yml"]
