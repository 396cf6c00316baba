"""node_certificates on a throw-away root: keys stay, pairs fit after a crash at any point.

The action plugin and the node's half are the real ones; only the connection between them is
replaced by a call, so that what crosses it can be looked at.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import ssl
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority, key_digest
from paranal.pki.certificates import fingerprint
from paranal.pki.storage import write_atomic
from paranal.signing.envelope import read_signer
from plugins.action.node_certificates import ActionModule, declared_leaf, installable
from plugins.module_utils.paranal_leaves import probe_certificates
from plugins.module_utils.paranal_node import Node, Outcome, Refused, collect_changes
from plugins.module_utils.paranal_proof import Proof, prove, signed_by
from plugins.module_utils.paranal_x509 import Installation, make_requests, next_key
from plugins.modules.node_certificates import perform

ME = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
DOMAIN = "pe.paranal.example"
PASSPHRASE = b"a passphrase of the test, long enough"
IKE: dict[str, Any] = {
    "name": "ike",
    "profile": "ike",
    "names": [f"gw.{DOMAIN}"],
    "key": "/etc/swanctl/private/ike.key",
    "certificate": "/etc/swanctl/x509/ike.pem",
}
TLS: dict[str, Any] = {
    "name": "operational",
    "profile": "tls",
    "names": [f"q.{DOMAIN}", f"co.q.{DOMAIN}"],
    "key": "/etc/haproxy/paranal/operational.pem",
    "reload": ["haproxy.service"],
}
SIGNER: dict[str, Any] = {
    "name": "asker-signer",
    "profile": "signing",
    "names": [f"signer.{DOMAIN}"],
    "key": "/etc/paranal/signing/asker.pem",
    "proof": {"by": "signature", "account": "paranal-national"},
}
Declared = dict[str, Any]


class Killed(BaseException):
    """The module was killed here."""


class Country:
    """A country's controller and its one node, below a temporary directory."""

    def __init__(self, folder: Path, founded: Path) -> None:
        self.node = Node(folder / "node")
        (folder / "node" / "etc").mkdir(parents=True)
        self.node.prepare()
        self.ca = folder / "ca" / "pe"
        self.passphrase = folder / "ca" / "pe.passphrase"
        self.published = folder / "published"
        shutil.copytree(founded, self.ca)
        write_atomic(self.passphrase, PASSPHRASE)
        self.authority.publish(self.published)
        self.crossed: list[str] = []
        self.view: dict[str, Any] = {}
        self.trusted_by: dict[str, str] = {}
        """Peer -> the root that it says it trusts; one that is not here does not answer."""
        self.asked: list[str] = []

    @property
    def authority(self) -> CertificateAuthority:
        return CertificateAuthority(self.ca, PASSPHRASE)

    def converge(self, *leaves: Declared, check: bool = False, **options: object) -> dict[str, Any]:
        """Run the task; ``crossed`` gains what went over the connection."""
        mine = [{"owner": ME, "group": GROUP, **leaf} for leaf in leaves]
        arguments = {
            "leaves": mine,
            "authority": str(self.ca),
            "passphrase_file": str(self.passphrase),
            "published": str(self.published),
            **options,
        }
        action: Any = object.__new__(ActionModule)
        action._loader = DataLoader()  # type: ignore[no-untyped-call]
        action._task = SimpleNamespace(args=arguments, check_mode=check)
        action._execute_module = self._module
        action._low_level_execute_command = self._node
        session: dict[str, Any] = {"session": {"id": "s"}, "probe": {"certificates": self.probe()}}
        session["view"] = self.view
        result: dict[str, Any] = action._converge({"node_session": session})
        return result

    def _module(self, name: str, module_args: Declared, task_vars: object) -> dict[str, Any]:
        assert name == "node_certificates"
        try:
            answer = perform(self.node, module_args)
        except Refused as refused:
            answer = {"failed": True, **refused.as_result()}
        self.crossed.append(json.dumps([module_args, answer]))
        return answer

    def _node(self, command: str) -> dict[str, Any]:
        self.asked.append(command)
        pairs: dict[str, Any] = {"mx-pe": {"theirs": None}}
        for code, root in self.trusted_by.items():
            pairs[f"{code}-pe"] = {"theirs": {"member": code, "trusts": [root]}}
        return {"rc": 2, "stdout": json.dumps({"pairs": pairs}) if pairs else "", "stderr": ""}

    def probe(self) -> dict[str, Any]:
        return probe_certificates(self.node)

    def path(self, leaf: Declared, which: str = "key") -> Path:
        return self.node.real(leaf.get(which) or leaf["key"])


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create one authority, for every test to copy."""
    folder = tmp_path_factory.mktemp("founded") / "pe"
    CertificateAuthority.create(folder, "pe", DOMAIN, PASSPHRASE)
    return folder


@pytest.fixture
def pe(tmp_path: Path, founded: Path) -> Country:
    return Country(tmp_path, founded)


@pytest.fixture(autouse=True)
def no_root_no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that stands alone belongs to root, and these tests are not root.

    Their files need no power cut survived either: each sync on a busy disk costs milliseconds.
    """
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr("paranal.pki.renewal.PUBLIC", ("0644", ME, GROUP))


