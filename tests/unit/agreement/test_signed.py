"""Who must sign is asked of real signatures: ssh-keygen's, by keys that each test makes."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from paranal import cli
from paranal.agreement import bundle as bundles
from paranal.agreement import load, signatures
from paranal.agreement.accept import accepted
from paranal.lab.home import ROOT
from paranal.messages import Refusal

MEMBERS = ("cl", "co", "mx", "pe")


@dataclass
class Ministries:
    """One folder in which every member signs: an agreement, its bundle, keys and pinned signers."""

    folder: Path
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "alliance.yml"

    @property
    def bundle(self) -> Path:
        return bundles.beside(self.file)

    @property
    def allowed(self) -> Path:
        return self.folder / "allowed_signers"

    def write(self, **changes: Any) -> None:  # noqa: ANN401 - any JSON value
        self.document = {**self.document, **changes}
        self.file.write_text(yaml.safe_dump(self.document, allow_unicode=True), encoding="utf-8")

    def next(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Propose the next epoch."""
        document = copy.deepcopy(self.document)
        edit(document)
        self.write(**{**document, "epoch": self.document["epoch"] + 1})

    def sign(self, *members: str, key: str = "") -> None:
        for member in members:
            argv = ["agreement", "sign", "--agreement", str(self.file), "--member", member]
            assert cli.main([*argv, "--key", str(self.folder / (key or member))]) == 0

    def accepted(self) -> list[int]:
        found = accepted(load(self.file), self.allowed)
        return [int(str(one["epoch"])) for one in found]

    def refused(self) -> str:
        with pytest.raises(Refusal) as caught:
            self.accepted()
        return str(caught.value)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signing key for every member, and one that nobody pinned."""
    folder = tmp_path_factory.mktemp("keys")
    for name in (*MEMBERS, "stranger"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(argv, check=True)  # noqa: S603 - fixed words, our own path
    return folder


@pytest.fixture
def ministries(tmp_path: Path, keys: Path) -> Ministries:
    """The alliance's first agreement, signed by nobody yet."""
    found = Ministries(tmp_path)
    lines = []
    for name in (*MEMBERS, "stranger"):
        (tmp_path / name).symlink_to(keys / name)
        public = (keys / f"{name}.pub").read_text()
        (tmp_path / f"{name}.pub").write_text(public)
        if name in MEMBERS:
            lines.append(f'{name} namespaces="{signatures.NAMESPACE}" {public}')
    found.allowed.write_text("".join(lines))
    document = copy.deepcopy(load(ROOT / "agreement" / "pacific-alliance.yml").document)
    for number, code in enumerate(MEMBERS):
        document["members"][code]["roots"] = [f"{number:064x}"]
    found.write(**document)
    return found


def suspend(document: dict[str, Any]) -> None:
    pair = next(one for one in document["pairs"] if one["members"] == ["co", "pe"])
    pair["directions"]["co>pe"]["services"]["person"] = "suspended"


def reopen(document: dict[str, Any]) -> None:
    pair = next(one for one in document["pairs"] if one["members"] == ["co", "pe"])
    pair["directions"]["co>pe"]["services"]["person"] = "live"


def call(code: str) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        document["members"][code]["contact"]["phone"] += "9"

    return edit


pytestmark = pytest.mark.req("B2")


def test_the_first_agreement_is_everybodys(ministries: Ministries) -> None:
    assert "PAR-0151" in ministries.refused()
    ministries.sign("cl", "co", "mx")
    refusal = ministries.refused()
    assert "PAR-0152" in refusal
    assert "la firma de pe" in refusal
    ministries.sign("pe")
    assert ministries.accepted() == [1]


@pytest.mark.req("R12")
def test_one_narrows_and_all_widen(ministries: Ministries) -> None:
    ministries.sign(*MEMBERS)
    ministries.next(suspend)
    ministries.sign("mx")
    assert "co | pe" in ministries.refused(), "Mexico is no end of this direction"
    ministries.sign("pe")
    assert ministries.accepted() == [1, 2]
    ministries.next(reopen)
    ministries.sign("pe", "co", "mx")
    assert "PAR-0152" in ministries.refused()
    ministries.sign("cl")
    assert ministries.accepted() == [3], "an epoch that all signed needs no elder"


