"""``paranal pki`` from the command line: a ceremony, a day's work, a lab, a post."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.agreement import load
from paranal.agreement.connections import anchor_digest
from paranal.cli import main
from paranal.messages import Refusal
from paranal.pki import lab, post
from paranal.pki.authority import CertificateAuthority
from paranal.pki.certificates import fingerprint
from paranal.pki.storage import read_passphrase

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock, MakeRequest

DOMAIN = "pe.paranal.example"
AGREEMENT = Path(__file__).parents[3] / "agreement" / "pacific-alliance.yml"
NAME = f"gw.{DOMAIN}"


class Office:
    """An operator's desk: the authority's directory, its passphrase file, what is published."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = folder / "ca" / "pe"
        self.passphrase = folder / "ca" / "pe.passphrase"
        self.published = folder / "published"
        self.capsys = capsys

    def do(self, word: str, *words: object, status: int = 0) -> Any:  # noqa: ANN401 - JSON
        """Run one word with --json and return what it printed."""
        argv = ["pki", word, *(str(item) for item in words), "--json"]
        assert main(argv) == status
        return json.loads(self.capsys.readouterr().out)

    @property
    def signing(self) -> tuple[object, ...]:
        return ("--directory", self.directory, "--passphrase-file", self.passphrase)

    def init(self) -> Any:  # noqa: ANN401 - JSON
        who = ("--member", "pe", "--domain", DOMAIN, "--published", self.published)
        return self.do("init", *self.signing, *who)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(tmp_path, capsys)


def test_a_ceremony_and_a_days_work(office: Office, csr: MakeRequest, tmp_path: Path) -> None:
    made = office.init()
    assert len(made["published"]) == 4
    assert stat.S_IMODE(office.passphrase.stat().st_mode) == 0o600
    (tmp_path / "gw.csr").write_bytes(csr([NAME]))
    options = ("--profile", "ike", "--name", NAME)
    issued = office.do("issue", *office.signing, *options, tmp_path / "gw.csr")
    leaf = x509.load_pem_x509_certificate(issued["pem"].encode())
    assert f"{leaf.serial_number:x}" == issued["serial"]
    assert office.do("show", "--directory", office.directory)["issued"][0]["revoked"] is None
    assert office.do("crl", *office.signing)["signed"] == []
    reason = ("--reason", "key-compromise", "--published", office.published)
    colons = ":".join(f"{leaf.serial_number:040X}"[i : i + 2] for i in range(0, 40, 2))
    revoked = office.do("revoke", *office.signing, *reason, colons)
    assert revoked == {"revoked": True, "published": ["crl/pe-issuing.crl"]}
    status = office.do("status", "--directory", office.directory)
    assert status["leaves"] == {"issued": 1, "revoked": 1}


def test_the_plain_answer_of_issue_is_the_chain(
    office: Office, csr: MakeRequest, tmp_path: Path
) -> None:
    office.init()
    (tmp_path / "gw.csr").write_bytes(csr([NAME]))
    words = [*office.signing, "--profile", "ike", "--name", NAME, tmp_path / "gw.csr"]
    assert main(["pki", "issue", *(str(word) for word in words)]) == 0
    assert office.capsys.readouterr().out.count("BEGIN CERTIFICATE") == 2


def test_root_and_issuing_may_be_kept_under_two_passphrases(office: Office, tmp_path: Path) -> None:
    root = ("--root-passphrase-file", tmp_path / "root.passphrase")
    office.do("init", *office.signing, *root, "--member", "pe", "--domain", DOMAIN)
    assert read_passphrase(tmp_path / "root.passphrase") != read_passphrase(office.passphrase)
    serial = office.do("status", "--directory", office.directory)["issuing"]["serial"]
    said = office.do("revoke", *office.signing, "--reason", "superseded", serial, status=3)
    assert said["refusal"]["code"] == "PAR-0403"
    assert office.do("revoke", *office.signing, *root, "--reason", "superseded", serial)["revoked"]


@pytest.mark.parametrize("serial", ["12ab", "not hex"])
def test_a_refusal_has_its_code_and_both_languages(office: Office, serial: str) -> None:
    office.init()
    said = office.do("revoke", *office.signing, "--reason", "superseded", serial, status=3)
    assert said["refusal"]["code"] == "PAR-0410"
    assert said["refusal"]["es"] != said["refusal"]["en"]


