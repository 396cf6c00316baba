"""What a change of the agreement is called, and whom it needs: design.md, row by row."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from paranal.agreement import load
from paranal.agreement.changes import Change, changes, unsigned
from paranal.lab.home import ROOT

ALL = frozenset({"cl", "co", "mx", "pe"})
BEFORE = load(ROOT / "agreement" / "pacific-alliance.yml").document
Edit = Callable[[dict[str, Any]], None]


def changed(edit: Edit) -> list[Change]:
    after = copy.deepcopy(BEFORE)
    edit(after)
    return list(changes(BEFORE, after))


def put(*keys: str | int, value: Any) -> Edit:  # noqa: ANN401 - any JSON value
    def edit(document: Any) -> None:  # noqa: ANN401 - any JSON value
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return edit


def of_pair(name: str, *keys: str, value: Any) -> Edit:  # noqa: ANN401 - any JSON value
    number = ["-".join(pair["members"]) for pair in BEFORE["pairs"]].index(name)
    return put("pairs", number, *keys, value=value)


def status(direction: str, service: str, value: str) -> Edit:
    pair = "-".join(sorted(direction.split(">")))
    return of_pair(pair, "directions", direction, "services", service, value=value)


def without(code: str) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        del document["members"][code]
        document["pairs"] = [pair for pair in document["pairs"] if code not in pair["members"]]

    return edit


@pytest.mark.req("B2", "R12")
@pytest.mark.parametrize(
    ("edit", "kind", "signers"),
    [
        (put("catalogue", value=2), "shared", [ALL]),
        (put("domain", value="other.example"), "shared", [ALL]),
        (put("services", "person", "port", value=7450), "shared", [ALL]),
        (put("services", "person", "status", value="suspended"), "shared", [ALL]),
        (put("members", "pe", "contact", "phone", value="+51 1 5550 0000"), "own", [{"pe"}]),
        (put("members", "pe", "wan_address", value="203.0.113.35"), "own", [{"pe"}]),
        (put("members", "pe", "roots", value=["ab" * 32]), "own", [{"pe"}]),
        (put("members", "pe", "status", value="suspended"), "member-narrows", [{"pe"}]),
        (put("members", "cl", "status", value="trial"), "member-opens", [ALL]),
        (of_pair("co-pe", "crypto_profile", value="hybrid"), "pair", [{"co", "pe"}]),
        (of_pair("co-pe", "ppk", value={"generation": 1}), "pair", [{"co", "pe"}]),
        (
            of_pair("co-pe", "directions", "co>pe", "legal", "date", value="2020-01-01"),
            "pair",
            [{"co", "pe"}],
        ),
        (status("co>pe", "person", "suspended"), "narrows", [{"co"}, {"pe"}]),
        (status("co>pe", "person", "trial"), "narrows", [{"co"}, {"pe"}]),
        (status("co>pe", "document", "live"), "opens", [ALL]),
        (status("co>pe", "document", "suspended"), "opens", [ALL]),
        (status("co>pe", "identity-card", "trial"), "opens", [ALL]),
        (status("co>pe", "identity-card", "pending"), "pair", [{"co", "pe"}]),
        (without("mx"), "leaves", [{"mx"}, ALL - {"mx"}]),
    ],
    ids=lambda value: "" if callable(value) else None,
)
def test_a_change_needs_whom_it_binds(edit: Edit, kind: str, signers: list[set[str]]) -> None:
    (found,) = changed(edit)
    assert (found.kind, [set(each) for each in found.signers]) == (kind, [set(s) for s in signers])
    for alternative in found.signers:
        assert unsigned([found], alternative) == []
        for member in alternative:
            others = [one for one in found.signers if one != alternative]
            lacking = alternative - {member}
            assert unsigned([found], lacking) == [found] or any(one <= lacking for one in others)
    assert unsigned([found], ()) == [found]


@pytest.mark.req("B2")
def test_a_member_that_joins_is_one_change_that_everybody_signs_with_it() -> None:
    after = copy.deepcopy(BEFORE)
    elder = copy.deepcopy(BEFORE)
    without("mx")(elder)
    (found,) = changes(elder, after)
    assert (found.kind, found.signers) == ("joins", (ALL,))


def test_each_change_is_told_by_itself_and_an_equal_text_has_none() -> None:
    def edit(document: dict[str, Any]) -> None:
        status("co>pe", "document", "live")(document)
        status("pe>co", "person", "suspended")(document)
        document["epoch"] = 9

    assert list(changes(BEFORE, copy.deepcopy(BEFORE))) == []
    opens, narrows = changed(edit)
    assert opens.text("es") == "SE ABRE: co podrá preguntar a pe por «document» (pending a live)."
    assert narrows.text("en") == "Narrows: pe to co for 'person' (live to suspended)."
    assert opens.as_dict()["field"] == "pairs.co-pe.co>pe.document"
    assert opens.as_dict()["signers"] == [sorted(ALL)]


def test_a_service_that_is_no_longer_declared_is_closed() -> None:
    def edit(document: dict[str, Any]) -> None:
        pair = next(one for one in document["pairs"] if one["members"] == ["co", "pe"])
        del pair["directions"]["co>pe"]["services"]["person"]

    (found,) = changed(edit)
    assert (found.kind, found.before, found.after) == ("narrows", "live", None)