def test_an_unsigned_epoch_in_between_is_not_covered_by_the_next(ministries: Ministries) -> None:
    ministries.sign(*MEMBERS)
    ministries.next(call("co"))
    ministries.sign("pe")
    ministries.next(call("pe"))
    ministries.sign("pe")
    refusal = ministries.refused()
    assert "PAR-0152" in refusal
    assert "época 2" in refusal
    assert "la firma de co" in refusal


def test_a_text_that_changed_after_its_signatures_is_refused(ministries: Ministries) -> None:
    ministries.sign(*MEMBERS)
    data = json.loads(ministries.bundle.read_text())
    data["steps"][0]["agreement"]["members"]["pe"]["wan_address"] = "203.0.113.40"
    ministries.bundle.write_text(json.dumps(data))
    assert "PAR-0151" in ministries.refused(), "the file beside it is still the signed text"
    ministries.document["members"]["pe"]["wan_address"] = "203.0.113.40"
    ministries.write()
    assert "PAR-0146" in ministries.refused()


def test_a_comment_or_another_order_changes_nothing(ministries: Ministries) -> None:
    ministries.sign(*MEMBERS)
    turned = dict(reversed(ministries.document.items()))
    text = "# read aloud in Lima\n" + yaml.safe_dump(turned, sort_keys=False)
    ministries.file.write_text(text, encoding="utf-8")
    assert ministries.accepted() == [1]


def test_a_key_that_nobody_pinned_signs_for_nobody(ministries: Ministries) -> None:
    ministries.sign("cl", "co", "mx")
    ministries.sign("pe", key="stranger")
    refusal = ministries.refused()
    assert "PAR-0146" in refusal
    assert "pe" in refusal
    ministries.sign("pe", key="co")
    assert "PAR-0146" in ministries.refused(), "Colombia's key does not sign for Peru"
    ministries.sign("pe")
    assert ministries.accepted() == [1]


def test_a_signature_for_another_purpose_does_not_count(
    ministries: Ministries, monkeypatch: pytest.MonkeyPatch
) -> None:
    ministries.sign("cl", "co", "mx")
    with monkeypatch.context() as other:
        other.setattr(signatures, "NAMESPACE", "git")
        ministries.sign("pe")
    assert "PAR-0146" in ministries.refused()


def test_without_the_pinned_keys_nothing_is_signed(ministries: Ministries) -> None:
    ministries.sign(*MEMBERS)
    ministries.allowed.unlink()
    assert "PAR-0145" in ministries.refused()


def test_an_agreement_that_does_not_say_a_root_is_refused(ministries: Ministries) -> None:
    del ministries.document["members"]["mx"]["roots"]
    ministries.write()
    ministries.sign(*MEMBERS)
    refusal = ministries.refused()
    assert "PAR-0153" in refusal
    assert "members.mx.roots" in refusal


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda _: "{", "Expecting"),
        (lambda _: "[]", "indices"),
        (lambda data: {**data, "schema": 2}, "schema 2"),
        (lambda data: {**data, "steps": [data["steps"][0], data["steps"][0]]}, "epoch 1 -> 1"),
        (lambda data: {**data, "steps": [{**data["steps"][0], "signatures": 3}]}, "attribute"),
    ],
    ids=["json", "list", "schema", "twice", "signatures"],
)
def test_a_broken_bundle_is_refused(
    ministries: Ministries, spoil: Callable[[Any], Any], reason: str
) -> None:
    ministries.sign(*MEMBERS)
    spoilt = spoil(json.loads(ministries.bundle.read_text()))
    ministries.bundle.write_text(spoilt if isinstance(spoilt, str) else json.dumps(spoilt))
    refusal = ministries.refused()
    assert "PAR-0150" in refusal
    assert reason in refusal


def test_a_step_cut_out_of_the_chain_is_noticed(ministries: Ministries) -> None:
    ministries.sign(*MEMBERS)
    for code in ("co", "pe"):
        ministries.next(call(code))
        ministries.sign(code)
    assert ministries.accepted() == [1, 2, 3]
    data = json.loads(ministries.bundle.read_text())
    del data["steps"][1]
    ministries.bundle.write_text(json.dumps(data))
    assert "PAR-0150" in ministries.refused()


