"""``paranal demo``: bring four countries up, provision them, ask, and show what came back.

Run again it reuses all that stands. It fails (PAR-0223) when an answer differs from what the
agreement and the synthetic records promise: a demo that cannot fail would show nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from paranal.agreement import is_open, member_view
from paranal.lab import equip, lowering, names, people, raising
from paranal.lab.cli import crypto_profile, new_file
from paranal.lab.lab import Lab, failed
from paranal.lab.playbook import Played, play
from paranal.lab.progress import step
from paranal.lab.wish import Wish
from paranal.messages import Refusal

ASKER = "pe"
OFFICER = "demo-officer"
_EXIT_ANSWERED = (0, 10, 11)
"""Exit statuses of ``paranal query`` that carry an answer: OK, ALERT, INCOMPLETE."""


@dataclass(frozen=True)
class Question:
    """One question of the demo: whom it asks, about whom, and the answer it must get."""

    title: str
    to: tuple[str, ...]
    mrz: tuple[str, ...]
    expected: dict[str, str]


@dataclass
class Clock:
    """Seconds of each named part of the demo."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str, text: str) -> Iterator[None]:
        """Show progress and keep how long the part took."""
        started = time.monotonic()
        with step(text):
            yield
        self.seconds[name] = round(time.monotonic() - started, 1)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demo."""
    parser.add_argument("--name", default="default", help="the lab's name (default: default)")
    parser.add_argument(
        "--agreement", help="a file, all-live, ipv6 or mixed (default: pacific-alliance)"
    )
    crypto_profile(parser)
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="also write all of it as data"
    )
    parser.add_argument("--down", action="store_true", help="take the mesh away again")


def run(args: argparse.Namespace) -> int:
    """Run the demo, or end it. Raises ``Refusal`` PAR-0223 when an answer is not as it must be."""
    lab = Lab(args.name)
    if args.down:
        lowering.down(lab)
        return 0
    clock = Clock()
    with clock.part("lab", "lab: image, containers, wires"):
        wish = Wish(agreement=args.agreement, crypto_profile=args.crypto_profile)
        raising.up(lab, wish, os.getppid())
    with clock.part("provision", "playbooks/site.yml, posts and synthetic records"):
        played, changed = provision(lab)
    started = time.monotonic()
    answered = [ask(lab, question) for question in questions(lab)]
    clock.seconds["questions"] = round(time.monotonic() - started, 1)
    report = {
        "lab": lab.facts(),
        "changed": {"tasks": played.changed, **changed},
        "pairs": pairs(lab),
        "questions": answered,
        "seconds": clock.seconds,
    }
    show(report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    wrong = [each for each in answered if not each["as_expected"]]
    if wrong:
        raise Refusal("PAR-0223", questions=len(wrong), total=len(answered))
    return 0


def provision(lab: Lab) -> tuple[Played, dict[str, list[str]]]:
    """Play site.yml and equip the lab; posts are enrolled while the nodes converge.

    Returns how the playbook went and which posts and sources changed.
    """
    with ThreadPoolExecutor(1) as pool:
        posts = pool.submit(equip.enrol_posts, lab)
        played = play(lab, "site")
        return played, {"posts": posts.result(), "sources": equip.load_sources(lab)}


def questions(lab: Lab) -> list[Question]:
    """Return the demo's questions with the answers that this lab's agreement promises."""
    view = member_view(lab.agreement(), ASKER)
    present = set(lab.facts()["members"])
    asks = {peer["code"]: peer["asks"]["person"] for peer in view["peers"]}

    def promised(country: str, answer: str) -> str:
        if not is_open(asks[country]):
            return "NOT_AUTHORISED"
        return answer if country in present else "UNAVAILABLE"

    planned = (
        ("PE > CO, buscado", people.DEMO_WANTED_MRZ, {"co": "RQ"}),
        ("PE > CO y MX, antecedentes", people.DEMO_RECORD_MRZ, {"co": "OK", "mx": "ANT"}),
        ("PE > CO y MX, homónimo limpio", people.DEMO_CLEAN_MRZ, {"co": "OK", "mx": "OK"}),
        ("PE > CL por nombre", people.DEMO_CLEAN_MRZ, {"cl": "OK"}),
    )
    return [
        Question(title, tuple(said), mrz, {code: promised(code, say) for code, say in said.items()})
        for title, mrz, said in planned
        if said.keys() <= asks.keys()  # an agreement of fewer members has fewer to ask
    ]


def first_answer(lab: Lab) -> dict[str, Any]:
    """Ask the one question that the bench waits for: two countries, one consolidated answer."""
    answer = ask(lab, questions(lab)[1])
    if not answer["as_expected"]:
        raise Refusal("PAR-0223", questions=1, total=1)
    return answer


def ask(lab: Lab, question: Question) -> dict[str, Any]:
    """Ask from the border post, as an officer's terminal would; return question and answer."""
    words = ["paranal", "query", "--from", ASKER, "--to", ",".join(question.to), "--json"]
    words += ["--officer", OFFICER, "--mrz", *question.mrz]
    started = time.monotonic()
    done = lab.exec(names.border(ASKER), *words, check=False)
    seconds = round(time.monotonic() - started, 2)
    if done.returncode not in _EXIT_ANSWERED:
        raise failed(names.border(ASKER), words, done)
    answer: dict[str, Any] = json.loads(done.stdout)
    said = {country: line["answer"] for country, line in answer["answers"].items()}
    return {
        "title": question.title,
        "asker": ASKER,
        "to": list(question.to),
        "expected": question.expected,
        "as_expected": said == question.expected,
        "seconds": seconds,
        "answer": answer,
    }


