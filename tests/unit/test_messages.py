"""Every message has a code, two languages, a runbook and a use; every use has its message."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import pytest
import yaml

from paranal.messages import Message, Refusal, catalogue, refusal_in

REPOSITORY = Path(__file__).parents[2]
CATALOGUE = REPOSITORY / "src" / "paranal" / "messages" / "catalogue"
RUNBOOKS = REPOSITORY / "docs" / "es" / "runbooks"
CODE = re.compile(r"PAR-\d{4}")

RANGES = {
    "cli": "00",
    "agreement": "01",
    "lab": "02",
    "node": "03",
    "pki": "04",
    "query": "05",
    "status": "06",
    "network": "07",
    "audit": "08",
    "control": "09",
    "member": "10",
}
"""Catalogue file -> the two digits that its codes begin with (docs/architecture.md)."""

RAISERS = {"Refusal", "Refused"}
"""What takes a code and the values of its text: on the controller, and inside a module."""


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def sources(*suffixes: str) -> Iterator[Path]:
    for folder in ("src", "plugins", "roles", "playbooks", "templates"):
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.suffix in suffixes and CATALOGUE not in path.parents:
                yield path


class Call(NamedTuple):
    """A code raised with named values; ``names`` is None when they are not written out."""

    where: str
    code: str
    names: set[str] | None


def raised(tree: ast.AST, where: str) -> Iterator[Call]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function, first = node.func, node.args[0]
        name = function.attr if isinstance(function, ast.Attribute) else ""
        name = function.id if isinstance(function, ast.Name) else name
        if name not in RAISERS or not isinstance(first, ast.Constant):
            continue
        names = [keyword.arg for keyword in node.keywords]
        written = None if None in names else {name for name in names if name}
        yield Call(f"{where}:{node.lineno}", str(first.value), written)


def lacking(call: Call, message: Message) -> set[str]:
    """Return the placeholders of the message that a call leaves without a value."""
    if call.names is None:
        return set()
    needed = placeholders(message.texts["es"]) | placeholders(message.texts["en"])
    return needed - call.names


def constants(tree: ast.AST) -> Iterator[str]:
    """Yield every text of a module that is not a docstring."""
    documented = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and node not in documented:
            yield text


def used() -> set[str]:
    """Return the codes that something can say: in Python outside docstrings, or in YAML."""
    found: set[str] = set()
    for path in sources(".py"):
        for text in constants(ast.parse(path.read_text(encoding="utf-8"))):
            found.update(CODE.findall(text))
    for path in sources(".yml", ".j2"):
        for line in path.read_text(encoding="utf-8").splitlines():
            found.update(CODE.findall(line.split(" #")[0]))
    return found


@pytest.mark.req("D5")
@pytest.mark.parametrize("code", sorted(catalogue()))
def test_a_message_has_both_languages_with_the_same_values(code: str) -> None:
    message = catalogue()[code]
    spanish, english = message.texts["es"], message.texts["en"]
    assert spanish.strip()
    assert english.strip()
    assert spanish != english
    # A value that is itself a sentence comes in both: {es} and {en}, {reason_es} and {reason_en}.
    plain, translated = (
        {re.sub(r"(^|_)(es|en)$", "", name) for name in placeholders(text)}
        for text in (spanish, english)
    )
    assert plain == translated


@pytest.mark.req("D5")
def test_the_runbook_of_every_message_exists() -> None:
    stems = {message.runbook for message in catalogue().values()}
    assert stems - {path.stem for path in RUNBOOKS.glob("RB-*.md")} == set()


def test_a_code_stands_in_the_file_of_its_range() -> None:
    for path in CATALOGUE.glob("*.yml"):
        for code in yaml.safe_load(path.read_text(encoding="utf-8")):
            assert re.fullmatch(f"PAR-{RANGES[path.stem]}\\d\\d", code), f"{path.name}: {code}"


def test_every_code_that_is_named_anywhere_exists() -> None:
    named = {
        (code, str(path.relative_to(REPOSITORY)))
        for path in (*sources(".py", ".yml", ".j2", ".md"), *(REPOSITORY / "docs").rglob("*.md"))
        for code in CODE.findall(path.read_text(encoding="utf-8"))
    }
    assert {each for each in named if each[0] not in catalogue()} == set()


def test_every_message_is_said_somewhere() -> None:
    assert set(catalogue()) - used() == set()


def test_every_refusal_gives_its_text_all_its_values() -> None:
    wrong = [
        f"{call.where} {call.code} lacks {sorted(missing)}"
        for path in sources(".py")
        for call in raised(
            ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(REPOSITORY))
        )
        if call.code in catalogue() and (missing := lacking(call, catalogue()[call.code]))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ('raise Refusal("PAR-0692", service="x")', {"known"}),
        ('raise messages.Refusal("PAR-0692")', {"service", "known"}),
        ('module.fail(Refused("PAR-0692", known="x", service="y"))', set()),
        ('raise Refusal("PAR-0692", **params)', set()),
    ],
)
def test_a_refusal_with_a_value_missing_is_found(source: str, missing: set[str]) -> None:
    (call,) = raised(ast.parse(source), "here")
    assert lacking(call, catalogue()[call.code]) == missing


def test_a_docstring_is_no_use_of_a_code() -> None:
    tree = ast.parse('"""PAR-0001."""\ndef f():\n    """PAR-0002."""\n    return "PAR-0003"\n')
    assert list(constants(tree)) == ["PAR-0003"]


def test_a_code_without_a_message_fails_where_it_is_raised() -> None:
    with pytest.raises(KeyError):
        Refusal("PAR-9999")
    with pytest.raises(KeyError):
        str(Refusal("PAR-0692", service="person"))


def test_what_a_module_refused_is_said_in_words_and_without_a_trace() -> None:
    params = {"service": "x", "known": "person"}
    answer = {
        "failed": True,
        "msg": "PAR-0692 {}",
        "exception": "Traceback",
        "refusal": {"code": "PAR-0692", "params": params},
    }
    said = refusal_in(answer)
    assert said is not None
    assert (said.code, said.params) == ("PAR-0692", params)
    assert answer == {"failed": True, "msg": str(Refusal("PAR-0692", **params))}


def test_an_answer_that_refuses_nothing_stays_as_it_is() -> None:
    for answer in ({"changed": True}, {"failed": True, "msg": "why", "exception": "Traceback"}):
        before = dict(answer)
        assert refusal_in(answer) is None
        assert answer == before


def test_nobody_unwraps_a_refusal_by_hand() -> None:
    """Action plugins cannot import each other: what they share stands in paranal.messages."""
    for path in sorted((REPOSITORY / "plugins" / "action").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        runs_module = "_execute_module(" in text
        assert runs_module == ("refusal_in(answer)" in text), path.name
        assert 'pop("refusal"' not in text, path.name