def pair_fits(node: Node, leaf: Declared) -> bool:
    """Say what a daemon that starts now would: is there a key for the certificate there?"""
    certificate = node.real(leaf.get("certificate") or leaf["key"])
    if not certificate.exists():
        return True  # a first install that has not come to it yet
    held = x509.load_pem_x509_certificate(certificate.read_bytes())
    places = node.real(leaf["key"]).parent.glob("*.key") if "certificate" in leaf else [certificate]
    keys = [load_pem_private_key(place.read_bytes(), None) for place in places]
    return key_digest(held.public_key()) in [key_digest(key.public_key()) for key in keys]


def issued_names(result: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in result["issued"]]


# --- the plain road -------------------------------------------------------------------------------


@pytest.mark.req("R6")
@pytest.mark.req("D3")
def test_the_first_run_gives_keys_and_certificates_in_two_module_runs(pe: Country) -> None:
    result = pe.converge(IKE, TLS)
    assert (result["changed"], issued_names(result)) == (True, ["ike", "operational"])
    assert len(pe.crossed) == 2
    for leaf in (IKE, TLS):
        assert pair_fits(pe.node, leaf)
        assert stat.S_IMODE(pe.path(leaf).stat().st_mode) == 0o600
    assert stat.S_IMODE(pe.path(IKE, "certificate").stat().st_mode) == 0o644
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pe.path(TLS))
    chain = x509.load_pem_x509_certificates(pe.path(TLS).read_bytes())
    assert chain[1] == pe.authority.issuing
    assert sorted(collect_changes(pe.node)["pki"]) == sorted(
        [IKE["key"], IKE["certificate"], TLS["key"]]
    )


def test_no_key_crosses_the_connection_or_shows_in_a_diff(pe: Country) -> None:
    result = pe.converge(IKE, TLS)
    for text in (*pe.crossed, json.dumps(result)):
        assert "PRIVATE KEY" not in text
        for leaf in (IKE, TLS):
            assert pe.path(leaf).read_text().splitlines()[1] not in text
    assert f"name: gw.{DOMAIN}" in result["diff"][0]["after"]
    assert result["issued"][0]["serial"] in result["diff"][0]["after"]


def test_a_signer_gets_a_key_of_its_profiles_first_kind_and_signs(pe: Country) -> None:
    pe.converge(TLS, SIGNER)
    assert read_signer(pe.path(SIGNER)).algorithm == "EdDSA"
    assert read_signer(pe.path(TLS)).algorithm == "ES384"
    assert stat.S_IMODE(pe.path(SIGNER).stat().st_mode) == 0o600
    assert pe.converge(TLS, SIGNER)["changed"] is False


def test_an_unchanged_node_runs_no_module(pe: Country) -> None:
    pe.converge(IKE, TLS)
    pe.crossed.clear()
    result = pe.converge(IKE, TLS)
    assert (result["changed"], pe.crossed, result["diff"]) == (False, [], [])


