"""``paranal pki``: the ceremony and the daily work of a national certificate authority.

Passphrases come from files only, never from the command line or the environment, where other
processes could read them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paranal.agreement import load, member_view
from paranal.messages import Refusal
from paranal.pki import lab, peers, post, standing
from paranal.pki.authority import CertificateAuthority
from paranal.pki.certificates import REASONS
from paranal.pki.profiles import PROFILES
from paranal.pki.rotation import moment
from paranal.pki.storage import ensure_passphrase, read_passphrase

Answer = dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of ``paranal pki``."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    for word, (work, summary, options) in WORDS.items():
        command = words.add_parser(word, help=summary, description=summary)
        command.set_defaults(work=work)
        for option in options:
            option(command)
        command.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Do one word and print its result; refusals are PAR-04xx."""
    answer: Answer = args.work(args)
    text = json.dumps(answer, ensure_ascii=False, indent=None if args.json else 1)
    sys.stdout.write(answer["pem"] if "pem" in answer and not args.json else f"{text}\n")
    return 0


# --- the words ------------------------------------------------------------------------------------


def _init(args: argparse.Namespace) -> Answer:
    passphrase = ensure_passphrase(args.passphrase_file)
    root = args.root_passphrase_file and ensure_passphrase(args.root_passphrase_file)
    authority = CertificateAuthority.create(
        args.directory,
        args.member,
        args.domain,
        passphrase,
        root_passphrase=root,
        generation=args.generation,
    )
    return {**authority.status(), "published": _publish(authority, args.published)}


def _found(args: argparse.Namespace) -> Answer:
    agreement = load(args.lab / "agreement" / "agreement.yml")
    return {"changed": lab.ensure(args.lab, agreement)}


def _status(args: argparse.Namespace) -> Answer:
    if args.directory is None:
        return standing.of_node(datetime.now(UTC))
    status = CertificateAuthority(args.directory).status()
    return {**status, "alarms": standing.authority_alarms(status)}


def _timer(args: argparse.Namespace) -> Answer:
    from paranal.pki import timer  # the controller's alone: a node has no templates

    return timer.install(args.inventory, args.vault_id, args.directory)


def _show(args: argparse.Namespace) -> Answer:
    return {"issued": CertificateAuthority(args.directory).issued()}


def _issue(args: argparse.Namespace) -> Answer:
    try:
        csr = sys.stdin.buffer.read() if args.csr == "-" else Path(args.csr).read_bytes()
    except OSError as error:
        reason = f"{args.csr}: {error.strerror}"
        raise Refusal("PAR-0404", name=args.name[0], reason=reason) from None
    issued = _opened(args).issue(csr, args.profile, args.name)
    return {"pem": issued.chain_pem.decode(), "serial": f"{issued.certificate.serial_number:x}"}


def _revoke(args: argparse.Namespace) -> Answer:
    authority = _opened(args)
    try:
        serial = int(args.serial.replace(":", ""), 16)
    except ValueError:
        raise Refusal("PAR-0410", serial=args.serial, member=authority.member) from None
    revoked = authority.revoke(serial, args.reason)
    return {"revoked": revoked, "published": _publish(authority, args.published)}


def _crl(args: argparse.Namespace) -> Answer:
    authority = _opened(args)
    return {"signed": authority.crl(), "published": _publish(authority, args.published)}


def _accept(args: argparse.Namespace) -> Answer:
    member = member_view(load(args.agreement), args.member)["member"]
    taken = peers.accept(
        args.source,
        args.published,
        args.member,
        member["domain"],
        member.get("roots", []),
        datetime.now(UTC),
    )
    return {"changed": taken}


def _post(args: argparse.Namespace) -> Answer:
    def through(argv: Sequence[str], given: bytes) -> bytes:
        command = [*args.via, *argv]
        done = subprocess.run(  # noqa: S603 - the operator's own way to the post, no shell
            command, input=given, capture_output=True, check=False
        )
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise Refusal("PAR-0426", post=args.post, reason=reason or done.returncode)
        return done.stdout

    member = member_view(load(args.agreement), CertificateAuthority(args.directory).member)
    before = args.issued_before
    return post.enrol(through, lambda: _opened(args), member["member"], args.post, before)


# --- options --------------------------------------------------------------------------------------


