"""What the tests of countries apart stand on: nodes without SSH, posts, and the scan."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from paranal import package
from paranal.agreement import member_view
from paranal.lab import countries, equip, names
from paranal.lab.controllers import Controller
from paranal.lab.lab import Lab
from paranal.pki import post
from paranal.pki.authority import Issued

LONG = 40
"""Characters of a line that is enough to know a key again by."""
EVERYWHERE = ("--exclude-dir=proc", "--exclude-dir=sys", "/")
# Debian's example key is made with the image, so it is the same everywhere; no role uses it.
KEYS = (
    "grep -rlsI -D skip --exclude=ssl-cert-snakeoil.key -e 'PRIVATE KEY-----'"
    " /etc /home /root /run /srv /tmp /var"
)


class InsideBackend(BaseBackend):  # type: ignore[misc] # testinfra ships no types
    """testinfra through the engine: nobody but a country's own user can log in to its node."""

    NAME = "inside"

    def __init__(self, lab: Lab, member: str) -> None:
        super().__init__(member)
        self._lab, self._member = lab, member

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:  # noqa: ANN401
        words = self.get_command(command, *args)
        done = self._lab.exec(self._member, "/bin/sh", "-c", words, check=False)
        return self.result(done.returncode, self.encode(words), done.stdout, done.stderr)


def inside(lab: Lab, member: str) -> Host:
    """Return the testinfra host of a node, as root."""
    return Host(InsideBackend(lab, member))


class Desk:
    """A country's authority as a post meets it: every signature is made by the country's user."""

    def __init__(self, one: Controller, authority: str) -> None:
        self._one, self.directory = one, one.half / "ca" / authority
        self.root, self.issuing = (
            x509.load_pem_x509_certificate((self.directory / kind / "certificate.pem").read_bytes())
            for kind in ("root", "issuing")
        )

    def issued(self) -> list[dict[str, Any]]:
        return []

    def issue(self, request: bytes, profile: str, wanted: Sequence[str]) -> Issued:
        words = ["issue", "-", "--profile", profile, "--name", *wanted]
        answer = countries.opened(self._one, self.directory, *words, given=request)
        pem = answer["pem"].encode()
        leaf, issuing = x509.load_pem_x509_certificates(pem)
        return Issued(leaf, issuing, profile)


def enrol(lab: Lab, one: Controller, authority: str | None = None) -> None:
    """Give a country's post its key and certificate, by the country's own authority."""
    desk = Desk(one, authority or one.member)
    part = names.border(one.member)
    equip.install(lab, part, package.build())

    def through(argv: Sequence[str], given: bytes) -> bytes:
        return lab.exec(part, *argv, given=given).stdout

    member = member_view(lab.agreement(), one.member)["member"]
    post.enrol(through, lambda: desk, member, equip.POST)  # type: ignore[arg-type,return-value] # as the post meets it


def as_user(one: Controller, script: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell script as a country's user."""
    return one.run("sh", "-c", script, "sh", *words, check=False)


def secrets(lab: Lab, one: Controller) -> set[str]:
    """Return what a country must not give away: passwords, passphrases, and lines of its keys."""
    half = one.half
    phrases = [half / kind / f"{one.member}.passphrase" for kind in ("ca", "ppk")]
    view = [one.ansible("vault", "view", *countries.vault(one), str(each)) for each in phrases]
    texts = [done.stdout.decode() for done in view]
    texts.append((one.home / "vault.pass").read_text(encoding="ascii"))
    found = {line for text in texts for line in text.split()}
    for folder in (half / "ca", half / "signer"):
        found |= {line for file in folder.rglob("*") for line in key_lines(file)}
    for part in (one.member, names.border(one.member)):
        files = lab.exec(part, "sh", "-c", KEYS, check=False).stdout.decode().split()
        for file in files:
            text = lab.exec(part, "cat", file).stdout.decode()
            found |= _lines(text)
    return found


def key_lines(file: Path) -> set[str]:
    """Return the lines of the private keys in a file by which they are known again."""
    return _lines(file.read_text(encoding="utf-8")) if file.is_file() else set()


def _lines(text: str) -> set[str]:
    """Return the long lines of every private key in a text but its first, which is a format's."""
    found: set[str] = set()
    inside, number = False, 0
    for line in text.splitlines():
        if "PRIVATE KEY-----" in line:
            inside, number = line.startswith("-----BEGIN"), 0
        elif inside:
            number += 1
            if number > 1 and len(line) >= LONG:
                found.add(line)
    return found


def on_part(lab: Lab, part: str, needles: set[str]) -> list[str]:
    """Return the files of a node, a post or ``wan`` that hold one of some texts."""
    words = ["env", "LC_ALL=C", "grep", "-rlFs", "-D", "skip", "-f", "-", *EVERYWHERE]
    done = lab.exec(part, *words, given="\n".join(sorted(needles)).encode(), check=False)
    return done.stdout.decode().splitlines()


def on_host(folder: Path, needles: set[str]) -> list[str]:
    """Return the files below a folder of this machine that hold one of some texts."""
    words = ["grep", "-rlFs", "-D", "skip", "-f", "-", str(folder)]
    given = "\n".join(sorted(needles))
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.splitlines()


def history(node: Host) -> str:
    """Return what was applied to a node, and when."""
    text: str = node.file("/var/lib/paranal/node/history.jsonl").content_string
    return text


def ask(lab: Lab, asker: str, to: Sequence[str], mrz: Sequence[str], officer: str) -> Any:  # noqa: ANN401
    """Ask from a post as one officer; return the consolidated answer."""
    words = ["paranal", "query", "--from", asker, "--to", ",".join(to), "--json"]
    words += ["--officer", officer, "--mrz", *mrz]
    done = lab.exec(names.border(asker), *words, check=False)
    assert done.stdout, done.stderr.decode(errors="replace")
    return json.loads(done.stdout)