def pairs(lab: Lab) -> list[dict[str, Any]]:
    """Return every pair of the lab once, as ``paranal status`` on its first member tells it."""
    found = []
    for member in sorted(lab.facts()["members"]):
        done = lab.exec(member, "paranal", "status", "--json", check=False)
        status = json.loads(done.stdout)
        found += [pair for pair in status["pairs"] if pair["name"].startswith(f"{member}-")]
    return found


def show(report: dict[str, Any]) -> None:
    """Print what was done: the pairs, each question and its answer, and the times."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(_pairs_table(report["pairs"]))
    console.print(_questions_table(report["questions"]))
    changed = sum(report["changed"]["tasks"].values())
    seconds = ", ".join(f"{part} {value:g} s" for part, value in report["seconds"].items())
    console.print(f"Cambios | Changes: {changed}. Tiempos | Times: {seconds}")
    name = report["lab"]["name"]
    console.print(f"Siga | Go on: scripts/lab --name {name} exec pe -- paranal status")
    console.print(f"Fin | End: scripts/demo --name {name} --down")


def _pairs_table(found: list[dict[str, Any]]) -> Table:
    table = Table(
        "Par | Pair", "Túnel | Tunnel", "IKE", "CHILD_SA", "Plano | Plane", box=box.SIMPLE
    )
    for pair in found:
        tunnel = pair["tunnel"]
        if not tunnel:
            line = pair["line_check"]
            checked = (
                "pendiente | pending" if line is None else "línea | line: " + _ok(line.get("ok"))
            )
            table.add_row(pair["name"], checked, "", "", pair["data_plane"])
            continue
        ike = f"{tunnel['encryption']} {tunnel['prf']} {tunnel['key_exchange']}"
        children = "\n".join(
            f"{each['name']} {each['encryption']} {each['key_exchange']}"
            for each in tunnel["children"]
        )
        table.add_row(pair["name"], tunnel["state"], ike, children, pair["data_plane"])
    return table


def _questions_table(answered: list[dict[str, Any]]) -> Table:
    titles = ("Pregunta | Question", "Respuesta | Answer", "Países | Countries", "s")
    table = Table(*titles, box=box.SIMPLE)
    for each in answered:
        answer = each["answer"]
        countries = "\n".join(
            f"{country}: {line['answer']}" + ("" if line["code"] is None else f" ({line['code']})")
            for country, line in sorted(answer["answers"].items())
        )
        mark = "" if each["as_expected"] else " [bold red]¿? inesperado | unexpected[/]"
        table.add_row(each["title"], answer["outcome"] + mark, countries, f"{each['seconds']:g}")
    return table


def _ok(value: bool | None) -> str:
    return {True: "bien | good", False: "falla | failing", None: "sin prueba | none yet"}[value]
