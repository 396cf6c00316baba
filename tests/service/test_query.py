"""A post asks, countries answer, and one answer comes back: over real TLS and real databases."""

from __future__ import annotations

import json

import pytest

from paranal.lab import people
from tests.service.nodes import PERSON, Mesh, until

LOGGED = "SELECT count(*) FROM exchange.query"
RESTARTING = """\
# RESTARTING: ends the first connection that brings a question, and answers the second.
import os, socketserver
from http.server import BaseHTTPRequestHandler
SOCKET, asked = "/run/paranal/alliance/http.sock", []
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return "haproxy"
    def told(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.told(b'{"database": true}')
    def do_POST(self):
        asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        if len(asked) == 1:
            self.close_connection = True
        else:
            self.told(b'{"time": %d}' % len(asked))
os.unlink(SOCKET)
os.umask(0)
socketserver.ThreadingUnixStreamServer(SOCKET, Handler).serve_forever()
"""


def _seven(**changes: str) -> list[str]:
    fields = {**PERSON, **changes}
    return [word for key, text in fields.items() for word in (f"--{key.replace('_', '-')}", text)]


@pytest.mark.req("R9")
@pytest.mark.req("R3")
def test_one_to_one_a_hit(mesh: Mesh) -> None:
    status, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")
    assert (status, answer["outcome"], answer["complete"]) == (10, "ALERT", True)
    assert (answer["answers"]["co"]["answer"], answer["answers"]["co"]["code"]) == ("RQ", 1)
    assert answer["contacts"]["co"]["phone"]


@pytest.mark.req("R9")
def test_one_to_one_no_hit_although_a_homonym_is_on_record(mesh: Mesh) -> None:
    status, answer = mesh.ask_mrz(people.DEMO_CLEAN_MRZ, "co")
    assert (status, answer["outcome"]) == (0, "OK")
    assert answer["answers"]["co"]["code"] == 0


@pytest.mark.req("R10")
@pytest.mark.req("R13")
def test_one_to_many_in_one_consolidated_answer(mesh: Mesh) -> None:
    status, answer = mesh.ask_mrz(people.DEMO_RECORD_MRZ, "co,mx")
    assert (status, answer["outcome"], answer["complete"]) == (10, "ALERT", True)
    assert {c: a["answer"] for c, a in answer["answers"].items()} == {"co": "OK", "mx": "ANT"}


@pytest.mark.req("R10")
@pytest.mark.req("R12")
def test_by_default_every_direction_in_service_is_asked(mesh: Mesh) -> None:
    status, answer = mesh.ask_mrz(people.DEMO_CLEAN_MRZ)
    assert (status, sorted(answer["answers"])) == (0, ["co", "mx"])
    assert answer["not_in_service"] == ["cl"]


@pytest.mark.req("R12")
def test_a_pending_country_by_name_is_not_authorised(mesh: Mesh) -> None:
    status, answer = mesh.ask_mrz(people.DEMO_CLEAN_MRZ, "cl,co")
    assert (status, answer["outcome"]) == (11, "INCOMPLETE")
    assert answer["answers"]["cl"]["answer"] == "NOT_AUTHORISED"
    assert answer["answers"]["cl"]["refusal"]["code"] == "PAR-0530"
    assert answer["answers"]["co"]["answer"] == "OK"


@pytest.mark.req("R4")
def test_seven_fields_find_by_identity_without_the_document(mesh: Mesh) -> None:
    other = {"document_type": "I", "document_number": "1098765432"}
    assert mesh.ask("--to", "co", *_seven(**other))[0] == 10
    other |= {"surnames": "PENA-RESTREPO", "given_names": "andres felipe"}
    assert mesh.ask("--to", "co", *_seven(**other))[0] == 10
    assert mesh.ask("--to", "co", *_seven(**other, sex="X"))[0] == 10
    assert mesh.ask("--to", "co", *_seven(**other, sex="F"))[0] == 0
    other |= {"date_of_birth": "1984-07-20"}
    assert mesh.ask("--to", "co", *_seven(**other))[0] == 0


@pytest.mark.req("B6")
def test_an_incomplete_identity_is_never_cleared(mesh: Mesh) -> None:
    unknown = _seven(date_of_birth="1984-00-00", document_number="ZZ999999")
    status, answer = mesh.ask("--to", "co", *unknown)
    assert (status, answer["answers"]["co"]["answer"]) == (11, "REFUSED")
    assert answer["answers"]["co"]["refusal"]["code"] == "PAR-0509"


def test_a_post_asks_for_its_own_country_only(mesh: Mesh) -> None:
    done = mesh.nodes["pe"].run(
        "paranal", "query", "--from", "co", "--to", "mx", "--mrz", *people.DEMO_CLEAN_MRZ
    )
    assert done.returncode == 3
    assert b"PAR-0561" in done.stderr


def test_settings_that_are_none_are_refused_and_not_shown_as_a_traceback(mesh: Mesh) -> None:
    """Debian 13's msgspec raises other errors than the one that the unit tests run with."""
    for text in ("{", "[]", '{"national_url": 5}', '{"ca": 5}'):
        mesh.nodes["pe"].put({"/root/wrong.json": text})
        status, said = mesh.ask("--settings", "/root/wrong.json", "--mrz", *people.DEMO_CLEAN_MRZ)
        assert (status, said["refusal"]["code"]) == (3, "PAR-0560")


