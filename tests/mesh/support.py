"""What the mesh's tests stand on: SSH to a node, a question from a border, a capture in ``wan``."""

from __future__ import annotations

import functools
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import paramiko
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

from paranal.lab import packets
from paranal.lab.capture import ANNOUNCED, words
from paranal.lab.installer import ACCOUNT
from paranal.lab.lab import Lab
from paranal.lab.names import WAN, border
from paranal.lab.people import DEMO_CLEAN_FIELDS
from paranal.lab.playbook import play

SCRIPTS = Path(__file__).parent / "on_node"
UNITS = ("timer", "service")
LONGEST_TURN_SECONDS = 60.0
READY_SECONDS = 10.0
SSH_SECONDS = 10.0
Answer = dict[str, Any]


def ssh(lab: Lab, member: str, pinned: str) -> paramiko.SSHClient:
    """Log in to a node as its operators do, when it shows the host key pinned for ``pinned``.

    Raises ``paramiko.SSHException`` for any other key.
    """
    address = lab.facts()["members"][member]["ssh_host"]
    client = paramiko.SSHClient()
    client.load_host_keys(str(lab.home.known_hosts))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    with ExitStack() as otherwise:
        way = otherwise.enter_context(socket.create_connection((address, 22), SSH_SECONDS))
        otherwise.callback(client.close)
        client.connect(
            pinned,  # the name that its key stands under; the way there is the socket
            username=ACCOUNT,
            key_filename=str(lab.home.key),
            sock=way,
            look_for_keys=False,
            allow_agent=False,
        )
        otherwise.pop_all()
    return client


class PinnedBackend(ParamikoBackend):  # type: ignore[misc] # testinfra ships no types
    """testinfra's paramiko backend with the host key pinned.

    The one it has only warns of an unknown host key, reads no known_hosts file, and cannot look a
    key up under another name than the address, which here is link-local with a scope.
    """

    def __init__(self, lab: Lab, member: str) -> None:
        super().__init__(f"{ACCOUNT}@{member}", sudo=True)
        self._lab, self._member = lab, member

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        return ssh(self._lab, self._member, self._member)


def connect(lab: Lab, member: str) -> Host:
    """Return the testinfra host of a node, reached over SSH as ``ops`` with sudo."""
    return Host(PinnedBackend(lab, member))


def on_node(node: Host, script: str, **given: Any) -> Any:  # noqa: ANN401 - whatever it prints
    """Run ``on_node/SCRIPT.py`` as root on a node with JSON in its argument; return its JSON."""
    source = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
    return json.loads(node.check_output("python3 -I -c %s %s", source, json.dumps(given)))


def as_account(node: Host, account: str, script: str, **given: Any) -> Any:  # noqa: ANN401 - the same
    """Run ``on_node/SCRIPT.py`` as another account of a node, as ``on_node`` does as root."""
    source = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
    command = "runuser -u %s -- python3 -I -c %s %s"
    return json.loads(node.check_output(command, account, source, json.dumps(given)))


def in_part(lab: Lab, part: str, script: str, **given: Any) -> Any:  # noqa: ANN401 - the same
    """Run ``on_node/SCRIPT.py`` in a border or in ``wan``, as ``on_node`` does on a node."""
    source = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
    done = lab.exec(part, "python3", "-I", "-c", source, json.dumps(given))
    return json.loads(done.stdout)


def ask_from_border(lab: Lab, asker: str, to: Sequence[str] | None, mrz: Sequence[str]) -> Answer:
    """Ask as an officer does at a post; return the consolidated answer, or ``{"refusal": ...}``."""
    asked = () if to is None else ("--to", ",".join(to))
    command = ("paranal", "query", "--from", asker, *asked, "--json", "--mrz", *mrz)
    done = lab.exec(border(asker), *command, check=False)
    assert done.stdout, done.stderr.decode(errors="replace")
    answer: Answer = json.loads(done.stdout)
    return answer


def list_sas(node: Host) -> list[dict[str, Any]]:
    """Return every IKE_SA that charon lists, as VICI tells it, with its connection's ``name``."""
    return [{"name": name, **sa} for name, sa in on_node(node, "charon", ask="sas")]


def sas_with(node: Host, peer: str) -> list[dict[str, Any]]:
    """Return the IKE_SAs with one peer, by the identity that it proved."""
    return [sa for sa in list_sas(node) if sa.get("remote-id", "").split(".")[1:2] == [peer]]


def ike_suite(sa: dict[str, Any]) -> tuple[str, str, str]:
    """Return cipher, PRF and key exchange of an IKE_SA, as a crypto profile names them."""
    return f"{sa['encr-alg']}-{sa['encr-keysize']}", sa["prf-alg"], _exchange(sa)