def test_a_request_that_is_not_there_is_refused(office: Office, tmp_path: Path) -> None:
    office.init()
    words = ("--profile", "ike", "--name", NAME, tmp_path / "absent.csr")
    said = office.do("issue", *office.signing, *words, status=3)["refusal"]
    assert said["code"] == "PAR-0404"
    assert "absent.csr" in said["es"]


def test_a_second_ceremony_is_refused(office: Office) -> None:
    office.init()
    said = office.do("init", *office.signing, "--member", "pe", "--domain", DOMAIN, status=3)
    assert said["refusal"]["code"] == "PAR-0416"


def test_what_a_peer_sent_is_checked_and_taken_in(office: Office, tmp_path: Path) -> None:
    office.init()
    agreement = tmp_path / "agreed.yml"
    document = yaml.safe_load(AGREEMENT.read_text(encoding="utf-8"))
    published = ("--published", tmp_path / "ours")
    words = ("--agreement", AGREEMENT, "--member", "pe", *published)
    said = office.do("accept", *words, office.published, status=3)
    assert said["refusal"]["code"] == "PAR-0436", "the agreement names no root"
    root = (office.published / "ca" / "pe-root.pem").read_bytes()
    document["members"]["pe"]["roots"] = [anchor_digest(root)]
    agreement.write_text(yaml.safe_dump(document), encoding="utf-8")
    words = ("--agreement", agreement, "--member", "pe", *published)
    assert len(office.do("accept", *words, office.published)["changed"]) == 4
    assert office.do("accept", *words, office.published)["changed"] == []
    wrong = ("--agreement", agreement, "--member", "co", *published)
    for name in ("ca", "crl"):
        for path in (office.published / name).iterdir():
            shutil.copy(path, path.with_name(path.name.replace("pe-", "co-")))
    said = office.do("accept", *wrong, office.published, status=3)
    assert said["refusal"]["code"] == "PAR-0419"


# --- a lab ----------------------------------------------------------------------------------------


def test_a_lab_gets_every_members_authority_once(tmp_path: Path) -> None:
    agreement = load(AGREEMENT)
    changed = lab.ensure(tmp_path, agreement)
    assert [item for item in changed if item.startswith("ca/")] == [
        "ca/cl",
        "ca/co",
        "ca/mx",
        "ca/pe",
    ]
    assert len(list((tmp_path / "agreement").rglob("*.*"))) == 16
    assert lab.ensure(tmp_path, agreement) == []


def test_a_lab_with_an_authority_of_another_domain_is_refused(tmp_path: Path) -> None:
    lab.ensure(tmp_path, load(AGREEMENT))
    shutil.rmtree(tmp_path / "ca" / "pe")
    passphrase = read_passphrase(tmp_path / "ca" / "pe.passphrase")
    CertificateAuthority.create(tmp_path / "ca" / "pe", "pe", "pe.other.example", passphrase)
    with pytest.raises(Refusal, match="PAR-0401"):
        lab.ensure(tmp_path, load(AGREEMENT))


# --- a post ---------------------------------------------------------------------------------------

MEMBER = {"code": "pe", "domain": DOMAIN, "addresses": {"national": "10.51.0.1"}}