def _opened(args: argparse.Namespace) -> CertificateAuthority:
    """Return the authority, able to sign."""
    root = args.root_passphrase_file and read_passphrase(args.root_passphrase_file)
    passphrase = read_passphrase(args.passphrase_file)
    return CertificateAuthority(args.directory, passphrase, root_passphrase=root)


def _publish(authority: CertificateAuthority, target: Path | None) -> list[str]:
    return authority.publish(target) if target else []


def _prefix(text: str) -> list[str]:
    """Return the words of a command prefix; none would run on this very machine."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}': {error}") from None
    if not words:
        raise argparse.ArgumentTypeError("a command that reaches the post, not an empty one")
    return words


def _option(*flags: str, **settings: Any) -> Callable[[argparse.ArgumentParser], object]:  # noqa: ANN401 - argparse's own
    return lambda parser: parser.add_argument(*flags, **settings)


DIRECTORY = _option("--directory", type=Path, required=True, help="the authority's directory")
SECRET = _option("--passphrase-file", type=Path, required=True, help="file with its passphrase")
ROOT_SECRET = _option("--root-passphrase-file", type=Path, help="the root's own, if it has one")
PUBLISHED = _option("--published", type=Path, help="where members publish (beside the agreement)")
AGREEMENT = _option("--agreement", type=Path, required=True, help="the agreement")
SIGNING = (DIRECTORY, SECRET, ROOT_SECRET)

Word = tuple[
    Callable[[argparse.Namespace], Answer],
    str,
    Sequence[Callable[[argparse.ArgumentParser], object]],
]
WORDS: dict[str, Word] = {
    "init": (
        _init,
        "create this country's authority; passphrases are made where their files are absent",
        (
            *SIGNING,
            PUBLISHED,
            _option("--member", required=True, help="two-letter code, lower case"),
            _option("--domain", required=True, help="the country's domain: all it may certify"),
            _option(
                "--generation",
                type=int,
                default=1,
                help="one more where it replaces another (default 1): its names say which it is",
            ),
        ),
    ),
    "found": (
        _found,
        "create and publish the authority of every member of a lab",
        (_option("lab", type=Path, help="the lab's directory, .lab/NAME"),),
    ),
    "status": (
        _status,
        "dates, life left, alarms and what is due; on a node (no --directory) also each rotation",
        (_option("--directory", type=Path, help="the authority's directory; without: this node"),),
    ),
    "timer": (
        _timer,
        "write the systemd units that renew daily, on the controller, what is due",
        (
            _option("--inventory", type=Path, required=True, help="the country's inventory"),
            _option("--vault-id", default="", help="as ansible-playbook takes it: pe@FILE"),
            _option("--directory", type=Path, help="where; default ~/.config/systemd/user"),
        ),
    ),
    "show": (_show, "every leaf that was issued, and whether it was revoked", (DIRECTORY,)),
    "issue": (
        _issue,
        "certify the key of a signing request; prints leaf and issuing CA",
        (
            *SIGNING,
            _option("--profile", required=True, choices=PROFILES, help="what the leaf is for"),
            _option("--name", action="append", required=True, help="DNS name (again for more)"),
            _option("csr", help="file with the request (PEM); '-' reads standard input"),
        ),
    ),
    "revoke": (
        _revoke,
        "withdraw a certificate and sign the list that says so",
        (
            *SIGNING,
            PUBLISHED,
            _option("--reason", required=True, choices=REASONS, help="why"),
            _option("serial", help="serial in hex, as 'show' prints it"),
        ),
    ),
    "crl": (_crl, "sign and publish the revocation lists that are due", (*SIGNING, PUBLISHED)),
    "accept": (
        _accept,
        "check what a peer sent (ca/, crl/) and take it into what is published",
        (
            AGREEMENT,
            _option("--published", type=Path, required=True, help="where members publish"),
            _option("--member", required=True, help="whose it is"),
            _option("source", type=Path, help="directory with ca/ and crl/ as received"),
        ),
    ),
    "post": (
        _post,
        "give a border post its key, certificate and settings",
        (
            *SIGNING,
            AGREEMENT,
            _option("--post", default="post-1", help="the post's name (default post-1)"),
            _option("--issued-before", type=moment, help="renew a leaf older than this (or 'now')"),
            _option("--via", type=_prefix, required=True, help="command prefix that runs on it"),
        ),
    ),
}
"""Word -> (work, one-line help, options)."""
