"""What one country's user cannot do to another's: the system refuses it, and the owner can."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from paranal.lab import countries
from paranal.lab.controllers import Controller
from paranal.lab.lab import Lab
from paranal.messages import Refusal
from tests.mesh.conftest import MEMBERS
from tests.mesh.sovereign.support import as_user, history

pytestmark = pytest.mark.req("B1")
Own = dict[str, Controller]
REACHED = (
    "find / -path /proc -prune -o -path /sys -prune"
    ' -o \\( -user "$1" -o -user "$2" -o -user "$3" \\) \\( -readable -o -writable \\) -print'
)
SSH = (
    "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes"
    " -o GlobalKnownHostsFile=/dev/null"
    ' -o UserKnownHostsFile="$1" -o HostKeyAlias="$2" -o IdentityFile=~/.ssh/paranal_ops'
    ' "ops@$3" true'
)


@pytest.fixture(params=[(a, b) for a in MEMBERS for b in MEMBERS if a != b], ids="-".join)
def pair(request: pytest.FixtureRequest, own: Own) -> tuple[Controller, Controller]:
    """Who tries, and whose it is."""
    first, second = request.param
    return own[first], own[second]


def test_no_path_of_another_is_readable(own: Own, member: str) -> None:
    one, others = own[member], [own[code].user for code in MEMBERS if code != member]
    assert not as_user(one, REACHED, *others).stdout
    assert len(as_user(one, REACHED, *[one.user] * 3).stdout.splitlines()) > 100


def test_that_search_sees_a_file_left_open(own: Own, tmp_path: Path) -> None:
    left = Path("/tmp") / f"{own['co'].user}-left"  # noqa: S108 - where a hand would leave it
    own["co"].run("sh", "-c", f"umask 022; echo x >{left}")
    try:
        assert str(left).encode() in as_user(own["pe"], REACHED, *[own["co"].user] * 3).stdout
    finally:
        left.unlink()


@pytest.mark.parametrize("name", ["vault.pass", "half/ca/{}.passphrase", "half/signer/{}"])
def test_vault_passphrase_and_signing_key_are_refused(
    pair: tuple[Controller, Controller], name: str
) -> None:
    mine, other = pair
    path = str(other.home / name.format(other.member))
    said = as_user(mine, 'cat "$1"', path)
    assert said.returncode
    assert b"Permission denied" in said.stderr
    assert as_user(other, 'cat "$1"', path).stdout


def test_the_authority_cannot_be_used_by_another(pair: tuple[Controller, Controller]) -> None:
    mine, other = pair
    folder = str(other.half / "ca" / other.member)
    assert mine.paranal("pki", "status", "--directory", folder, check=False).returncode
    assert not other.paranal("pki", "status", "--directory", folder, check=False).returncode


def test_the_agent_answers_its_own_user_only(pair: tuple[Controller, Controller]) -> None:
    mine, other = pair
    asked = 'SSH_AUTH_SOCK="$1" ssh-add -l'
    said = as_user(mine, asked, str(other.agent))
    assert said.returncode == 2
    assert b"Permission denied" in said.stderr
    assert as_user(other, asked, str(other.agent)).returncode == 0


def test_nobody_logs_in_to_the_node_of_another(
    lab: Lab, pair: tuple[Controller, Controller]
) -> None:
    mine, other = pair
    host = lab.facts()["members"][other.member]["ssh_host"]
    pinned = mine.home / "host-of-another"
    mine.write(pinned, (other.half / "inventory" / "known_hosts").read_text(encoding="ascii"))
    said = as_user(mine, SSH, str(pinned), other.member, host)
    assert said.returncode == 255
    assert b"Permission denied (publickey" in said.stderr
    own_pinned = str(other.half / "inventory" / "known_hosts")
    assert as_user(other, SSH, own_pinned, other.member, host).returncode == 0
    pinned.unlink()


def test_the_inventory_of_another_cannot_be_run(
    lab: Lab, nodes: dict[str, Host], whole: dict[str, str], own: Own
) -> None:
    before = history(nodes["co"])
    with pytest.raises(Refusal, match=r"PAR-0221"):
        countries.apply(lab, own["pe"], "-i", str(own["co"].half / "inventory"), "--limit", "co")
    assert history(nodes["co"]) == before


def test_a_stolen_copy_of_an_inventory_opens_no_node(
    lab: Lab, nodes: dict[str, Host], whole: dict[str, str], own: Own
) -> None:
    stolen = own["pe"].receive(own["co"].half / "inventory", "stolen")
    node_file = stolen / "group_vars" / "alliance" / "node.yml"
    text = node_file.read_text(encoding="utf-8")
    node_file.write_text(text.replace(str(own["co"].half), str(own["pe"].half)), encoding="utf-8")
    before = history(nodes["co"])
    with pytest.raises(Refusal, match=r"PAR-0221"):
        countries.apply(lab, own["pe"], "-i", str(stolen), "--limit", "co")
    log = (lab.home.log / "site-pe.log").read_text(encoding="utf-8")
    assert "Permission denied (publickey" in log
    assert history(nodes["co"]) == before
    shutil.rmtree(stolen)


def test_a_vault_is_opened_under_its_own_id_only(own: Own) -> None:
    secret = str(own["co"].half / "ca" / "co.passphrase")
    copy = own["pe"].receive(Path(secret), "co.passphrase")
    view = 'python -m ansible vault view --vault-id "$1" "$2"'
    theirs = as_user(own["pe"], view, f"pe@{own['pe'].home}/vault.pass", str(copy))
    assert theirs.returncode
    assert not theirs.stdout
    assert as_user(own["co"], view, f"co@{own['co'].home}/vault.pass", secret).stdout
    copy.unlink()


@pytest.fixture
def swapped(own: Own) -> Iterator[Controller]:
    """Peru has Colombia's authority where Mexico's belongs."""
    one = own["pe"]
    published = countries.agreement(one).parent
    kept = {path: path.read_bytes() for path in published.glob("c*/mx-*")}
    for path in kept:
        path.write_bytes(path.with_name(path.name.replace("mx-", "co-")).read_bytes())
    yield one
    for path, content in kept.items():
        path.write_bytes(content)


def test_the_authority_of_the_wrong_country_is_refused(
    lab: Lab, nodes: dict[str, Host], whole: dict[str, str], swapped: Controller
) -> None:
    held = (
        "sha256sum /etc/paranal/view.json; find /etc/swanctl /etc/haproxy -type f | xargs sha256sum"
    )
    before = nodes["pe"].check_output(held)
    with pytest.raises(Refusal, match=r"PAR-0221"):
        countries.apply(lab, swapped)
    log = (lab.home.log / "site-pe.log").read_text(encoding="utf-8")
    assert "PAR-0419" in log
    assert nodes["pe"].check_output(held) == before


@pytest.mark.parametrize("forger", ["co", "pe"])
def test_an_authority_of_the_right_name_from_elsewhere_is_not_accepted(
    own: Own, forger: str
) -> None:
    """Colombia's own files under Mexico's name; and one that Peru made for Mexico's domain."""
    one = own["pe"]
    received, forged = one.home / "received", one.home / "forged"
    words = ["pki", "accept", "--agreement", str(countries.agreement(one))]
    words += ["--published", str(countries.agreement(one).parent), "--member", "mx"]
    if forger == "co":
        for path in list((received / "co").rglob("co-*")):
            target = str(path.relative_to(received / "co")).replace("co-", "mx-")
            one.write(forged / target, path.read_text(encoding="ascii"))
    else:
        made = ["--directory", str(forged / "made"), "--passphrase-file", str(forged / "phrase")]
        made += ["--member", "mx", "--domain", "mx.paranal.example", "--published", str(forged)]
        one.run("mkdir", str(forged))
        one.paranal("pki", "init", *made)
    said = one.paranal(*words, str(forged), check=False)
    shutil.rmtree(forged)
    assert said.returncode == 3
    assert {"co": b"PAR-0419", "pe": b"PAR-0436"}[forger] in said.stderr
    assert one.paranal(*words, str(received / "mx"), check=False).returncode == 0
