"""The words of ``scripts/lab``, what they refuse, and what the installer leaves on a node."""

from __future__ import annotations

import argparse
import io
import os
import tarfile
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from paranal.agreement import load
from paranal.lab import cli, installer, preflight, report
from paranal.lab.capture import words
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.wish import Wish, read_wish
from paranal.messages import Refusal


def _parse(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.configure(parser)
    return parser.parse_args(list(given))


def test_a_fault_is_read_in_seconds_and_fractions() -> None:
    args = _parse("fault", "delay", "40ms", "--jitter", "5ms", "--loss", "5%", "--reorder", "1")
    assert (args.delay, args.jitter, args.loss) == pytest.approx((0.04, 0.005, 0.05))
    assert args.reorder == pytest.approx(0.01)


@pytest.mark.parametrize(
    "given",
    [
        ("fault", "delay", "40"),
        ("fault", "delay", "1 ms"),
        ("fault", "delay", "1ms", "--loss", "101%"),
        ("fault", "delay", "1ms", "--loss", "x"),
        ("gc", "--older-than", "soon"),
    ],
)
def test_a_wrong_value_is_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as refusal:
        _parse(*given)
    assert refusal.value.code == "PAR-0218"


def test_exec_leaves_the_commands_own_options_alone() -> None:
    args = _parse("exec", "pe", "--", "ls", "-l", "--json")
    assert args.words == ["--", "ls", "-l", "--json"] or args.words == ["ls", "-l", "--json"]


@pytest.mark.parametrize(
    ("agreement", "members", "plane", "code"),
    [
        ("all-live", None, "kernel", "PAR-0211"),
        ("kernel", ("cl", "mx"), "kernel", "PAR-0211"),
        ("kernel", None, "userspace", "PAR-0230"),
    ],
)
def test_a_data_plane_that_the_agreement_does_not_give_is_refused(
    agreement: str, members: tuple[str, ...] | None, plane: str, code: str
) -> None:
    wish = Wish(members, agreement, data_plane=plane)
    with pytest.raises(Refusal) as refusal:
        read_wish(Lab("t-none"), wish)
    assert refusal.value.code == code


@pytest.mark.parametrize(("code", "members"), [("cl", None), ("co", ("pe",)), ("xx", None)])
def test_only_a_member_on_the_kernel_plane_can_be_a_foreign_gateway(
    code: str, members: tuple[str, ...] | None
) -> None:
    with pytest.raises(Refusal) as refusal:
        read_wish(Lab("t-none"), Wish(members, "kernel", foreign=(code,)))
    assert refusal.value.code == "PAR-0231"
    read_wish(Lab("t-none"), Wish(None, "kernel", foreign=("co",)))


def test_the_kernel_plane_alone_chooses_the_agreement_with_machines() -> None:
    agreement, members = read_wish(Lab("t-none"), Wish(data_plane="kernel"))
    assert agreement.path.name == "kernel.yml"
    assert members == ["cl", "co", "mx", "pe"]
    read_wish(Lab("t-none"), Wish(("cl", "mx"), "kernel", data_plane="userspace"))


def test_a_lab_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab("t-none", tmp_path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    for call in (lab.facts, lab.engine, lambda: lab.container("pe")):
        with pytest.raises(Refusal) as refusal:
            call()
        assert refusal.value.code == "PAR-0212"


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (Wish(members=("pe", "xx")), "PAR-0106"),
        (Wish(agreement="/nonexistent.yml"), "PAR-0113"),
        (Wish(suites={"": "trixie", "xx": "forky"}), "PAR-0106"),
        (Wish(members=("co", "pe"), translated=("mx",)), "PAR-0213"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(wish: Wish, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_wish(Lab("t-wish"), wish)
    assert refusal.value.code == code


def test_an_agreement_is_named_by_word_or_file() -> None:
    by_word, members = read_wish(Lab("t-wish"), Wish(("pe", "co", "pe"), "all-live"))
    by_file, _ = read_wish(Lab("t-wish"), Wish(agreement=str(ROOT / "agreement/all-live.yml")))
    assert by_word.digest == by_file.digest
    assert members == ["co", "pe"]


def test_each_node_has_its_own_debian_and_hybrid_brings_the_one_that_can() -> None:
    given = Wish(suites=cli.images("trixie,pe=forky"))
    assert [given.suite(member) for member in ("co", "pe", "")] == ["trixie", "forky", "trixie"]
    assert Wish().suite("pe") == Wish(crypto_profile="classic").suite("pe") == "trixie"
    assert Wish(crypto_profile="hybrid").suite("pe") == "forky"
    assert Wish(suites={"": "trixie"}, crypto_profile="hybrid").suite("pe") == "trixie"
    with pytest.raises(Refusal, match="PAR-0240"):
        cli.images("trixie,pe=sid")


def test_a_crypto_profile_is_every_pair_s_of_the_lab_s_own_agreement() -> None:
    agreement, _ = read_wish(Lab("t-wish"), Wish(agreement="all-live", crypto_profile="hybrid"))
    assert {pair["crypto_profile"] for pair in agreement.document["pairs"]} == {"hybrid"}
    source, _ = read_wish(Lab("t-wish"), Wish(agreement="all-live"))
    assert {pair["crypto_profile"] for pair in source.document["pairs"]} == {"classic"}


@pytest.mark.parametrize("profile", ["classic", "ppk", "hybrid"])
def test_a_lab_s_own_agreement_is_written_as_the_format_takes_it(
    tmp_path: Path, profile: str
) -> None:
    made, _ = read_wish(Lab("t-wish"), Wish(agreement="all-live", crypto_profile=profile))
    file = tmp_path / "agreement.yml"
    file.write_text(yaml.safe_dump(made.document, allow_unicode=True), encoding="utf-8")
    assert load(file).document == made.document


def test_every_lack_of_the_machine_is_one_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin() -> None:
        preflight.check()
        preflight.check_room(tmp_path / "not" / "yet")

    def refused() -> str:
        with pytest.raises(Refusal) as refusal:
            begin()
        assert str(refusal.value)
        return refusal.value.code

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert refused() == "PAR-0202"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(preflight, "TUN", tmp_path / "tun")
    assert refused() == "PAR-0204"
    monkeypatch.setattr(preflight, "TUN", Path("/dev/null"))
    monkeypatch.setattr(preflight, "IPV6", tmp_path / "if_inet6")
    assert refused() == "PAR-0206"
    monkeypatch.setattr(preflight, "IPV6", Path("/proc/self/stat"))
    monkeypatch.setattr(preflight, "NEEDED_BYTES", 2**62)
    assert refused() == "PAR-0205"
    monkeypatch.setattr(preflight, "NEEDED_BYTES", 0)
    begin()


def test_a_capture_in_wan_sees_every_link_and_ends_in_time() -> None:
    assert words("wan", None, 2.5, binary=True, expression=["udp"]) == [
        *("timeout", "-s", "INT", "-k", "2", "2.5"),
        *("tcpdump", "-Z", "root", "-n", "-i", "any", "-U", "-w", "-", "udp"),
    ]
    assert words("pe", "ipsec0", None, binary=False, expression=[])[-2:] == ["ipsec0", "-l"]


def test_the_installer_leaves_keys_and_sudo_with_the_right_owners() -> None:
    host, operator = installer.Key.generate(), installer.Key.generate()
    content = io.BytesIO(installer.archive(host, operator))
    with tarfile.open(fileobj=content) as tar:
        entries = {entry.name: (oct(entry.mode), entry.uid) for entry in tar}
        private = tar.extractfile("etc/ssh/ssh_host_ed25519_key")
        assert private is not None
        load_ssh_private_key(private.read(), None)
    assert entries == {
        "etc/ssh/ssh_host_ed25519_key": ("0o600", 0),
        "etc/ssh/ssh_host_ed25519_key.pub": ("0o644", 0),
        "etc/sudoers.d/installer": ("0o440", 0),
        "etc/machine-id": ("0o444", 0),
        "home/ops/.ssh": ("0o700", 1000),
        "home/ops/.ssh/authorized_keys": ("0o600", 1000),
    }


def test_host_keys_are_pinned_by_member() -> None:
    keys = {code: installer.Key.generate() for code in ("pe", "co")}
    lines = installer.known_hosts(keys).splitlines()
    assert [line.split()[:2] for line in lines] == [["co", "ssh-ed25519"], ["pe", "ssh-ed25519"]]


def test_a_private_key_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "ssh" / "id_ed25519"
    installer.Key.generate().save(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_faults_are_told_and_their_absence_too() -> None:
    none = {
        **{"line": {"delay_ms": 0.0}, "counters": {}, "links_down": [], "partitions": []},
        **{
            "oneway": [],
            "mtu": {},
            "silent_mtu": {},
            "downgrades": [],
            "caught": {},
            "attack": None,
        },
    }
    assert report.faults_text(none) == ["no faults"]
    some = {
        "line": {"delay_ms": 40.0, "loss": 0.0},
        "counters": {"lost": 2},
        "links_down": ["co"],
        "partitions": [["mx", "pe"]],
        "oneway": [["cl", "co"]],
        "mtu": {"pe": 1400},
        "silent_mtu": {"mx": 1280},
        "downgrades": ["dh"],
        "caught": {"lost cl co": 3},
        "attack": {"kind": "flood", "member": "pe", "counted": {"sent": 7}},
    }
    assert report.faults_text(some) == [
        *("line: delay_ms 40 (2 lost)", "link down: co", "partition: mx | pe"),
        *("one way lost: cl > co", "mtu: pe 1400", "silent mtu: mx 1280"),
        *("downgrade: dh", "caught: lost cl co 3", "attack: flood on pe (7 sent)"),
    ]