def test_check_mode_tells_all_of_a_node_never_touched_and_changes_nothing(pe: Country) -> None:
    result = pe.converge(IKE, TLS, check=True)
    assert (result["changed"], issued_names(result)) == (True, ["ike", "operational"])
    assert result["diff"][0]["before"] == ""
    assert pe.crossed == []
    assert pe.authority.issued() == []
    assert list(pe.node.real("/etc").iterdir()) == []


# --- why a leaf is issued -------------------------------------------------------------------------


def alter(pe: Country) -> None:
    with pe.path(IKE, "certificate").open("a") as stream:
        stream.write("\n")


def lose(pe: Country) -> None:
    pe.path(IKE).unlink()


def revoke(pe: Country) -> None:
    serial = int(pe.probe()["leaves"]["ike"]["serial"], 16)
    pe.authority.revoke(serial, "key-compromise")


def age(pe: Country) -> None:
    memory = pe.node.state / "leaves.json"
    known = json.loads(memory.read_text())
    start = datetime.now(UTC) - timedelta(days=61)
    dates = {"not_before": start.isoformat(), "not_after": (start + timedelta(90)).isoformat()}
    known["leaves"]["ike"].update(dates)
    memory.write_text(json.dumps(known))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(alter, "alteró"), (lose, "no lo tiene"), (revoke, "revocado"), (age, "vencer")],
)
def test_what_is_wrong_with_one_leaf_renews_that_leaf_alone(
    pe: Country, spoil: Callable[[Country], None], reason: str
) -> None:
    pe.converge(IKE, TLS)
    other = pe.path(TLS).read_bytes()
    spoil(pe)
    result = pe.converge(IKE, TLS)
    assert issued_names(result) == ["ike"]
    assert reason in result["issued"][0]["reason"]
    assert pe.path(TLS).read_bytes() == other
    assert pair_fits(pe.node, IKE)
    assert pe.converge(IKE, TLS)["changed"] is False


def test_a_leaf_in_the_last_day_of_its_two_thirds_stays(pe: Country) -> None:
    pe.converge(IKE)
    age(pe)
    assert pe.converge(IKE, renew_at_fraction=0.3)["changed"] is False


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"names": [f"gw2.{DOMAIN}"]}, "nombres"),
        ({"profile": "tls"}, "perfil"),
        ({"chain": True}, "lugar o de forma"),
        ({"key": "/etc/swanctl/private/gw.key"}, "lugar o de forma"),
    ],
)
def test_another_declaration_renews_the_leaf(pe: Country, change: Declared, reason: str) -> None:
    pe.converge(IKE)
    changed = {**IKE, **change}
    result = pe.converge(changed)
    assert reason in result["issued"][0]["reason"]
    assert pair_fits(pe.node, changed)
    assert [path.name for path in pe.path(changed).parent.iterdir()] == [Path(changed["key"]).name]
    assert pe.converge(changed)["changed"] is False


def test_another_authority_renews_every_leaf(pe: Country, tmp_path: Path) -> None:
    pe.converge(IKE, TLS)
    pe.ca = tmp_path / "ca" / "second"
    CertificateAuthority.create(pe.ca, "pe", DOMAIN, PASSPHRASE)
    assert issued_names(pe.converge(IKE, TLS)) == ["ike", "operational"]


@pytest.fixture
def relieved(pe: Country) -> CertificateAuthority:
    """Peru's second authority beside its first; its node has leaves of the first."""
    pe.converge(IKE, TLS)
    second, secret = pe.ca.with_name("pe-g2"), pe.ca.with_name("pe-g2.passphrase")
    write_atomic(secret, b"another passphrase than the first")
    made = CertificateAuthority.create(second, "pe", DOMAIN, secret.read_bytes(), generation=2)
    both = [fingerprint(pe.authority.root), fingerprint(made.root)]
    channels = {"cl": ["operational"], "co": ["strategic"], "mx": []}
    peers = [{"code": code, "pair": {"channels": each}} for code, each in channels.items()]
    pe.view = {"member": {"roots": both}, "peers": peers}
    return made