def child_suites(sa: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return cipher and key exchange of each CHILD_SA of an IKE_SA, by name."""
    return {
        child["name"]: (f"{child['encr-alg']}-{child['encr-keysize']}", _exchange(child))
        for child in sa["child-sas"].values()
        if child["state"] == "INSTALLED"
    }


def _exchange(sa: dict[str, Any]) -> str:
    """Return the key exchange with the second one, where there is one (RFC 9370)."""
    return "/".join([sa["dh-group"], *(f"KE1_{sa[key]}" for key in ("ake1",) if key in sa)])


def spis(node: Host, peer: str) -> dict[str, str]:
    """Return the inbound SPI of each CHILD_SA with a peer: an undisturbed pair keeps them."""
    return {
        child["name"]: child["spi-in"]
        for sa in sas_with(node, peer)
        for child in sa["child-sas"].values()
    }


def every_spi(node: Host) -> set[str]:
    """Return the inbound SPIs of every CHILD_SA of a node."""
    return {child["spi-in"] for sa in list_sas(node) for child in sa["child-sas"].values()}


def renewals(node: Host) -> list[str]:
    """Return the connections that a node will still renew once, because it changed them lately."""
    record = node.file("/var/lib/paranal/node/connections.json").content_string
    pending: list[str] = json.loads(record)["renew"]
    return pending


def superfluous(node: Host) -> bool:
    """Tell whether a node has two IKE_SAs of one connection, one of which the upkeep will end."""
    names = [sa["name"] for sa in list_sas(node) if sa["state"] == "ESTABLISHED"]
    return len(names) != len(set(names))


def eventually(true: Callable[[], bool], seconds: float) -> bool:
    """Tell whether something becomes true in time; asked twice a second."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


@contextmanager
def by_hand(node: Host, *timers: str) -> Iterator[None]:
    """Keep what timers would start from acting meanwhile: ``heal`` for ``paranal-heal.timer``.

    Stopping a timer leaves the run that it has started; that one is waited for.
    """
    units = {kind: " ".join(f"paranal-{timer}.{kind}" for timer in timers) for kind in UNITS}
    node.check_output(f"systemctl stop {units['timer']}")
    try:
        command = f"systemctl show --value --property=ActiveState {units['service']}"
        ended = functools.partial(node.check_output, command)
        assert eventually(lambda: "activating" not in ended(), LONGEST_TURN_SECONDS)
        yield
    finally:
        node.check_output(f"systemctl start {units['timer']}")


POST = "/etc/paranal/tls/post.pem"
ASKER = "/etc/paranal/tls/asker.pem"
PERSON = DEMO_CLEAN_FIELDS
Views = dict[str, dict[str, Any]]
Seen = dict[str, Any]


def call_national(lab: Lab, views: Views, part: str, member: str, **other: Any) -> Seen:  # noqa: ANN401
    """Post a question to a member's national listener from a border or from ``wan``."""
    own = views[member]["member"]
    question = {"to": None, "officer": "t-1", "purpose": "border_entry", "person": PERSON}
    where = {"address": own["addresses"]["national"], "port": 7440}
    named = {"server_name": f"n.{own['domain']}", "body": question}
    seen: Seen = in_part(lab, part, "call", **{**where, **named, **other})
    return seen


def call_alliance(
    nodes: dict[str, Host],
    views: Views,
    asker: str,
    answerer: str = "pe",
    **other: Any,  # noqa: ANN401 - what the script is given
) -> Seen:
    """Ask a member's alliance listener from a peer's node, from its service address, as it does."""
    asked, own = views[answerer]["member"], views[asker]["member"]
    question = {"request_id": str(uuid4()), "purpose": "border_entry", "person": PERSON}
    where = {"address": asked["addresses"]["operational"], "port": 7443}
    named = {"server_name": f"{asker}.{asked['identities']['operational']}", "body": question}
    source = {"source": own["addresses"]["operational"], "credentials": ASKER}
    seen: Seen = on_node(nodes[asker], "call", **{**where, **named, **source, **other})
    return seen


TUNNEL = {"userspace": "ipsec0", "kernel": "wan"}
"""Data plane -> the interface on which nft, and who is let past it, sees inner packets."""


def tunnels_up(node: Host, peers: Sequence[str]) -> bool:
    """Tell whether a node has one whole IKE_SA, both tunnels in place, with each of some peers."""
    return all(
        [len(sa["child-sas"]) for sa in sas_with(node, peer) if sa["state"] == "ESTABLISHED"] == [2]
        for peer in peers
    )


def counted(node: Host, counter: str) -> int:
    """Return how many packets a named counter of our table has counted."""
    listed = node.check_output("nft --json list counter inet paranal %s", counter)
    entries = json.loads(listed)["nftables"]
    return int(next(entry["counter"]["packets"] for entry in entries if "counter" in entry))


def played(lab: Lab, *options: str) -> str:
    """Play site.yml once more and return what Ansible printed."""
    return play(lab, "site", *options).log.read_text(encoding="utf-8")


def changed_by(output: str) -> dict[str, set[str]]:
    """Return the roles that changed something, by node, as a run's output tells it."""
    found: dict[str, set[str]] = {}
    role = ""
    for line in output.splitlines():
        if match := re.match(r"TASK \[(\w+) :", line):
            role = match[1]
        elif match := re.match(r"changed: \[(\w+)\]", line):
            found.setdefault(match[1], set()).add(role)
    return found


class Capture:
    """A running tcpdump in ``wan``: every packet it has seen so far, one line of text each."""

    def __init__(self, lab: Lab, expression: str) -> None:
        """Start it and return when it listens."""
        self._lab = lab
        self._planted: set[str] = set()
        self.seen: list[str] = []
        tcpdump, *options = words(WAN, None, None, binary=False, expression=expression.split())
        shell = (*ANNOUNCED, tcpdump, "--immediate-mode", *options)
        self._process = subprocess.Popen(  # noqa: S603 - a list of words
            lab.command(WAN, shell),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pid = self._process.stderr.readline().strip()
        while "listening on" not in (line := self._process.stderr.readline()):
            assert line, "tcpdump ended before it listened"
        self._output = self._process.stdout
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def foreign(self) -> list[str]:
        """Return what was seen and not planted by us."""
        return [line for line in self.seen if not any(mark in line for mark in self._planted)]

    def expect(self, mark: str) -> None:
        """Take packets whose line has ``mark`` for planted by the test itself."""
        self._planted.add(mark)

    def plant(self, link: str, source: str, target: str) -> bool:
        """Send one packet in clear onto a link of ``wan``; tell whether this capture sees it."""
        port = 40000 + len(self._planted)
        mark = f"{source}.{port} > {target}.9:"
        self.expect(mark)
        packet = packets.udp(source, target, (port, 9), b"planted")
        in_part(self._lab, WAN, "send", link=link, packet=packet.hex())
        return eventually(lambda: any(mark in line for line in self.seen), READY_SECONDS)

    @contextmanager
    def expecting(self, link: str, source: str, target: str) -> Iterator[Callable[[], list[str]]]:
        """Take for wanted what is seen within a block; what is yielded tells what that is so far.

        For the control of a test: a node opened on purpose, a forged segment. A packet planted at
        the end, as ``plant`` does, is the last of them.
        """
        begun = len(self.seen)
        try:
            yield lambda: self.seen[begun:]
        finally:
            assert self.plant(link, source, target)
            self._planted.update(self.seen[begun:])

    def close(self) -> None:
        """End tcpdump and wait until everything it saw has been read."""
        if self._process.poll() is None:
            self._lab.exec(WAN, "kill", "-INT", self._pid, check=False)
        self._reader.join(READY_SECONDS)
        with self._process:  # waits for it and closes the pipes
            pass

    def _read(self) -> None:
        for line in iter(self._output.readline, ""):
            if line.strip():
                self.seen.append(line.strip())


@contextmanager
def capture(lab: Lab, expression: str) -> Iterator[Capture]:
    """Capture in ``wan`` for the length of a block; all that was seen is there at its end."""
    running = Capture(lab, expression)
    try:
        yield running
    finally:
        running.close()


_ESP = {
    "esp": re.compile(r"IP6? ([\da-f.:]+) > ([\da-f.:]+): ESP\(spi=0x([0-9a-f]{8}),"),
    "udp": re.compile(r"IP6? (\S+)\.4500 > (\S+)\.4500: UDP-encap: ESP\(spi=0x([0-9a-f]{8}),"),
}
ESP_FILTER = "esp or udp port 4500"


def esp_flows(lines: Sequence[str], form: str) -> set[tuple[str, str, str]]:
    """Return (source, target, SPI) of every ESP packet among a capture's lines.

    ``form`` is ``esp``, the protocol itself, which two kernels speak, or ``udp``: in UDP, which the
    userspace plane asks for.
    """
    return {match.groups() for line in lines if (match := _ESP[form].search(line))}  # type: ignore[misc] # three groups