def test_what_the_officer_reads_never_shows_the_category(mesh: Mesh) -> None:
    words = ("paranal", "query", "--from", "pe", "--to", "co,cl", "--mrz", *people.DEMO_WANTED_MRZ)
    shown = mesh.nodes["pe"].run(*words).stdout.decode()
    assert "A L E R T A" in shown
    assert "RQ" not in shown
    assert "Turno 24/7" in shown
    assert "PAR-0530" in shown


@pytest.mark.req("R1")
def test_both_sides_log_the_question_and_nobody_logs_the_person(mesh: Mesh) -> None:
    _, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")
    columns = "role, outcome, post, officer, purpose"
    post = "post-border.pe.paranal.example"
    assert mesh.nodes["pe"].logged(answer, columns) == f"asked|RQ|{post}|root|border_entry"
    assert mesh.nodes["co"].logged(answer, columns) == "answered|RQ|||border_entry"
    traces = ("PENA", "Peña", "ANDRES", "AV123456", "840719", "1984-07-19")
    for code, listener in (("pe", "national"), ("co", "alliance")):
        node = mesh.nodes[code]
        dump = node.must("pg_dump", "--schema=exchange", "--inserts", "paranal", user="postgres")
        database = node.must("cat", "/var/log/postgresql/postgresql-17-main.log")
        for text in (dump, database, node.journal(listener)):
            assert not [trace for trace in traces if trace in text]


@pytest.mark.req("R12")
def test_a_direction_closed_on_the_asking_side_lets_nothing_leave(mesh: Mesh) -> None:
    before = mesh.nodes["co"].value(LOGGED)
    with mesh.changed("pe", "co", "asks", "suspended"):
        status, answer = mesh.ask_mrz(people.DEMO_CLEAN_MRZ)
    assert (status, answer["answers"]["co"]["answer"]) == (11, "NOT_AUTHORISED")
    assert mesh.nodes["co"].value(LOGGED) == before
    assert mesh.ask_mrz(people.DEMO_CLEAN_MRZ)[0] == 0


@pytest.mark.req("R12")
def test_a_direction_closed_on_the_answering_side_answers_nothing(mesh: Mesh) -> None:
    with mesh.changed("co", "pe", "answers", "suspended"):
        status, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")
    assert (status, answer["answers"]["co"]["answer"]) == (11, "NOT_AUTHORISED")
    assert mesh.nodes["co"].logged(answer, "outcome") == "NOT_AUTHORISED"


@pytest.mark.req("R12")
def test_a_direction_on_trial_carries_test_identities_only(mesh: Mesh) -> None:
    with mesh.changed("pe", "mx", "asks", "trial"), mesh.changed("mx", "pe", "answers", "trial"):
        assert mesh.ask_mrz(people.DEMO_TEST_MRZ, "mx")[0] == 0
        assert mesh.ask_mrz(people.DEMO_RECORD_MRZ, "mx")[1]["answers"]["mx"]["code"] is None
        status, answer = mesh.ask_mrz(people.DEMO_CLEAN_MRZ)
        assert (status, answer["not_in_service"]) == (0, ["cl", "mx"])
    # The answering side holds by itself.
    with mesh.changed("mx", "pe", "answers", "trial"):
        _, answer = mesh.ask_mrz(people.DEMO_RECORD_MRZ, "mx")
        assert answer["answers"]["mx"]["answer"] == "NOT_AUTHORISED"


@pytest.mark.req("B6")
def test_a_database_that_is_down_is_unavailable_and_recovers(mesh: Mesh) -> None:
    node = mesh.nodes["co"]
    node.must("pg_ctlcluster", "17", "main", "stop", "--force")
    try:
        status, answer = mesh.ask_mrz(people.DEMO_CLEAN_MRZ)
        assert (status, answer["outcome"]) == (11, "INCOMPLETE")
        assert answer["answers"]["co"]["answer"] == "UNAVAILABLE"
        assert answer["answers"]["mx"]["answer"] == "OK"
        assert node.health("alliance") is False
    finally:
        node.must("pg_ctlcluster", "17", "main", "start")
    until(lambda: mesh.ask_mrz(people.DEMO_CLEAN_MRZ)[0] == 0, "co answers again")


