"""Real labs: two side by side, faults with their controls, interruptions, and no trace afterwards.

Needs root and a machine that can run containers. Traffic stays inside namespaces the labs made.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paranal.lab import (
    Lab,
    connections,
    engine,
    faults,
    lock,
    lowering,
    names,
    playbook,
    raising,
    report,
)
from paranal.lab.capture import words
from paranal.lab.home import ROOT
from paranal.lab.relay import SOCKET_NAME, Impairment
from paranal.lab.wish import Wish
from paranal.messages import Refusal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

NAMES = ("t-life-a", "t-life-b")
SCRIPT = ROOT / "scripts" / "lab"
PING = re.compile(r"(\d+) packets transmitted, (\d+) received")
ROUND_TRIP = re.compile(r"= ([\d.]+)/([\d.]+)/([\d.]+)/")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout


def _script(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), "--name", name, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def _traces() -> dict[str, list[str]]:
    """Everything on the host that the labs of this file could leave behind."""
    docker = engine.find()
    present = docker.containers() if docker else {}
    processes = [
        words.replace(b"\0", b" ").decode(errors="replace")
        for words in map(_command_line, Path("/proc").glob("[0-9]*"))
    ]
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    return {
        "containers": sorted(c.name for c in present.values() if c.lab in NAMES),
        "links": sorted(
            link["ifname"]
            for link in json.loads(_run("ip", "-json", "link"))
            if link["ifname"].startswith(tuple(names.host_link(n, "") for n in NAMES))
        ),
        "namespaces": _run("ip", "netns").split(),
        "mounts": [line for line in mounts if "t-life" in line],
        "folders": [name for name in NAMES if (ROOT / ".lab" / name).exists()],
        "connections": [name for name in NAMES if connections.folder(name).exists()],
        "locks": sorted(lock.held("lab/t-life")),
        "processes": [line for line in processes if "t-life" in line and "pytest" not in line],
    }


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def _ping(lab: Lab, member: str, target: str, count: int = 5) -> tuple[int, float]:
    """Return how many of ``count`` pings were answered and the mean round trip in ms (0: none)."""
    pinged = lab.exec(
        member, "ping", "-n", "-c", str(count), "-i", "0.02", "-W", "1", target, check=False
    )
    text = pinged.stdout.decode()
    answered, trip = PING.search(text), ROUND_TRIP.search(text)
    assert answered, text
    return int(answered[2]), float(trip[2]) if trip else 0.0


def _wan(lab: Lab, member: str) -> str:
    return str(lab.agreement().members[member]["wan_address"])


@pytest.fixture(scope="module")
def before() -> dict[str, list[str]]:
    for name in NAMES:
        lowering.down(Lab(name))
    return _traces()


@pytest.fixture(scope="module")
def labs(before: dict[str, list[str]]) -> Iterator[tuple[Lab, Lab]]:
    """Two labs of the same two members and the same addresses, side by side."""
    pair = Lab(NAMES[0]), Lab(NAMES[1])
    for lab in pair:
        raising.up(lab, Wish(members=("co", "pe")), os.getpid())
    yield pair
    for lab in pair:
        lowering.down(lab)
    assert _traces() == before


@pytest.fixture
def lab(labs: tuple[Lab, Lab]) -> Iterator[Lab]:
    yield labs[0]
    faults.clear(labs[0])


@pytest.mark.req("D7")
def test_two_labs_run_side_by_side_and_apart(labs: tuple[Lab, Lab]) -> None:
    one, other = labs
    one.exec("pe", "touch", "/root/only-here")
    assert one.exec("pe", "test", "-e", "/root/only-here").returncode == 0
    assert other.exec("pe", "test", "-e", "/root/only-here", check=False).returncode == 1
    for lab in labs:
        assert _ping(lab, "pe", _wan(lab, "co"))[0] == 5
        assert [listed.running for listed in lowering.listing() if listed.name == lab.name] == [8]


def test_ssh_reaches_each_node_with_its_pinned_key_only(labs: tuple[Lab, Lab]) -> None:
    for lab in labs:
        assert _run(*lab.ssh_command("pe", "sudo", "hostname")) == "pe\n"
    impostor = labs[0].ssh_command("pe", "true")
    impostor[impostor.index("HostKeyAlias=pe")] = "HostKeyAlias=co"
    refused = subprocess.run(impostor, capture_output=True, text=True, check=False)  # noqa: S603
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


def test_a_node_is_as_the_installer_left_it(lab: Lab) -> None:
    assert lab.exec("pe", "systemctl", "is-system-running").stdout == b"running\n"
    for path in ("/etc/paranal", "/etc/swanctl/conf.d/paranal.conf", "/etc/haproxy/paranal"):
        assert lab.exec("pe", "test", "-e", path, check=False).returncode == 1, path
    keys = lab.exec("pe", "sh", "-c", "ls /etc/ssh/ssh_host_*_key").stdout.split()
    assert keys == [b"/etc/ssh/ssh_host_ed25519_key"]
    ids = {lab.exec(member, "cat", "/etc/machine-id").stdout for member in ("co", "pe")}
    assert len(ids) == 2


def test_a_post_reaches_its_gateway_and_nothing_beyond(lab: Lab) -> None:
    assert _ping(lab, "pe-border", "10.51.0.1")[0] == 5
    assert _ping(lab, "pe-border", _wan(lab, "co"), 2)[0] == 0
    assert _ping(lab, "pe-border", "10.57.0.1", 2)[0] == 0


def test_nodes_have_no_more_rights_than_needed(lab: Lab) -> None:
    parts = [names.container(lab.name, "pe"), names.pause(lab.name, "pe")]
    seen = json.loads(lab.engine().call("inspect", *parts))
    assert [entry["HostConfig"]["Privileged"] for entry in seen] == [False, False]
    assert sorted(seen[0]["HostConfig"]["CapAdd"]) == ["NET_ADMIN", "NET_RAW", "SYS_ADMIN"]
    assert seen[1]["HostConfig"]["CapDrop"] == ["ALL"]
    assert int(_status(lab, "pe", "CapEff"), 16) & (1 << 25) == 0, "SYS_TIME would move our clock"


def _status(lab: Lab, part: str, key: str) -> str:
    lines = lab.exec(part, "cat", "/proc/1/status").stdout.decode().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))


def test_delay_is_on_the_line_both_ways_and_goes_again(lab: Lab) -> None:
    _, without = _ping(lab, "pe", _wan(lab, "co"))
    faults.impair(lab, Impairment(delay_ms=40))
    answered, trip = _ping(lab, "pe", _wan(lab, "co"))
    assert answered == 5
    assert 80 <= trip < 95
    faults.clear(lab)
    _, after = _ping(lab, "pe", _wan(lab, "co"))
    assert max(without, after) < 10


def test_loss_is_counted_and_a_clear_line_loses_nothing(lab: Lab) -> None:
    target = _wan(lab, "co")
    assert _ping(lab, "pe", target, 100)[0] == 100
    before = faults.present(lab)["counters"]
    faults.impair(lab, Impairment(loss=0.3))
    answered, _ = _ping(lab, "pe", target, 100)
    after = faults.present(lab)["counters"]
    # Both ways: 0.7 * 0.7 = 49 of 100; the bounds are four standard deviations.
    assert 29 <= answered <= 69
    changed = {key: after[key] - before[key] for key in after}
    assert changed["lost"] == 100 - answered
    assert changed["sent"] == changed["received"] - changed["lost"]


def test_duplicates_and_reordering_arrive(lab: Lab) -> None:
    faults.impair(lab, Impairment(delay_ms=5, duplicate=1.0))
    pinged = lab.exec("pe", "ping", "-n", "-c", "3", "-i", "0.1", _wan(lab, "co"), check=False)
    assert b"duplicates" in pinged.stdout
    faults.impair(lab, Impairment(delay_ms=5, reorder=0.5))
    pinged = lab.exec("pe", "ping", "-n", "-c", "60", "-i", "0.002", _wan(lab, "co"))
    order = [int(n) for n in re.findall(rb"icmp_seq=(\d+)", pinged.stdout)]
    assert sorted(order) == list(range(1, 61))
    assert order != sorted(order)


def test_a_stopped_relay_is_a_dead_line(lab: Lab) -> None:
    faults.impair(lab, Impairment(delay_ms=20))
    container = names.container(lab.name, names.WAN)
    lab.engine().call("pause", container)
    try:
        assert _ping(lab, "pe", _wan(lab, "co"), 2)[0] == 0
    finally:
        lab.engine().call("unpause", container)


def test_a_killed_relay_comes_back_with_its_line(lab: Lab) -> None:
    faults.impair(lab, Impairment(delay_ms=20))
    killed = _relay_pid(lab)
    os.kill(killed, signal.SIGKILL)
    _until(lambda: _relay_pid(lab) not in (killed, 0) and (lab.home.wan / SOCKET_NAME).exists())
    _until(lambda: _answers(lab))
    assert faults.present(lab)["line"]["delay_ms"] == 20
    answered, trip = _ping(lab, "pe", _wan(lab, "co"))
    assert answered == 5
    assert trip >= 40


def _relay_pid(lab: Lab) -> int:
    return lab.engine().containers(lab.name)[names.container(lab.name, names.WAN)].pid


def _answers(lab: Lab) -> bool:
    try:
        faults.present(lab)
    except Refusal:
        return False
    return True


def _until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def test_a_pulled_cable_and_a_partition_and_their_end(lab: Lab) -> None:
    target = _wan(lab, "co")
    for kind, told in (
        ("link", ("links_down", ["co"])),
        ("partition", ("partitions", [["co", "pe"]])),
    ):
        assert _ping(lab, "pe", target)[0] == 5
        if kind == "link":
            faults.set_link(lab, "co", "down")
        else:
            faults.partition(lab, ["co"], ["pe"])
        assert _ping(lab, "pe", target, 2)[0] == 0
        assert faults.present(lab)[told[0]] == told[1]
        faults.clear(lab)
        assert not faults.present(lab)[told[0]]
    assert _ping(lab, "pe", target)[0] == 5


def test_capture_sees_the_line_and_not_what_is_not_there(lab: Lab, tmp_path: Path) -> None:
    command = lab.command("wan", words("wan", None, 3, binary=False, expression=["icmp"]))
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as dump:
        assert dump.stderr is not None
        while b"listening on" not in dump.stderr.readline():
            assert dump.poll() is None
        _ping(lab, "pe", _wan(lab, "co"), 3)
        seen = dump.communicate()[0].decode()
    assert f"{_wan(lab, 'pe')} > {_wan(lab, 'co')}: ICMP echo request" in seen
    assert "10.51." not in seen
    file = tmp_path / "pe.pcap"
    options = ("-i", "wan", "--for", "1", "-w", str(file), "udp", "port", "500")
    assert _script(lab.name, "capture", "pe", *options).returncode == 0
    assert file.stat().st_size >= 24


def test_an_interrupted_capture_ends_inside_the_node_too(lab: Lab) -> None:
    command = [str(SCRIPT), "--name", lab.name, "capture", "pe"]
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as dump:
        assert dump.stderr is not None
        while b"listening on" not in dump.stderr.readline():
            assert dump.poll() is None
        assert lab.exec("pe", "pgrep", "--exact", "tcpdump", check=False).returncode == 0
        dump.send_signal(signal.SIGINT)
        said = dump.communicate(timeout=30)[1]
    assert b"packets captured" in said or b"packet captured" in said
    assert dump.returncode == 0
    assert lab.exec("pe", "pgrep", "--exact", "tcpdump", check=False).returncode == 1


def test_exec_passes_input_and_status(lab: Lab) -> None:
    passed = subprocess.run(  # noqa: S603
        [str(SCRIPT), "--name", lab.name, "exec", "pe", "--", "sh", "-c", "cat; exit 7"],
        input="hola\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (passed.stdout, passed.returncode) == ("hola\n", 7)
    unknown = _script(lab.name, "exec", "xx", "--", "true")
    assert unknown.returncode == 3
    assert "PAR-0213" in unknown.stderr


def test_a_reboot_keeps_the_disk_and_nothing_of_the_kernel(lab: Lab) -> None:
    lab.exec("pe", "touch", "/root/on-disk")
    lab.exec("pe", "nft", "add", "table", "inet", "by_hand")
    lab.exec("pe", "ip", "address", "add", "10.51.1.1/32", "dev", "lo")
    raising.reboot(lab, "pe")
    lab.exec("pe", "test", "-e", "/root/on-disk")
    assert b"by_hand" not in lab.exec("pe", "nft", "list", "tables").stdout
    assert b"10.51.1.1" not in lab.exec("pe", "ip", "address").stdout
    assert _ping(lab, "pe", _wan(lab, "co"))[0] == 5
    assert _ping(lab, "pe-border", "10.51.0.1")[0] == 5
    assert _run(*lab.ssh_command("pe", "hostname")) == "pe\n"


def test_a_cut_node_boots_while_something_still_holds_the_links_it_had(lab: Lab) -> None:
    with Path(f"/proc/{lab.pids()['pe']}/ns/net").open("rb"):
        raising.reboot(lab, "pe", hard=True)
    assert _ping(lab, "pe", _wan(lab, "co"))[0] == 5


def test_a_lasting_connection_ends_with_the_node_it_reached(lab: Lab) -> None:
    words = [str(Path(sys.executable).with_name("ansible")), "pe", "-m", "ansible.builtin.ping"]

    def pinged() -> int:
        environment = playbook.environment(lab)
        return subprocess.run(words, env=environment, cwd=ROOT, check=False).returncode  # noqa: S603

    assert pinged() == 0
    assert len(list(connections.folder(lab.name).iterdir())) == 1
    raising.reboot(lab, "pe")
    assert not connections.folder(lab.name).exists()
    assert pinged() == 0


def test_a_killed_node_keeps_its_links_and_up_boots_it(lab: Lab) -> None:
    lab.engine().call("kill", names.container(lab.name, "pe"))
    assert report.status(lab)["members"]["pe"]["state"] == "stopped"
    assert _ping(lab, "co", _wan(lab, "pe"))[0] == 5, "the pause container owns the namespace"
    raising.up(lab, Wish(), os.getpid())
    assert report.status(lab)["members"]["pe"]["state"] == "running"


def test_a_second_up_changes_nothing_and_another_wish_is_refused(lab: Lab) -> None:
    def containers() -> dict[str, int]:
        return {c.name: c.pid for c in lab.engine().containers(lab.name).values()}

    facts, present = lab.facts(), containers()
    started = time.monotonic()
    assert raising.up(lab, Wish(members=("pe", "co")), os.getpid()) == facts
    assert time.monotonic() - started < 1
    assert containers() == present
    for wish in (Wish(members=("pe",)), Wish(agreement="all-live")):
        with pytest.raises(Refusal) as refusal:
            raising.up(lab, wish, os.getpid())
        assert refusal.value.code == "PAR-0208"


def test_one_operates_a_lab_at_a_time(lab: Lab) -> None:
    with lab.operated(), pytest.raises(Refusal) as refusal, lab.operated():
        pytest.fail("two operate one lab")
    assert refusal.value.code == "PAR-0207"
    assert refusal.value.params["pid"] == os.getpid()


def test_a_lab_of_another_checkout_is_left_alone(labs: tuple[Lab, Lab], tmp_path: Path) -> None:
    foreign = Lab(NAMES[0], tmp_path)
    for act in (
        lambda: lowering.down(foreign),
        lambda: raising.up(foreign, Wish(), os.getpid()),
    ):
        with pytest.raises(Refusal) as refusal:
            act()
        assert refusal.value.code == "PAR-0209"
    assert len(labs[0].engine().containers(NAMES[0])) == 8