class Post:
    """A post's file tree, and the three words that ``python3 -m paranal.pki.post`` knows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.words: list[str] = []
        self.crossed: list[bytes] = []

    def __call__(self, argv: Sequence[str], given: bytes) -> bytes:
        assert argv[:3] == ["python3", "-m", "paranal.pki.post"]
        self.words.append(argv[3])
        answer = b""
        if argv[3] == "held":
            answer = post.held(self.root)
        elif argv[3] == "request":
            answer = post.request(given.decode(), self.root)
        else:
            post.install(json.loads(given), self.root)
        self.crossed += [given, answer]
        return answer

    @property
    def credentials(self) -> Path:
        return self.root / "etc/paranal/tls/post.pem"


@pytest.fixture
def border(tmp_path: Path) -> Post:
    return Post(tmp_path / "post")


def test_a_post_is_enrolled_and_its_key_stays_there(
    border: Post, authority: CertificateAuthority
) -> None:
    said = post.enrol(border, lambda: authority, MEMBER, "post-1")
    assert said["post"] == f"post-1.{DOMAIN}"
    assert stat.S_IMODE(border.credentials.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" not in b"".join(border.crossed)
    settings = json.loads((border.root / "etc/paranal/post.json").read_text())
    assert settings["national_url"] == "https://10.51.0.1:7440"
    assert settings["server_name"] == f"n.{DOMAIN}"
    leaf = x509.load_pem_x509_certificate(border.credentials.read_bytes())
    assert f"{leaf.serial_number:x}" == said["issued"]
    assert not border.credentials.with_suffix(".key").exists()


@pytest.mark.req("B5")
def test_a_post_trusts_every_root_that_the_agreement_names(
    border: Post, authority: CertificateAuthority
) -> None:
    second = authority.directory.with_name("pe-g2")
    made = CertificateAuthority.create(
        second, "pe", DOMAIN, b"another passphrase of it", generation=2
    )
    roots = {
        one.root.public_bytes(Encoding.PEM): fingerprint(one.root) for one in (authority, made)
    }
    for agreed in (list(roots)[:1], list(roots), list(roots)[1:]):
        member = {**MEMBER, "roots": [roots[pem] for pem in agreed]}
        post.enrol(border, lambda: authority, member, "post-1")
        assert (border.root / "etc/paranal/tls/ca.pem").read_bytes() == b"".join(agreed)


def test_a_post_with_good_credentials_is_left_alone(
    border: Post, authority: CertificateAuthority, clock: Clock
) -> None:
    clock.now = datetime.now(UTC)  # a post judges by the real time
    post.enrol(border, lambda: authority, MEMBER, "post-1")
    before = border.credentials.read_bytes()
    border.words.clear()
    assert post.enrol(border, lambda: authority, MEMBER, "post-1")["issued"] is None
    assert border.words == ["held", "install"]
    assert border.credentials.read_bytes() == before


@pytest.mark.parametrize("shown", [b"", b"Welcome\n", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_post_that_shows_no_leaf_gets_a_new_one(
    border: Post, authority: CertificateAuthority, shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = post.enrol(border, lambda: authority, MEMBER, "post-1")["issued"]
    monkeypatch.setattr(post, "held", lambda _: shown)
    assert post.enrol(border, lambda: authority, MEMBER, "post-1")["issued"] not in (None, first)


@pytest.mark.parametrize("spoil", ["revoke", "tear", "rename", "mismatch"])
def test_a_post_with_spoilt_credentials_gets_new_ones(
    border: Post, authority: CertificateAuthority, spoil: str
) -> None:
    first = post.enrol(border, lambda: authority, MEMBER, "post-1")["issued"]
    name = "post-1"
    if spoil == "revoke":
        authority.revoke(int(first, 16), "key-compromise")
    elif spoil == "tear":
        border.credentials.write_bytes(border.credentials.read_bytes()[:500])
    elif spoil == "rename":
        name = "post-2"
    else:
        post.request(f"post-1.{DOMAIN}", border.root)
        other = border.credentials.with_suffix(".key").read_bytes()
        leaf = border.credentials.read_bytes().partition(b"-----BEGIN CERT")
        border.credentials.write_bytes(other + leaf[1] + leaf[2])
    second = post.enrol(border, lambda: authority, MEMBER, name)["issued"]
    assert second not in (None, first)


def test_a_post_refuses_a_certificate_of_another_key(
    border: Post, authority: CertificateAuthority
) -> None:
    name = f"post-1.{DOMAIN}"
    issued = authority.issue(post.request(name, border.root), "post", [name])
    post.request(name, border.root)
    given = {"settings": "{}", "ca": "", "chain": issued.chain_pem.decode()}
    with pytest.raises(Refusal, match="PAR-0422"):
        post.install(given, border.root)
    assert not border.credentials.exists()


def test_a_post_that_cannot_be_reached_says_so(office: Office) -> None:
    office.init()
    words = (*office.signing, "--agreement", AGREEMENT, "--via", "false")
    assert office.do("post", *words, status=3)["refusal"]["code"] == "PAR-0426"
    words = (*office.signing, "--agreement", AGREEMENT, "--via", "/nonexistent")
    assert office.do("post", *words, status=3)["refusal"]["code"] == "PAR-0426"


@pytest.mark.parametrize("via", ["ssh 'post-1", " "])
def test_a_way_to_a_post_that_is_none_is_a_usage_error(office: Office, via: str) -> None:
    words = (*office.signing, "--agreement", AGREEMENT, "--via", via)
    with pytest.raises(SystemExit) as ended:
        main(["pki", "post", *(str(word) for word in words)])
    assert ended.value.code == 2


def test_the_posts_own_command_knows_three_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "paranal.pki.post"]
    done = subprocess.run([*command, "give"], input=b"", capture_output=True, check=False)  # noqa: S603 - ours
    assert (done.returncode, done.stderr) == (2, b"held | request | install\n")
