"""The documents keep their form, point at things that exist, and use one word for each thing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paranal.cli import COMMANDS
from paranal.messages import catalogue
from paranal.status import report

REPOSITORY = Path(__file__).parents[2]
SPANISH = REPOSITORY / "docs" / "es"
RUNBOOKS = sorted((SPANISH / "runbooks").glob("RB-*.md"))
GLOSSARY = SPANISH / "glosario.md"

HEADINGS = [
    "Síntoma",
    "Impacto",
    "Comprobaciones previas",
    "Diagnóstico",
    "Mitigación",
    "Verificación",
    "Marcha atrás",
    "Escalado",
]
"""Of a runbook, in this order."""

HEADER = ["Duración", "Riesgo", "Quién", "Último ensayo"]
"""What stands above the first heading of a runbook."""

MAXIMUM = 90
"""Lines of a runbook: who is called at night reads one screen and a half."""

LINK = re.compile(r"\[[^]]*]\(([^)#\s]+)(?:#[^)]*)?\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
INDENTED = re.compile(r"^ {4,}(?![-*\d]).*$", re.MULTILINE)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def documents() -> list[Path]:
    folders = (REPOSITORY / "docs", REPOSITORY / "roles")
    nested = (path for folder in folders for path in folder.rglob("*.md"))
    return sorted([*REPOSITORY.glob("*.md"), *nested])


def block_lines(text: str) -> list[str]:
    """Return the lines of the indented blocks; a fenced block may be a drawing."""
    return INDENTED.findall(CODE.sub("", text))


def commands(text: str) -> list[str]:
    """Return the commands of a document: its spans and blocks of code, a line each."""
    marked = [span.strip("`") for span in CODE.findall(text)] + INDENTED.findall(text)
    return [line.strip() for block in marked for line in block.splitlines() if line.strip()]


def prose(text: str) -> str:
    return INDENTED.sub(" ", LINK.sub(" ", CODE.sub(" ", text)))


@pytest.mark.req("D5")
@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_has_its_header_and_its_headings_in_order(path: Path) -> None:
    text = read(path)
    number = "-".join(path.stem.split("-")[:2])
    assert text.startswith(f"# {number} · ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    above = text.split("\n## ")[0]
    assert [word for word in HEADER if word.lower() not in above.lower()] == []
    assert len(text.splitlines()) <= MAXIMUM
    for section in text.split("\n## ")[1:]:
        assert section.split("\n", 1)[1].strip(), f"{path.stem}: an empty section"


def stated(text: str) -> set[str]:
    """Return the codes that a runbook says it is for: single ones, ranges, and ``PAR-05xx``."""
    (line,) = re.findall(r"^Lo dicen .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`PAR-(\d{4})`(?:\s+a\s+`PAR-(\d{4})`)?", line)
    spans += [(f"{number}00", f"{number}99") for number in re.findall(r"`PAR-(\d\d)xx`", line)]
    return {
        f"PAR-{number:04}"
        for first, last in spans
        for number in range(int(first), int(last or first) + 1)
    }


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_names_every_code_that_sends_somebody_to_it(path: Path) -> None:
    sent = {code for code, message in catalogue().items() if message.runbook == path.stem}
    assert sent - stated(read(path)) == set()


def test_runbook_numbers_are_unique_and_their_names_plain() -> None:
    numbers = [path.stem.split("-")[1] for path in RUNBOOKS]
    assert len(numbers) == len(set(numbers))
    for path in RUNBOOKS:
        assert re.fullmatch(r"RB-\d{3}(-[a-z0-9]+)+", path.stem)


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_inside_the_repository_leads_somewhere(path: Path) -> None:
    targets = [link for link in LINK.findall(read(path)) if "://" not in link]
    assert [each for each in targets if not (path.parent / each).exists()] == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_runbook_playbook_and_script_that_is_named_exists(path: Path) -> None:
    text = read(path)
    for number in re.findall(r"\bRB-(\d{3})\b", text):
        assert any(each.stem.startswith(f"RB-{number}-") for each in RUNBOOKS), f"RB-{number}"
    for line in commands(text):
        for named in re.findall(r"(?:^|\s)((?:playbooks|scripts)/[a-z_/]+(?:\.yml)?)", line):
            assert (REPOSITORY / named).exists(), f"{named} in: {line}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_word_of_the_paranal_command_exists(path: Path) -> None:
    for line in commands(read(path)):
        for word in re.findall(r"(?:^|sudo |-- |bin/)paranal ([a-z][a-z-]*)", line):
            assert word in COMMANDS, f"paranal {word} in: {line}"


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_every_unit_that_a_runbook_names_is_one_that_we_install(path: Path) -> None:
    ours = {
        each.name.removesuffix(".j2")
        for each in (REPOSITORY / "roles").rglob("templates/etc/systemd/system/paranal-*")
    }
    for unit in re.findall(r"systemctl \S+ ((?:paranal-\S+ ?)+)", read(path)):
        for name in unit.replace("`", " ").split():
            full = (
                name.rstrip(".,;") if "." in name.rstrip(".,;") else f"{name.rstrip(',;')}.service"
            )
            assert full in ours, f"{full} in {path.stem}"


def test_the_readmes_have_the_same_sections_commands_and_links() -> None:
    english, spanish = (read(REPOSITORY / name) for name in ("README.md", "README.es.md"))

    def shape(text: str) -> list[str]:
        return re.findall(r"^(#+) ", text, re.MULTILINE)

    assert shape(english) == shape(spanish)
    assert block_lines(english) == block_lines(spanish)
    assert sorted({*LINK.findall(english), "README.md"}) == sorted(
        {*LINK.findall(spanish), "README.es.md"}
    )
    assert english.count("\n|") == spanish.count("\n|")
    for section in english.split("\n## ")[1:]:
        assert len(section.split("\n", 1)[1].strip()) > 100


def glossary() -> list[list[str]]:
    """Return the rows of the glossary: Spanish, English, meaning, words not used."""
    rows = [line.strip("|").split("|") for line in read(GLOSSARY).splitlines() if "|" in line]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_glossary_has_the_words_of_the_screens() -> None:
    terms = {
        (spanish, english)
        for row in glossary()
        for spanish, english in zip(re.split(r", ", row[0]), re.split(r", ", row[1]), strict=False)
    }
    shown = {*report.STATES.values(), *report.SIDES.values()} - {("-", "-")}
    shown |= {report.WORDS[word] for word in ("live", "trial", "suspended", "pending")}
    assert {each for each in shown if each not in terms} == set()


def test_the_glossary_explains_each_term_once() -> None:
    spanish = [row[0] for row in glossary()]
    assert len(spanish) == len(set(spanish))
    for row in glossary():
        assert len(row) == 4
        assert all(row[:3])


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_uses_the_words_of_the_glossary(path: Path) -> None:
    """Foreign words for things that have a Spanish one; what reads two ways is left to the eye."""
    banned = {"gateway", "firewall", "runbook", "vpn", "hash", "cert", "ping"}
    assert banned <= {word for row in glossary() for word in re.split(r"[,\s]+", row[3].lower())}
    used = set(re.findall(r"[\wáéíóúñ]+", prose(read(path)).lower()))
    assert banned & used == set()
