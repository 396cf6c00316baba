"""Print a status: a table to read, or plain data."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from paranal.status.bounded import Unseen
from paranal.status.facts import Facts
from paranal.status.verdict import DirectionStatus, PairStatus, Reason, Side, State
from paranal.tunnels.charon import IkeSa

Words = tuple[str, str]

HEADINGS: dict[str, Words] = {
    "pair": ("Par", "Pair"),
    "tunnel": ("Túnel", "Tunnel"),
    "algorithms": ("Algoritmos", "Algorithms"),
    "data_plane": ("Plano de datos", "Data plane"),
    "children": ("CHILD_SA", "CHILD_SA"),
    "parity": ("Paridad", "Parity"),
    "line": ("Prueba de línea", "Line check"),
    "direction": ("Sentido", "Direction"),
    "service": ("Servicio", "Service"),
    "declared": ("Anexo", "Agreement"),
    "enforced": ("Cortafuegos", "Firewall"),
    "last_good": ("Última buena", "Last good"),
    "state": ("Estado", "State"),
    "side": ("Lado", "Side"),
    "code": ("Código", "Code"),
    "certificates": ("Certificados propios", "Own certificates"),
    "crls": ("Listas de revocación (CRL)", "Revocation lists (CRL)"),
}
"""Column -> its heading in Spanish and English."""

STATES: dict[State, Words] = {
    State.GOOD: ("bien", "good"),
    State.BROKEN: ("MAL", "BROKEN"),
    State.UNKNOWN: ("sin comprobar", "not proved"),
    State.PENDING: ("pendiente", "pending"),
    State.SUSPENDED: ("suspendido", "suspended"),
}
"""State -> (Spanish, English), as the glossary has them (docs/es/glosario.md)."""

SIDES: dict[Side, Words] = {
    Side.NONE: ("-", "-"),
    Side.OURS: ("nuestro", "ours"),
    Side.LINE: ("la línea", "the line"),
    Side.THEIRS: ("suyo", "theirs"),
    Side.PAIR: ("del par", "the pair's"),
    Side.UNKNOWN: ("no se sabe", "not known"),
}
"""Side -> (Spanish, English)."""

WORDS: dict[str, Words] = {
    "live": ("en servicio", "live"),
    "trial": ("en pruebas", "trial"),
    "suspended": ("suspendido", "suspended"),
    "pending": ("pendiente", "pending"),
    "open": ("abierto", "open"),
    "closed": ("cerrado", "closed"),
    "unknown": ("no se vio", "not seen"),
    "never": ("nunca", "never"),
    "down": ("caído", "down"),
    "passed": ("bien", "good"),
    "failed": ("falló", "failed"),
    "unchecked": ("sin prueba", "none yet"),
    "by": ("la hace", "made by"),
    "call": ("Llamar", "Call"),
}
"""Any other word of a cell -> (Spanish, English)."""

STYLES = {
    State.GOOD: "green",
    State.BROKEN: "bold red",
    State.UNKNOWN: "yellow",
    State.PENDING: "dim",
    State.SUSPENDED: "dim",
}

WIDTH_OF_A_FILE = 160


@dataclass(frozen=True)
class Report:
    """What was seen, what it means, and what is not wrong yet."""

    facts: Facts
    pairs: list[PairStatus]
    warnings: list[Reason]


def show(report: Report, language: str) -> None:
    """Write the tables and, below them, each reason once with its runbook and whom to call."""
    width = None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    console = Console(width=width, highlight=False)
    console.print(_pairs(report, language))
    console.print(_directions(report, language))
    console.print(_dates(report.facts, language))
    for line in reasons(report, language):
        console.print(line, markup=False, soft_wrap=True)


def reasons(report: Report, language: str) -> list[str]:
    """Return each reason once, ``PAR-0613 text (RB-001) -> contact``, in the order of the table."""
    lines: dict[str, None] = {}
    for pair in report.pairs:
        for each in pair.directions:
            for reason in each.reasons:
                lines[_reason(reason, language, each.contact)] = None
        for reason in pair.line_reasons:
            lines[_reason(reason, language, pair.line_contact)] = None
    for reason in report.warnings:
        line = _reason(reason, language, {})
        if not any(said.startswith(line) for said in lines):
            lines[line] = None
    return list(lines)


def as_dict(report: Report) -> dict[str, Any]:
    """Return the whole status as JSON data; times are RFC 3339 in UTC."""
    facts = report.facts
    return {
        "at": facts.now.isoformat(),
        "member": facts.view["member"]["code"],
        "agreement": {"epoch": facts.view["epoch"], "digest": facts.view["digest"]},
        "pairs": [_pair_data(pair) for pair in report.pairs],
        "certificates": _data(facts.certificates),
        "crls": _data(facts.crls),
        "services": _data(facts.services),
        "reached": {
            f"{peer} {service}": _data(end) for (peer, service), end in facts.reached.items()
        },
        "suspended": [vars(entry) for entry in facts.suspended.entries],
        "notices": _data(facts.notices),
        "warnings": [reason.as_dict() for reason in report.warnings],
    }


def _pair_data(pair: PairStatus) -> dict[str, Any]:
    return {
        "name": pair.name,
        "peer": pair.peer,
        "crypto_profile": pair.crypto_profile,
        "parity": pair.parity,
        "data_plane": pair.data_plane,
        "tunnel": _data(pair.tunnel),
        "line_check": _data(pair.line) if pair.line_ours else None,
        "line_check_by": pair.line_by,
        "line_reasons": [reason.as_dict() for reason in pair.line_reasons],
        "line_contact": pair.line_contact,
        "directions": [
            {
                **_data(each),
                "last_good": _data(each.last_good),
                "reasons": [reason.as_dict() for reason in each.reasons],
            }
            for each in pair.directions
        ],
    }


def _data(value: Any) -> Any:  # noqa: ANN401 - dataclasses of facts into JSON
    if isinstance(value, Unseen):
        return {"unseen": value.reason}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _data(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_data(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(_data(each) for each in value)
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if hasattr(value, "__dataclass_fields__"):
        return _data(asdict(value))
    return value


def _table(language: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        spanish, english = HEADINGS[column]
        both = f"{spanish}\n[dim]{english}[/dim]"
        table.add_column(english if language == "en" else both)
    return table


def _pairs(report: Report, language: str) -> Table:
    columns = ("pair", "tunnel", "algorithms", "data_plane", "children", "line", "parity")
    table = _table(language, *columns)
    for pair in report.pairs:
        state, algorithms, children = _tunnel(pair, report.facts, language)
        line = _line(pair, report.facts.now, language)
        plane = _word(pair.data_plane, language)
        table.add_row(pair.name, state, algorithms, plane, children, line, pair.parity[:16])
    return table


def _tunnel(pair: PairStatus, facts: Facts, language: str) -> tuple[str, str, str]:
    """Return state and age, algorithms, children with the octets they took in and sent.

    Behind a translation the state names the address that is translated.
    """
    tunnel = pair.tunnel
    if isinstance(tunnel, Unseen):
        return (_word("unknown", language), "", "")
    if tunnel is None:
        return ("-" if pair.line_by else _word("down", language), "", "")
    children = (f"{each.name} {each.bytes_in}/{each.bytes_out} B" for each in tunnel.children)
    state = f"{tunnel.state} {_age(tunnel.established_seconds)}"
    if tunnel.local_host != facts.view["member"]["wan_address"]:
        state += f"\nNAT {tunnel.local_host}"
    return (state, _algorithms(tunnel), "\n".join(children))


def _algorithms(tunnel: IkeSa) -> str:
    ppk = "PPK" if tunnel.ppk else ""
    return "/".join(filter(None, (tunnel.encryption, tunnel.prf, tunnel.key_exchange, ppk)))


def _line(pair: PairStatus, now: datetime, language: str) -> str:
    if not pair.line_by:
        return "-"
    if not pair.line_ours:
        return f"{_word('by', language)} {pair.line_by}"
    if pair.line is None:
        return _word("unchecked", language)
    if isinstance(pair.line, Unseen):
        return _word("unknown", language)
    said = _word("passed" if pair.line.ok else "failed", language)
    return f"{said} {_age((now - pair.line.at).total_seconds())}"


def _directions(report: Report, language: str) -> Table:
    columns = ("direction", "service", "declared", "enforced", "last_good", "state", "side", "code")
    table = _table(language, *columns)
    for pair in report.pairs:
        for row in _rows(pair.directions):
            table.add_row(*_row(row, report.facts.now, language), style=STYLES[row[0].state])
        table.add_section()
    return table


def _rows(directions: tuple[DirectionStatus, ...]) -> list[list[DirectionStatus]]:
    """Give every open direction its own row, and all that is rightly closed one row per status."""
    rows: list[list[DirectionStatus]] = []
    shut: dict[State, list[DirectionStatus]] = {}
    for each in directions:
        if each.state in (State.PENDING, State.SUSPENDED):
            shut.setdefault(each.state, []).append(each)
        else:
            rows.append([each])
    return [*rows, *shut.values()]


def _row(row: list[DirectionStatus], now: datetime, language: str) -> tuple[str, ...]:
    first = row[0]
    last = "" if first.state in (State.PENDING, State.SUSPENDED) else _word("never", language)
    if isinstance(first.last_good, Unseen):
        last = _word("unknown", language)
    elif first.last_good:
        last = _age((now - first.last_good).total_seconds())
    return (
        "\n".join(dict.fromkeys(f"{each.asker}>{each.answerer}" for each in row)),
        ", ".join(dict.fromkeys(each.service for each in row)),
        _word(first.declared, language),
        _word(first.enforced, language),
        last,
        _said(STATES[first.state], language),
        _said(SIDES[first.side], language),
        first.reasons[0].code if first.reasons else "",
    )


def _dates(facts: Facts, language: str) -> Table:
    table = _table(language, "certificates", "crls")
    leaves = _word("unknown", language)
    if not isinstance(facts.certificates, Unseen):
        left = ((leaf.name, leaf.not_after - facts.now) for leaf in facts.certificates)
        leaves = "\n".join(f"{name} {_days(span)}" for name, span in left)
    lists = _word("unknown", language)
    if not isinstance(facts.crls, Unseen):
        lists = "\n".join(
            f"{crl.country}-{crl.authority} {_age((facts.now - crl.this_update).total_seconds())}"
            f" (+{_days(crl.next_update - facts.now)})"
            for crl in facts.crls
        )
    table.add_row(leaves, lists)
    return table


def _reason(reason: Reason, language: str, contact: dict[str, str]) -> str:
    runbook = "-".join(reason.runbook.split("-")[:2])
    text = f"{reason.code} {reason.text(language)} ({runbook})"
    if not reason.fault or not contact:
        return text
    return f"{text} {_word('call', language)}: {contact['name']}, {contact['phone']}"


def _word(key: str, language: str) -> str:
    return _said(WORDS.get(key, (key, key)), language)


def _said(words: Words, language: str) -> str:
    return words[1] if language == "en" else words[0]


def _days(span: timedelta) -> str:
    return f"{span.days} d"


def _age(seconds: float) -> str:
    """Return an age with one unit: ``45 s``, ``12 min``, ``3 h``, ``9 d``."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
