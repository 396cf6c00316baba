"""``paranal query``: a border post asks its own country's query server, which asks the others."""

from __future__ import annotations

import argparse
import getpass
import json
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from paranal.messages import Refusal
from paranal.query import match, mrz, wire
from paranal.query.client import httpx
from paranal.query.person import Person, checked
from paranal.serving.view import read

SETTINGS = Path("/etc/paranal/post.json")
WAIT_SECONDS = 10.0
"""Longer than the server's own deadline: the server's honest answer comes first."""

EXIT_STATUS = {"OK": 0, "ALERT": 10, "INCOMPLETE": 11}
UNKNOWN = "-"

_FIELDS = {
    "surnames": "apellidos | surnames, as the document shows them",
    "given_names": "nombres | given names ('-': has none)",
    "date_of_birth": "fecha de nacimiento | YYYY-MM-DD, 00 for an unknown part ('-': unknown)",
    "sex": "sexo | F, M or X (unspecified)",
    "nationality": "nacionalidad | ICAO code of three letters (XXX: unknown)",
    "document_type": "tipo de documento | P, V, I, A or C ('-': no document)",
    "document_number": "número de documento | its number ('-': no document)",
    "document_issuer": "Estado emisor | ICAO code of three letters ('-': no document)",
}


class Post(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A post's settings: where to ask, whom to trust, and its own key and certificate."""

    national_url: str
    server_name: str
    ca: Path
    certificate: Path
    key: Path
    member: str
    post: str
    show_category: bool = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``paranal query``."""
    parser.add_argument("--from", dest="asker", required=True, help="this post's member code")
    parser.add_argument("--to", help="member codes, comma-separated; default: all in service")
    parser.add_argument(
        "--mrz",
        nargs="+",
        metavar="LINE",
        help="two or three lines of a machine-readable zone; '-' reads them from standard input",
    )
    for field, text in _FIELDS.items():
        parser.add_argument(f"--{field.replace('_', '-')}", dest=field, help=text)
    parser.add_argument("--officer", help="accreditation of the officer; default: the login name")
    parser.add_argument("--purpose", choices=wire.PURPOSES, default="border_entry")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Ask and show the answer; return 0 (OK), 10 (ALERT) or 11 (INCOMPLETE).

    Raises ``Refusal`` PAR-05xx; nothing that failed is ever shown as OK.
    """
    person = _person(args)
    post = _settings(args.settings)
    if args.asker != post.member:
        raise Refusal("PAR-0561", member=post.member, asker=args.asker)
    officer = wire.checked_officer(args.officer or _login())
    to = None if args.to is None else [code.strip() for code in args.to.split(",")]
    question = wire.NationalQuestion(to, officer, args.purpose, person)
    answer = _ask(post, question)
    if args.json:
        sys.stdout.write(wire.encode(answer).decode() + "\n")
    else:
        sys.stdout.write(screen(answer, show_category=post.show_category))
    return EXIT_STATUS[answer.outcome]


def screen(answer: wire.Consolidated, *, show_category: bool) -> str:
    """Return what the officer reads: Spanish first, the outcome large, then each country.

    The category of a hit is a national setting, off by default (requirement R3).
    """
    title, spanish, english = _OUTCOMES[answer.outcome]
    rule = "=" * 78
    lines = [rule, f"   {title}", f"   {spanish}", f"   {english}", rule]
    for code, line in answer.answers.items():
        lines.append(f"   {code.upper()}  {_shown(line, show_category)}")
        if line.refusal:
            lines += [f"       {line.refusal.code}: {line.refusal.es}"]
            lines += [f"       {line.refusal.en}"]
    if answer.outcome == "ALERT" and not answer.complete:
        lines.append("   Respuesta incompleta: falta al menos un país | Not complete")
    for code, contact in answer.contacts.items():
        told = ", ".join((contact["name"], contact["phone"], contact["email"]))
        lines.append(f"   Contacto 24/7 {code.upper()}: {told}")
    if answer.not_in_service:
        absent = ", ".join(code.upper() for code in answer.not_in_service)
        lines.append(f"   No en servicio | not in service: {absent}")
    lines.append(f"   {answer.request_id}  {answer.asked_at}  {answer.elapsed_ms:.0f} ms")
    return "\n".join(lines) + "\n"


_OUTCOMES = {
    "OK": (
        "O K",
        "SIN REGISTRO en los países consultados.",
        "No record in the countries asked.",
    ),
    "ALERT": (
        "A L E R T A",
        "SIGA EL PROTOCOLO DE ACCIÓN. No deje continuar a la persona.",
        "ALERT: follow the protocol of action. Do not let the person proceed.",
    ),
    "INCOMPLETE": (
        "I N C O M P L E T A  -  NO ES UN OK",
        "Al menos un país no contestó: aplique la contingencia y vuelva a consultar.",
        "INCOMPLETE, not an OK: a country did not answer; apply the contingency and ask again.",
    ),
}

_ANSWERS = {
    "OK": "OK",
    "RQ": "ALERTA | ALERT",
    "ANT": "ALERTA | ALERT",
    "NOT_AUTHORISED": "SENTIDO NO HABILITADO | NOT AUTHORISED",
    "REFUSED": "RECHAZADA | REFUSED",
    "TIMEOUT": "SIN RESPUESTA A TIEMPO | TIMEOUT",
    "UNAVAILABLE": "NO DISPONIBLE | UNAVAILABLE",
}


def _shown(line: wire.CountryAnswer, show_category: bool) -> str:
    hit = line.answer in ("RQ", "ANT")
    return _ANSWERS[line.answer] + (f" ({line.answer})" if hit and show_category else "")


def _person(args: argparse.Namespace) -> Person:
    """Return the person asked about, judged here already, before anything leaves the post."""
    today = datetime.now(UTC).date()
    given = {field: getattr(args, field) for field in _FIELDS}
    if args.mrz:
        if any(value is not None for value in given.values()):
            args.usage_error("--mrz and the seven fields exclude each other")
        person = mrz.read(_scanned() if args.mrz == [UNKNOWN] else args.mrz, today)
    else:
        missing = [f"--{field.replace('_', '-')}" for field, text in given.items() if text is None]
        if missing:
            args.usage_error(f"--mrz, or all of the seven fields; missing: {', '.join(missing)}")
        fields = {field: None if text == UNKNOWN else text for field, text in given.items()}
        person = checked(wire.decode(json.dumps(fields).encode(), Person), today)
    match.searchable(person)
    return person


def _scanned() -> list[str]:
    """Return the lines on standard input; an octet that no zone has is refused where it stands."""
    return sys.stdin.buffer.read().decode("ascii", errors="replace").split()


def _login() -> str:
    """Return the login name, "" for an account that has none (refused as PAR-0522)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _settings(path: Path) -> Post:
    try:
        return read(path, Post)
    except (OSError, ValueError) as error:
        raise Refusal("PAR-0560", path=path, reason=error) from None


def _ask(post: Post, question: wire.NationalQuestion) -> wire.Consolidated:
    """Send the question over mutual TLS 1.3; raises ``Refusal`` PAR-0560, PAR-0562 or PAR-0563."""
    context = _tls_context(post)
    try:
        with httpx.Client(verify=context, trust_env=False, timeout=WAIT_SECONDS) as client:
            response = client.post(
                f"{post.national_url.rstrip('/')}/v1/person",
                content=wire.encode(question),
                headers={"host": post.server_name, "content-type": "application/json"},
                extensions={"sni_hostname": post.server_name},
            )
            if response.status_code == httpx.codes.OK:
                return msgspec.json.decode(response.content, type=wire.Consolidated)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, *wire.UNREADABLE) as error:
        reason = str(error) or type(error).__name__
        raise Refusal("PAR-0562", url=post.national_url, reason=reason) from None
    raise _turned_down(post, response)


def _tls_context(post: Post) -> ssl.SSLContext:
    """Return the post's side of mutual TLS 1.3; raises ``Refusal`` PAR-0560 naming the file."""
    file = post.ca
    try:
        context = ssl.create_default_context(cafile=file)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        file = post.certificate
        context.load_cert_chain(file, post.key)
    except OSError as error:
        raise Refusal("PAR-0560", path=file, reason=error) from None
    return context


def _turned_down(post: Post, response: httpx.Response) -> Refusal:
    """Return the server's own refusal, or its status when it gave none."""
    try:
        told: Any = response.json()["refusal"]
        text = f"{told['code']}: {told['es']}"
        return Refusal("PAR-0563", server=post.server_name, text=text, text_en=told["en"])
    except (ValueError, KeyError, TypeError):
        reason = f"HTTP {response.status_code}"
        return Refusal("PAR-0562", url=post.national_url, reason=reason)