def test_a_second_text_of_an_epoch_needs_a_word_and_costs_its_signatures(
    ministries: Ministries, capsys: pytest.CaptureFixture[str]
) -> None:
    ministries.sign(*MEMBERS)
    ministries.write(catalogue=2)
    argv = ["agreement", "sign", "--agreement", str(ministries.file), "--member", "pe"]
    argv += ["--key", str(ministries.folder / "pe")]
    assert cli.main(argv) == 3
    assert "PAR-0147" in capsys.readouterr().err
    assert cli.main([*argv, "--amend"]) == 0
    assert "la firma de cl, co, mx" in ministries.refused()
    ministries.write(epoch=7)
    assert cli.main(argv) == 3
    assert "PAR-0148" in capsys.readouterr().err


def test_bundles_of_four_ministries_become_one_and_two_texts_do_not(
    ministries: Ministries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    received = []
    for code in MEMBERS:
        ministries.sign(code)
        received.append(ministries.bundle.rename(tmp_path / f"from-{code}.json"))
    argv = ["agreement", "merge", "--agreement", str(ministries.file)]
    argv += ["--allowed-signers", str(ministries.allowed)]
    assert cli.main([*argv, *map(str, received)]) == 0
    assert ministries.accepted() == [1]
    capsys.readouterr()
    assert cli.main([*argv, str(received[0])]) == 0
    assert json.loads(capsys.readouterr().out) == {"changed": False, "signatures": []}
    ministries.bundle.rename(tmp_path / "whole.json")
    ministries.write(catalogue=3)
    ministries.sign("co")
    before = ministries.bundle.read_bytes()
    assert cli.main([*argv, str(tmp_path / "whole.json")]) == 3
    assert "PAR-0149" in capsys.readouterr().err
    assert ministries.bundle.read_bytes() == before


def test_a_bad_signature_is_not_taken_in(
    ministries: Ministries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ministries.sign("pe", key="stranger")
    received = ministries.bundle.rename(tmp_path / "received.json")
    argv = ["agreement", "merge", "--agreement", str(ministries.file)]
    assert cli.main([*argv, "--allowed-signers", str(ministries.allowed), str(received)]) == 3
    assert "PAR-0146" in capsys.readouterr().err
    assert not ministries.bundle.exists()


def test_verify_and_diff_say_what_is_missing_in_words(
    ministries: Ministries, capsys: pytest.CaptureFixture[str]
) -> None:
    ministries.sign(*MEMBERS)
    ministries.next(reopen)
    ministries.next(suspend)
    agreement = ["--agreement", str(ministries.file)]
    ministries.document["epoch"] = 2
    ministries.write()
    capsys.readouterr()
    assert cli.main(["agreement", "diff", *agreement]) == 0
    said = capsys.readouterr().out
    assert "- Se restringe: co a pe por «person» (live a suspended).\n  firma: co o pe\n" in said
    ministries.sign("cl")
    capsys.readouterr()
    allowed = ["--allowed-signers", str(ministries.allowed)]
    assert cli.main(["agreement", "verify", *agreement, *allowed]) == 3
    assert "(faltan firmas)" in capsys.readouterr().out
    ministries.sign("co")
    capsys.readouterr()
    assert cli.main(["agreement", "verify", *agreement, *allowed, "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [one["signers"] for one in steps] == [list(MEMBERS), ["cl", "co"]]


def test_a_stranger_cannot_sign_as_a_member_and_a_missing_key_is_told(
    ministries: Ministries, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["agreement", "sign", "--agreement", str(ministries.file)]
    assert cli.main([*argv, "--member", "br", "--key", str(ministries.folder / "pe")]) == 3
    assert "PAR-0156" in capsys.readouterr().err
    assert cli.main([*argv, "--member", "pe", "--key", str(ministries.folder / "none")]) == 3
    assert "PAR-0144" in capsys.readouterr().err
    assert not ministries.bundle.exists()


def test_both_countries_print_the_same_digest_of_a_pair(
    ministries: Ministries, capsys: pytest.CaptureFixture[str]
) -> None:
    def digest(*words: str) -> str:
        assert cli.main(["agreement", "digest", *words, "--agreement", str(ministries.file)]) == 0
        return capsys.readouterr().out

    pair, other, whole = digest("PE", "CO"), digest("pe", "mx"), digest()
    assert digest("CO", "PE") == pair
    ministries.document["members"]["mx"]["roots"] = ["ab" * 32]
    ministries.write()
    assert digest("PE", "CO") == pair, "a third member's fact is none of the pair's"
    assert digest("pe", "mx") != other
    assert digest() != whole