@pytest.mark.req("B5")
def test_a_second_authority_is_published_and_issues_once_every_peer_trusts_it(
    pe: Country, relieved: CertificateAuthority
) -> None:
    result = pe.converge(IKE, TLS)
    assert issued_names(result) == []
    assert len(result["published"]) == 4
    assert all("pe-g2-" in path for path in result["published"])
    assert pe.converge(IKE, TLS)["changed"] is False
    assert pe.asked == [], "a run that was not asked to issue from the newest asks nobody"
    before = pe.path(IKE, "certificate").read_bytes()
    elder, newest = (fingerprint(one.root) for one in (pe.authority, relieved))
    for trusted_by, refused in (
        ({}, r"PAR-0478.*confían en ella cl, co,"),
        ({"cl": newest}, r"PAR-0478.*confían en ella co,"),
        ({"cl": newest, "co": elder}, r"PAR-0450.*confíen en ella co;"),
    ):
        pe.trusted_by = trusted_by
        with pytest.raises(Refusal, match=refused):
            pe.converge(IKE, TLS, issue_next="true")
    assert pe.path(IKE, "certificate").read_bytes() == before
    pe.trusted_by = {"cl": newest, "co": newest}
    assert issued_names(pe.converge(IKE, TLS, issue_next=True)) == ["ike", "operational"]
    leaf = x509.load_pem_x509_certificate(pe.path(IKE, "certificate").read_bytes())
    leaf.verify_directly_issued_by(relieved.issuing)
    assert pe.converge(IKE, TLS)["changed"] is False, "no run goes back to the first"