@pytest.mark.req("B6")
def test_a_database_that_is_slow_is_unavailable_within_the_deadline(mesh: Mesh) -> None:
    node = mesh.nodes["co"]
    hold = "BEGIN; LOCK TABLE source.load IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)"
    psql = ("psql", "-Xq", "-d", "paranal", "-c", hold)
    node.docker.call("exec", "--detach", "--user", "postgres", node.container, *psql)
    held = "FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
    until(lambda: node.value(f"SELECT count(*) {held}") != "0", "the table is locked")
    try:
        status, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co,mx")
    finally:
        node.value(f"SELECT pg_terminate_backend(pid) {held}")
    assert answer["elapsed_ms"] < 5000
    assert (status, answer["outcome"]) == (11, "INCOMPLETE")
    assert answer["answers"]["co"]["answer"] in ("UNAVAILABLE", "TIMEOUT")
    assert answer["answers"]["mx"]["answer"] == "OK"
    until(lambda: mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")[0] == 10, "co answers again")


@pytest.mark.req("R10")
def test_a_service_that_hangs_is_a_timeout_and_holds_nobody_up(mesh: Mesh) -> None:
    mesh.nodes["mx"].stop("alliance", "STOP")
    try:
        status, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co,mx")
        assert (status, answer["outcome"], answer["complete"]) == (10, "ALERT", False)
        assert answer["answers"]["co"]["answer"] == "RQ"
        assert answer["answers"]["mx"]["answer"] in ("TIMEOUT", "UNAVAILABLE")
        assert answer["elapsed_ms"] < 5000
        assert "mx" in answer["contacts"]
    finally:
        mesh.nodes["mx"].stop("alliance", "CONT")
    until(lambda: mesh.ask_mrz(people.DEMO_CLEAN_MRZ, "mx")[0] == 0, "mx answers again")


@pytest.mark.req("R10")
def test_a_question_that_a_restart_did_not_begin_is_put_to_the_service_again(mesh: Mesh) -> None:
    """What ends the first connection without a word is the test's; HAProxy is the real one."""
    colombia = mesh.nodes["co"]
    colombia.stop("alliance")
    words = ("setpriv", "--reuid", "paranal-alliance", "--regid", "paranal", "--clear-groups")
    colombia.docker.call(
        "exec", "--detach", colombia.container, *words, "python3", "-c", RESTARTING
    )
    try:
        until(lambda: colombia.health("alliance") is not None, "it listens")
        told = mesh.call("pe", mesh.operational("pe"))
        assert (told["status"], told["body"]) == (200, '{"time": 2}')
    finally:
        colombia.must("pkill", "-f", "RESTARTING")
        colombia.start("alliance")
    until(lambda: mesh.ask_mrz(people.DEMO_CLEAN_MRZ, "co")[0] == 0, "co answers again")


@pytest.mark.req("B6")
def test_a_source_that_was_never_loaded_lets_nobody_pass(mesh: Mesh) -> None:
    node = mesh.nodes["mx"]
    node.value("UPDATE source.load SET source = 'other'")
    try:
        _, answer = mesh.ask_mrz(people.DEMO_CLEAN_MRZ, "mx")
        assert answer["answers"]["mx"]["answer"] == "UNAVAILABLE"
        assert answer["answers"]["mx"]["refusal"]["code"] == "PAR-0541"
    finally:
        node.value("UPDATE source.load SET source = 'national'")


@pytest.mark.req("R1")
@pytest.mark.parametrize(("code", "account"), [("pe", "national"), ("co", "alliance")])
def test_without_its_log_no_country_answers(mesh: Mesh, code: str, account: str) -> None:
    node = mesh.nodes[code]
    node.value(f'REVOKE INSERT ON exchange.query FROM "paranal-{account}"')
    try:
        status, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")
    finally:
        node.value(f'GRANT INSERT ON exchange.query TO "paranal-{account}"')
    if code == "co":
        assert (status, answer["answers"]["co"]["answer"]) == (11, "UNAVAILABLE")
        assert answer["answers"]["co"]["refusal"]["code"] == "PAR-0540"
    else:
        assert (status, answer["refusal"]["code"]) == (3, "PAR-0563")
        assert "PAR-0540" in answer["refusal"]["es"]


def test_a_question_asked_twice_is_answered_once(mesh: Mesh) -> None:
    body = json.dumps(
        {
            "request_id": "6b4c4a3e-6f2e-4f0e-9a3c-1d2b3c4d5e6f",
            "purpose": "border_entry",
            "person": PERSON,
        }
    )
    peru = mesh.operational("pe")
    assert mesh.call("pe", peru, body=body)["status"] == 200
    again = mesh.call("pe", peru, body=body)
    assert again["status"] == 422
    assert json.loads(again["body"])["refusal"]["code"] == "PAR-0547"


@pytest.mark.parametrize(
    "change",
    [
        {"person": {**PERSON, "sex": "Z"}},
        {"person": {**PERSON, "surnames": "Pe\u202ea"}},
        {"person": {key: text for key, text in PERSON.items() if key != "sex"}},
        {"purpose": "curiosity"},
        {"request_id": "1"},
        {"extra": 1},
    ],
)
def test_a_malformed_question_is_refused_by_its_field(
    mesh: Mesh, change: dict[str, object]
) -> None:
    question = {
        "request_id": "0b4c4a3e-6f2e-4f0e-9a3c-1d2b3c4d5e6f",
        "purpose": "border_entry",
        "person": PERSON,
        **change,
    }
    told = mesh.call("pe", mesh.operational("pe"), body=json.dumps(question))
    assert told["status"] == 422
    answer = json.loads(told["body"])
    assert answer["answer"] == "REFUSED"
    assert "code" not in answer
    assert answer["refusal"]["code"] in ("PAR-0501", "PAR-0503")
