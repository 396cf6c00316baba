"""The database of a node: least privilege, an append-only log, indexes, migrations, imports."""

from __future__ import annotations

import json

import pytest

from paranal.lab import people
from paranal.query.migrate import migrations
from paranal.query.person import Person
from tests.service.nodes import Mesh, Node


@pytest.fixture
def node(mesh: Mesh) -> Node:
    return mesh.nodes["co"]


ALLOWED = [
    ("paranal-alliance", "SELECT * FROM source.find('COL|P|AV123456', NULL)"),
    ("paranal-source", "SELECT source FROM source.record LIMIT 1"),
]
DENIED = [
    ("paranal-alliance", "SELECT * FROM source.record"),
    ("paranal-alliance", "SELECT * FROM source.answerable"),
    ("paranal-alliance", "SELECT * FROM exchange.query"),
    ("paranal-alliance", "DELETE FROM exchange.query"),
    ("paranal-alliance", "CREATE TABLE public.t (a int)"),
    ("paranal-national", "SELECT * FROM source.find('COL|P|AV123456', NULL)"),
    ("paranal-national", "SELECT * FROM source.record"),
    ("paranal-national", "UPDATE exchange.query SET outcome = 'OK'"),
    ("paranal-source", "SELECT * FROM source.record"),
    ("paranal-source", "INSERT INTO exchange.query (request_id) VALUES (gen_random_uuid())"),
    ("postgres", "UPDATE exchange.query SET outcome = 'OK'"),
    ("postgres", "DELETE FROM exchange.query"),
    ("postgres", "TRUNCATE exchange.query"),
]


@pytest.mark.req("R5")
@pytest.mark.parametrize(("account", "query"), ALLOWED)
def test_each_account_can_do_its_work(node: Node, account: str, query: str) -> None:
    done = node.sql(query, account)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout


@pytest.mark.req("R5")
@pytest.mark.parametrize(("account", "query"), DENIED)
def test_no_account_can_do_more(node: Node, account: str, query: str) -> None:
    done = node.sql(query, account)
    assert done.returncode != 0
    assert b"denied" in done.stderr or b"append-only" in done.stderr


def test_an_account_is_nobody_else(node: Node) -> None:
    done = node.run(
        "psql", "-d", "paranal", "-U", "postgres", "-c", "SELECT 1", user="paranal-source"
    )
    assert b"Peer authentication failed" in done.stderr
    assert node.value("SHOW listen_addresses") == ""


def test_both_keys_are_found_by_index(node: Node) -> None:
    for column in ("document_key", "identity_key"):
        query = f"SELECT source, kind FROM source.answerable WHERE {column} = 'x'"  # noqa: S608 - ours
        plan = node.value(f"SET enable_seqscan = off; EXPLAIN {query}")
        assert "Index Scan using record_" in plan
        assert "Seq Scan" not in plan


@pytest.mark.req("R2")
def test_a_record_without_a_shared_class_never_answers(mesh: Mesh) -> None:
    person = dict(next(each for each in people.records("co", 500) if each["offence_class"] is None))
    words = [
        word
        for field in Person.__struct_fields__
        for word in (f"--{field.replace('_', '-')}", person[field])
    ]
    assert mesh.ask("--to", "co", *words)[0] == 0


def _migrate(node: Node) -> tuple[int, str]:
    done = node.run("python3", "-P", "-B", "-m", "paranal.query.migrate", user="postgres")
    return done.returncode, (done.stdout + done.stderr).decode()


def test_migrations_apply_once_and_are_never_edited(node: Node) -> None:
    assert _migrate(node) == (0, '{"applied": []}\n')
    node.value("UPDATE public.migration SET digest = 'x' WHERE name = '002_source.sql'")
    status, told = _migrate(node)
    assert (status, "PAR-0590" in told, "002_source.sql" in told) == (3, True, True)
    digest = {each.name: each.digest for each in migrations()}["002_source.sql"]
    restore = "UPDATE public.migration SET digest = '{}' WHERE name = '002_source.sql'"
    node.value(restore.format(digest))
    assert _migrate(node)[0] == 0


def _import(node: Node, text: str | bytes, *words: str) -> tuple[int, str]:
    data = text.encode() if isinstance(text, str) else text
    argv = ("paranal", "source", "import", "-", "--source", "extra", *words)
    done = node.run(*argv, user="paranal-source", given=data)
    return done.returncode, (done.stdout + done.stderr).decode()


def _held(node: Node) -> str:
    return node.value("SELECT count(*) FROM source.record WHERE source = 'extra'")


@pytest.mark.req("R5")
def test_a_file_is_imported_whole_or_not_at_all(node: Node) -> None:
    lines = [json.dumps(each) for each in people.records("cl", 300)]
    good = "\n".join(lines)
    bad = "\n".join([*lines[:299], lines[299].replace('"CHL"', '"CHILE"')])
    jsonl = ("--format", "jsonl")
    try:
        status, told = _import(node, bad, *jsonl)
        assert (status, "stdin:300" in told, "PAR-0571" in told) == (3, True, True)
        assert _held(node) == "0"
        assert _import(node, good, *jsonl)[0] == 0
        assert _held(node) == "300"
        status, told = _import(node, good, *jsonl)
        assert (status, "PAR-0575" in told) == (3, True)
        assert _import(node, "\n".join(lines[:200]), *jsonl, "--replace")[0] == 0
        assert _held(node) == "200"
        for text in ("", "\xff\xfe", "{"):
            status, told = _import(node, text.encode("latin-1"), *jsonl, "--replace")
            assert (status, "PAR-057" in told) == (3, True)
        assert _held(node) == "200"
        assert "Traceback" not in told
    finally:
        node.value("DELETE FROM source.load WHERE source = 'extra'")
    assert _held(node) == "0"


@pytest.mark.req("R9")
def test_the_last_good_question_of_a_direction_is_known(mesh: Mesh) -> None:
    _, answer = mesh.ask_mrz(people.DEMO_CLEAN_MRZ, "co")
    for code, role in (("pe", "asked"), ("co", "answered")):
        last = f"SELECT exchange.last_good('pe', 'co', 'person', '{role}')"
        assert mesh.nodes[code].value(last) == mesh.nodes[code].logged(answer, "at")
    assert mesh.nodes["pe"].value("SELECT exchange.last_good('pe', 'cl')") == ""