@pytest.mark.req("B5")
def test_the_lists_of_both_are_kept_fresh_and_a_leaf_of_either_can_be_revoked(
    pe: Country, relieved: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paranal.pki.authority.ISSUING_CRL_LIFE", timedelta(days=30))
    assert pe.converge(IKE, TLS)["lists"] == ["issuing"]
    for stem in ("pe", "pe-g2"):
        directory = pe.ca.with_name(stem)
        published = (pe.published / f"crl/{stem}-issuing.crl").read_bytes()
        assert published == (directory / "issuing" / "crl.pem").read_bytes()
    held = pe.probe()["leaves"]["ike"]["serial"]
    pe.authority.revoke(int(held, 16), "key-compromise")
    assert issued_names(pe.converge(IKE, TLS)) == ["ike"]
    assert relieved.issued() == []


def test_a_wrong_mode_is_put_right_without_a_new_leaf(pe: Country) -> None:
    pe.converge(IKE, TLS)
    before = pe.path(IKE).read_bytes()
    pe.path(IKE).chmod(0o644)
    result = pe.converge(IKE, TLS)
    assert (result["repaired"], result["issued"], result["changed"]) == (["ike"], [], True)
    assert stat.S_IMODE(pe.path(IKE).stat().st_mode) == 0o600
    assert pe.path(IKE).read_bytes() == before


def test_a_leaf_no_longer_declared_is_removed(pe: Country) -> None:
    pe.converge(IKE, TLS)
    result = pe.converge(IKE)
    assert (result["removed"], result["changed"]) == (["operational"], True)
    assert not pe.path(TLS).exists()
    assert pair_fits(pe.node, IKE)
    assert pe.converge(IKE)["changed"] is False


def test_due_lists_are_signed_and_published_by_the_same_run(
    pe: Country, monkeypatch: pytest.MonkeyPatch
) -> None:
    pe.converge(IKE)
    before = (pe.ca / "issuing" / "crl.pem").read_bytes()
    monkeypatch.setattr("paranal.pki.authority.ISSUING_CRL_LIFE", timedelta(days=30))
    would = pe.converge(IKE, check=True)
    assert (would["changed"], would["lists"]) == (True, ["issuing"])
    assert (pe.ca / "issuing" / "crl.pem").read_bytes() == before
    did = pe.converge(IKE)
    assert (did["lists"], did["published"]) == (["issuing"], ["crl/pe-issuing.crl"])
    assert pe.converge(IKE)["changed"] is False


# --- refusals -------------------------------------------------------------------------------------


def test_a_bad_declaration_is_refused_before_the_node_makes_a_key(pe: Country) -> None:
    for change, code in (
        ({"names": ["gw.co.paranal.example"]}, "PAR-0407"),
        ({"profile": "server"}, "PAR-0408"),
        ({"nmes": []}, "PAR-0315"),
        ({"names": []}, "PAR-0315"),
    ):
        with pytest.raises(Refusal, match=code):
            pe.converge({**IKE, **change})
    write_atomic(pe.passphrase, b"another passphrase of the test")
    with pytest.raises(Refusal, match="PAR-0403"):
        pe.converge(IKE)
    with pytest.raises(Refusal, match="PAR-0315"):
        pe.converge(IKE, authority="")
    assert pe.crossed == []


@pytest.mark.parametrize("key", ["/tmp/ike.key", "/etc/../tmp/ike.key"])  # noqa: S108 - refused
def test_a_place_outside_etc_is_refused(pe: Country, key: str) -> None:
    with pytest.raises(Refusal, match="PAR-0303"):
        pe.converge({**IKE, "key": key})
    assert pe.authority.issued() == []


def test_a_link_in_the_way_is_refused(pe: Country, tmp_path: Path) -> None:
    pe.node.real("/etc/swanctl").symlink_to(tmp_path)
    with pytest.raises(Refusal, match="PAR-0304"):
        pe.converge(IKE)
    assert pe.authority.issued() == []


def prepared(pe: Country) -> Declared:
    """Return a leaf ready to install: its key waits on the node, its certificate is signed."""
    leaf = declared_leaf({**IKE, "owner": ME, "group": GROUP})
    requests = make_requests(pe.node, [leaf.as_request()])
    issued = pe.authority.issue(requests["ike"].encode(), leaf.profile, leaf.names)
    return installable(leaf, issued)


def test_a_certificate_of_another_key_is_refused(pe: Country) -> None:
    pe.converge(IKE)
    before = pe.path(IKE).read_bytes(), pe.path(IKE, "certificate").read_bytes()
    foreign = prepared(pe)
    make_requests(pe.node, [foreign])
    with pytest.raises(Refused, match="PAR-0422"):
        Installation(pe.node).apply([foreign], [])
    assert (pe.path(IKE).read_bytes(), pe.path(IKE, "certificate").read_bytes()) == before
    (pe.node.state / "requests" / "ike.key").unlink()
    with pytest.raises(Refused, match="PAR-0422"):
        Installation(pe.node).apply([foreign], [])


@pytest.mark.parametrize("days", [-1, 91])
def test_a_node_whose_clock_is_wrong_installs_nothing(
    pe: Country, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = prepared(pe)
    moved = datetime.now(UTC) + timedelta(days=days)
    clock = SimpleNamespace(now=lambda _: moved)
    monkeypatch.setattr("plugins.module_utils.paranal_x509.datetime", clock)
    with pytest.raises(Refused, match="PAR-0423"):
        Installation(pe.node).apply([leaf], [])
    assert not pe.path(IKE).exists()


# --- reload ---------------------------------------------------------------------------------------


class Units:
    """Answers systemctl and keeps what was asked."""

    def __init__(self, active: bool, reload: int = 0) -> None:
        self.answers = {"is-active": 0 if active else 3, "reload-or-restart": reload}
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str], seconds: float) -> Outcome:
        self.asked.append(argv[1])
        return Outcome(self.answers[argv[1]], "", "haproxy: no")


@pytest.mark.parametrize(
    ("active", "asked"), [(True, ["is-active", "reload-or-restart"]), (False, ["is-active"])]
)
def test_only_a_running_unit_is_reloaded_and_only_on_change(
    pe: Country, active: bool, asked: list[str]
) -> None:
    units = Units(active)
    leaf = {**prepared(pe), "reload": ["haproxy.service"]}
    Installation(pe.node, run=units).apply([leaf], [])
    assert units.asked == asked
    Installation(pe.node, run=units).apply([], [])
    assert units.asked == asked
    assert pe.probe()["owed"] == []


def test_a_failed_reload_is_owed_to_the_next_run(pe: Country) -> None:
    leaf = {**prepared(pe), "reload": ["haproxy.service"]}
    with pytest.raises(Refused, match="PAR-0424"):
        Installation(pe.node, run=Units(active=True, reload=1)).apply([leaf], [])
    assert pe.probe()["owed"] == ["haproxy.service"]
    units = Units(active=True)
    Installation(pe.node, run=units).apply([], [])
    assert units.asked == ["is-active", "reload-or-restart"]
    assert pe.probe()["owed"] == []


@pytest.mark.parametrize(("shown", "asked"), [("", 1), ("another certificate", 2)])
def test_haproxy_is_reloaded_where_it_took_a_certificate_and_sends_another(
    pe: Country, monkeypatch: pytest.MonkeyPatch, shown: str, asked: int
) -> None:
    module = "plugins.module_utils.paranal_x509"
    monkeypatch.setattr(f"{module}.replace_certificate", lambda *_: True)
    monkeypatch.setattr(f"{module}.shown_by", lambda *_: lambda _: shown)
    how = {"by": "tls", "address": "127.0.0.1", "port": 7443, "names": ["co.q.pe"]}
    leaf = {**prepared(pe), "reload": ["haproxy.service"], "proof": how}
    units = Units(active=True)
    Installation(pe.node, run=units).apply([leaf], [])
    assert units.asked == ["is-active", "reload-or-restart"][:asked]


# --- crashes --------------------------------------------------------------------------------------


def install_until(pe: Country, leaf: Declared, steps: int) -> bool:
    """Install, killed after ``steps`` effects; return whether it was."""
    left = steps

    def step(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    try:
        Installation(pe.node, run=Units(active=False), step=step).apply([leaf], [])
    except Killed:
        return True
    return False


def crash(pe: Country, declared: Declared, steps: int) -> bool:
    """Begin a new leaf and be killed after ``steps`` effects; return whether it came to that."""
    leaf = declared_leaf({**declared, "owner": ME, "group": GROUP})
    requests = make_requests(pe.node, [leaf.as_request()])
    issued = pe.authority.issue(requests[leaf.name].encode(), leaf.profile, leaf.names)
    return install_until(pe, installable(leaf, issued), steps)


@pytest.mark.req("D3")
@pytest.mark.parametrize("declared", [IKE, TLS], ids=["beside", "combined"])
@pytest.mark.parametrize("again", [False, True], ids=["first", "replace"])
@pytest.mark.parametrize("steps", range(1, 7))
def test_killed_anywhere_the_pair_fits_and_the_next_run_converges(
    pe: Country, declared: Declared, again: bool, steps: int
) -> None:
    if again:
        pe.converge(declared)
    killed = crash(pe, declared, steps)
    assert pair_fits(pe.node, declared)
    assert killed or not pe.converge(declared)["changed"]
    pe.converge(declared)
    assert pair_fits(pe.node, declared)
    assert not pe.node.real(next_key(declared["key"])).exists()
    assert pe.converge(declared)["changed"] is False


@pytest.mark.parametrize("first", range(1, 6))
def test_killed_again_while_repairing_the_pair_still_fits(pe: Country, first: int) -> None:
    """The only copy of the current key may be the one beside: a new one must not replace it."""
    pe.converge(IKE)
    for second in range(1, 6):
        assert crash(pe, IKE, first)
        assert crash(pe, IKE, second)
        assert pair_fits(pe.node, IKE)
    pe.converge(IKE)
    assert pair_fits(pe.node, IKE)


def test_a_key_left_beside_by_a_crash_is_forgotten_when_it_fits_nothing(pe: Country) -> None:
    pe.converge(IKE)
    stray = pe.node.real(next_key(IKE["key"]))
    stray.write_bytes(pe.path(IKE).read_bytes()[:-5])
    lose(pe)
    pe.converge(IKE)
    assert not stray.exists()
    assert pair_fits(pe.node, IKE)


def test_a_probe_survives_a_damaged_trust_record_and_a_directory_in_the_way(pe: Country) -> None:
    pe.converge(IKE)
    record = pe.node.real("/etc/paranal/trust.json")
    record.parent.mkdir()
    record.write_text("{")
    pe.path(IKE).unlink()
    os.mkfifo(pe.path(IKE))
    probe = pe.probe()
    assert probe["trust"] == {}
    assert probe["leaves"]["ike"]["altered"] == [IKE["key"]]


# --- rotation -------------------------------------------------------------------------------------

BOTH = ["ike", "operational"]


def aged(pe: Country) -> str:
    """Install both leaves as of two days ago; return the moment before which they were issued."""
    pe.converge(IKE, TLS)
    memory = pe.node.state / "leaves.json"
    known = json.loads(memory.read_text())
    for record in known["leaves"].values():
        record["not_before"] = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    memory.write_text(json.dumps(known))
    return (datetime.now(UTC) - timedelta(days=1)).isoformat()


def proven(pe: Country, answer: str = "") -> list[str]:
    """Take what is under way to its end, every proof giving one ``answer``; return the names."""
    leaves = [{"certificate": leaf["key"], **leaf, "proof": {"by": "x"}} for leaf in (IKE, TLS)]
    return [done["name"] for done in prove(pe.node, leaves, {"x": lambda _: answer})]


@pytest.mark.req("D3")
def test_a_rotation_asked_for_again_with_the_same_moment_changes_nothing(pe: Country) -> None:
    moment = aged(pe)
    assert issued_names(pe.converge(IKE, TLS, issued_before=moment, rotate="")) == BOTH
    assert {each["stage"] for each in pe.probe()["rotations"].values()} == {"installed"}
    assert proven(pe) == BOTH
    assert pe.probe()["rotations"] == {}
    assert pe.converge(IKE, TLS, issued_before=moment)["changed"] is False
    assert proven(pe) == []


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let charon and every listener be ones that send what is installed; return who was asked."""
    asked: list[str] = []
    monkeypatch.setattr(
        "plugins.module_utils.paranal_vici.take_up_credentials", lambda _: asked.append("charon")
    )

    def proof_of(_: Node, leaf: Declared) -> Proof:
        asked.append(leaf["name"])
        return lambda _: ""

    monkeypatch.setattr("plugins.modules.node_certificates.proof_of", proof_of)
    return asked


PROVABLE = ({**IKE, "proof": {"by": "ike"}}, {**TLS, "proof": {"by": "file"}})


@pytest.mark.req("D3")
def test_a_rotation_at_once_ends_in_the_module_run_that_installs(
    pe: Country, sent: list[str]
) -> None:
    moment = aged(pe)
    pe.crossed.clear()
    result = pe.converge(*PROVABLE, issued_before=moment, at_once=True)
    assert (issued_names(result), [one["name"] for one in result["retired"]]) == (BOTH, BOTH)
    assert (len(pe.crossed), sent) == (2, ["charon", *BOTH])
    assert pe.probe()["rotations"] == {}
    again = pe.converge(*PROVABLE, issued_before=moment, at_once=True)
    assert (again["changed"], len(pe.crossed)) == (False, 2)


@pytest.mark.req("D3")
def test_at_once_takes_up_what_an_earlier_run_left(pe: Country, sent: list[str]) -> None:
    moment = aged(pe)
    pe.converge(*PROVABLE, issued_before=moment)
    assert sent == [], "without it, another task proves"
    pe.crossed.clear()
    assert pe.converge(*PROVABLE, issued_before=moment, at_once=True, check=True)["changed"]
    assert pe.crossed == []
    left = pe.converge(*PROVABLE, issued_before=moment, at_once=True)
    assert (left["changed"], [one["name"] for one in left["retired"]]) == (True, BOTH)
    assert (len(pe.crossed), sent) == (1, ["charon", *BOTH])


def test_at_once_asks_charon_only_for_the_leaf_that_it_sends(pe: Country, sent: list[str]) -> None:
    moment = aged(pe)
    pe.converge(*PROVABLE, issued_before=moment, at_once=True, rotate="operational")
    assert sent == ["operational"]


def test_only_the_leaves_that_are_named_are_rotated(pe: Country) -> None:
    moment = aged(pe)
    assert issued_names(pe.converge(IKE, TLS, issued_before=moment, rotate="ike")) == ["ike"]
    for asked, rotate, code in ((moment, "post", "PAR-0443"), ("yesterday", "", "PAR-0442")):
        with pytest.raises(Refusal, match=code):
            pe.converge(IKE, TLS, issued_before=asked, rotate=rotate)


def test_a_nodes_first_leaves_are_no_rotation(pe: Country) -> None:
    pe.converge(IKE, TLS)
    assert pe.probe()["rotations"] == {}


def test_a_leaf_that_is_not_sent_is_not_retired(
    pe: Country, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.module_utils.paranal_proof.WAIT_SECONDS", 0)
    pe.converge(IKE, TLS, issued_before=aged(pe))
    with pytest.raises(Refused, match="PAR-0440"):
        proven(pe, "another certificate")
    assert pe.probe()["rotations"]["ike"]["stage"] == "loaded"
    stray = pe.node.real(next_key(IKE["key"]))
    stray.write_bytes(b"an old key")
    with pytest.raises(Refused, match="PAR-0441"):
        proven(pe)
    assert pe.probe()["rotations"]["ike"]["stage"] == "proven"
    stray.unlink()
    assert proven(pe) == BOTH


def test_a_signer_is_retired_once_its_account_signs_with_it(
    pe: Country, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the account prints is the digest of the leaf that opened; a refusal is handed on."""
    monkeypatch.setattr("plugins.module_utils.paranal_proof.WAIT_SECONDS", 0)
    pe.converge(SIGNER)
    pe.converge(SIGNER, issued_before="now")
    leaf = {**SIGNER, "certificate": SIGNER["key"]}
    digest = pe.probe()["leaves"]["asker-signer"]["sha256"]
    account, asked = SIGNER["proof"]["account"], []

    def says(outcome: Outcome) -> Proof:
        def run(argv: Sequence[str], _: float) -> Outcome:
            asked.append(list(argv))
            return outcome

        return signed_by(account, SIGNER["key"], run)

    for outcome, reason in (
        (Outcome(3, "", "PAR-0468: no | no"), f"{SIGNER['key']}: PAR-0468"),
        (Outcome(0, "0" * 64 + "\n", ""), "another certificate"),
    ):
        with pytest.raises(Refused, match="PAR-0440") as refused:
            prove(pe.node, [leaf], {"signature": says(outcome)})
        assert refused.value.params["reason"].endswith(reason)
    assert pe.probe()["rotations"]["asker-signer"]["stage"] == "loaded"
    good = says(Outcome(0, f"{digest}\n", ""))
    assert [one["name"] for one in prove(pe.node, [leaf], {"signature": good})] == ["asker-signer"]
    assert asked[-1][:3] == ["runuser", "-u", account]
    assert asked[-1][-1] == SIGNER["key"]


def test_a_key_without_a_rotation_is_seen_and_never_used(pe: Country) -> None:
    """Killed between the key and its request: the next run makes another."""
    moment = aged(pe)
    stray = pe.node.state / "requests" / "ike.key"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(pe.path(IKE).read_bytes())
    assert pe.probe()["orphans"] == ["ike"]
    pe.converge(IKE, TLS, issued_before=moment)
    assert pe.probe()["orphans"] == []
    assert not stray.exists()


@pytest.mark.req("D3")
@pytest.mark.parametrize("declared", [IKE, TLS], ids=["beside", "combined"])
@pytest.mark.parametrize("steps", range(7))
def test_a_rotation_killed_anywhere_is_finished_by_the_next_run_of_any_playbook(
    pe: Country, declared: Declared, steps: int
) -> None:
    aged(pe)
    old = pe.path(declared).read_bytes()
    if steps:
        crash(pe, declared, steps)
    else:  # the key is there, and nothing came back
        leaf = declared_leaf({**declared, "owner": ME, "group": GROUP})
        make_requests(pe.node, [leaf.as_request()])
    assert pair_fits(pe.node, declared)
    pe.converge(IKE, TLS)  # not asked for: what was begun is finished all the same
    assert proven(pe) == [declared["name"]]
    assert pe.path(declared).read_bytes() != old
    assert pe.converge(IKE, TLS)["changed"] is False
    serials = [entry["serial"] for entry in pe.authority.issued()]
    assert len(serials) == len(set(serials))
    assert not list((pe.node.state / "requests").iterdir())
