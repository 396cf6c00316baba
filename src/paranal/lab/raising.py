"""Bring a lab up: image, containers, wires, boot; and back up what stopped in it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from paranal.lab import connections, engine, image, installer, names, plan, preflight, relay, wiring
from paranal.lab.containers import Maker
from paranal.lab.docker import Container, Docker
from paranal.lab.lab import Lab
from paranal.lab.lowering import clear_away
from paranal.lab.owner import owner
from paranal.lab.progress import step
from paranal.messages import Refusal

if TYPE_CHECKING:
    from paranal.agreement import Agreement

READY_SECONDS = 120
DEFAULT_AGREEMENT = "pacific-alliance"
DEFAULT_SUITE = "trixie"
_POLL_SECONDS = 0.2
_STOP_SECONDS = "20"


@dataclass(frozen=True)
class Wish:
    """What an ``up`` asks for; None leaves it to a running lab, or to the default."""

    members: tuple[str, ...] | None = None
    agreement: str | None = None
    suites: Mapping[str, str] | None = None
    """Member -> suite of its image; under "" that of all others."""
    crypto_profile: str | None = None
    """Of every pair, in the lab's own copy of the agreement."""

    def suite(self, member: str) -> str:
        """Return the suite of one member's image, or of what is nobody's (``""``)."""
        default = "forky" if self.crypto_profile == "hybrid" else DEFAULT_SUITE
        suites = self.suites or {}
        return suites.get(member, suites.get("", default))


def up(lab: Lab, wish: Wish, owner_pid: int) -> dict[str, Any]:
    """Bring the lab up as wished and return its facts; a running lab that fits is left alone.

    ``owner_pid`` is the process the lab is for: ``gc`` may clear the lab when it has gone.
    Raises ``Refusal`` PAR-02xx, and PAR-01xx for the agreement.
    """
    preflight.check()
    mark = owner(owner_pid)
    if not lab.home.read():
        preflight.check_room(engine.STATE)
    if wish.members or wish.agreement or wish.suites:
        read_wish(lab, wish)  # refused before anything is started
    with lab.operated() as descriptor:
        docker = engine.ensure(keep=(descriptor,))
        present = docker.containers(lab.name)
        facts = lab.home.read()
        _check_home(lab, present)
        if facts and facts["state"] == "up" and _whole(lab, facts, present):
            _check_wish(lab, facts, wish)
            stopped = [code for code in facts["members"] if not _node(lab, code, present).running]
            for code in stopped:
                _boot(lab, docker, code)
            return facts
        if present or facts:
            with step(f"clearing what an interrupted run left of {lab.name}"):
                clear_away(lab, docker)
        return _raise(lab, docker, wish, mark)


def reboot(lab: Lab, member: str, *, hard: bool = False) -> None:
    """Restart a node as a machine does: same disk, new network namespace, links plugged in.

    ``hard`` cuts its power instead of shutting it down. Faults on its links are gone afterwards.
    Raises ``Refusal`` PAR-0212 when another part of the lab has stopped: only ``up`` mends that.
    """
    with lab.operated() as descriptor:
        docker = replace(lab.engine(), keep=(descriptor,))
        container = lab.container(member)
        if member not in lab.facts()["members"]:
            raise Refusal("PAR-0216", part=member)
        if not _whole(lab, lab.facts(), docker.containers(lab.name)):
            raise Refusal("PAR-0212", lab=lab.name)
        if hard:
            docker.call("kill", container)
        else:
            docker.call("stop", "--time", _STOP_SECONDS, container)
        _boot(lab, docker, member)


def read_wish(lab: Lab, wish: Wish) -> tuple[Agreement, list[str]]:
    """Return the agreement (a file, or a word: ``agreement/WORD.yml``) and the members wished."""
    from paranal.agreement import load  # its checks take time that a running lab need not spend

    chosen = wish.agreement or DEFAULT_AGREEMENT
    named = lab.home.root / "agreement" / f"{chosen}.yml"
    agreement = load(named if named.exists() else Path(chosen))
    if wish.crypto_profile:
        agreement = with_profile(agreement, wish.crypto_profile)
    members = sorted(set(wish.members or agreement.members))
    for member in {*members, *(wish.suites or {})} - {""}:
        if member not in agreement.members:
            known = ", ".join(sorted(agreement.members))
            raise Refusal("PAR-0106", where=agreement.path, member=member, members=known)
    return agreement, members


def with_profile(agreement: Agreement, profile: str) -> Agreement:
    """Return the agreement with one crypto profile for every pair."""
    pairs = [{**pair, "crypto_profile": profile} for pair in agreement.document["pairs"]]
    return replace(agreement, document={**agreement.document, "pairs": pairs})


def write_agreement(lab: Lab, agreement: Agreement) -> None:
    """Write the lab's own copy of the agreement, its comments too where it is as its source."""
    shutil.copyfile(agreement.path, lab.home.agreement)
    if lab.agreement().digest != agreement.digest:
        text = yaml.safe_dump(agreement.document, allow_unicode=True, sort_keys=False)
        lab.home.agreement.write_text(text, encoding="utf-8")


def _raise(lab: Lab, docker: Docker, wish: Wish, mark: str) -> dict[str, Any]:
    started = time.monotonic()
    agreement, codes = read_wish(lab, wish)
    recipe = image.RECIPES[wish.suite("")]
    recipes = {code: image.RECIPES[wish.suite(code)] for code in codes}
    members = {code: agreement.members[code] for code in codes}
    facts: dict[str, Any] = {
        "schema": 1,
        "name": lab.name,
        "state": "starting",
        "image": recipe.tag,
        "suite": recipe.suite,
        "data_plane": "userspace",
        "agreement": {"digest": agreement.digest, "source": str(agreement.path.resolve())},
        "members": {
            code: {**_member_facts(lab, code, members[code]), "suite": recipes[code].suite}
            for code in codes
        },
    }
    lab.home.write(facts)
    for needed in {recipe, *recipes.values()}:
        if not image.exists(docker, needed):
            with step(f"building the node image {needed.tag} from Debian's packages (a minute)"):
                image.ensure(docker, needed, engine.STATE / "build")
    with step(f"bringing up {lab.name}: {', '.join(codes)}"):
        keys = _furnish(lab, agreement, codes)
        maker = Maker(lab.name, recipe.tag, lab.home.root, mark)
        makers = {code: replace(maker, image=recipes[code].tag) for code in codes}
        _create(lab, docker, maker, makers, keys)
        wiring.lay(plan.wiring(lab.name, members), lab.pids(docker.containers(lab.name)))
        nodes = [names.container(lab.name, part) for part in (names.WAN, *codes)]
        docker.call_each([("start", node) for node in nodes])
        _await(lab, docker, facts["members"])
    facts["state"] = "up"
    facts["started_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    facts["seconds"] = round(time.monotonic() - started, 1)
    lab.home.write(facts)
    return facts


def _furnish(lab: Lab, agreement: Agreement, codes: Sequence[str]) -> dict[str, bytes]:
    """Fill the lab's folder; return what the installer leaves on each node."""
    for folder in (lab.home.agreement.parent, lab.home.wan, lab.home.log):
        folder.mkdir(parents=True, exist_ok=True)
    write_agreement(lab, agreement)
    shutil.copyfile(relay.__file__, lab.home.wan / "relay.py")
    _found_authorities(lab)
    operator = installer.Key.generate()
    operator.save(lab.home.key)
    hosts = {code: installer.Key.generate() for code in codes}
    lab.home.known_hosts.write_text(installer.known_hosts(hosts), encoding="ascii")
    return {code: installer.archive(hosts[code], operator) for code in codes}


def _found_authorities(lab: Lab) -> None:
    """Create every member's own authority, by the command that its ministry would use.

    Raises ``Refusal`` PAR-0427.
    """
    done = subprocess.run(  # noqa: S603 - our own command, no shell
        [sys.executable, "-m", "paranal", "pki", "found", str(lab.home.folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise Refusal("PAR-0427", lab=lab.name, reason=reason)


def _create(
    lab: Lab,
    docker: Docker,
    maker: Maker,
    codes: Mapping[str, Maker],
    furniture: Mapping[str, bytes],
) -> None:
    """Create every container, furnish the nodes, and start the owners of the namespaces.

    ``codes`` gives each member the maker of its own image.
    """
    owners = {names.pause(lab.name, part): maker.pause(part) for part in (names.WAN, *codes)}
    for code in codes:
        owners[names.container(lab.name, names.border(code))] = maker.border(code)
    docker.call_each(list(owners.values()))
    docker.call_each([("start", name) for name in owners])
    docker.call_each([maker.wan(lab.home.wan), *(own.node(code) for code, own in codes.items())])
    for code in codes:
        docker.call("cp", "-", f"{names.container(lab.name, code)}:/", given=furniture[code])


def _boot(lab: Lab, docker: Docker, member: str) -> None:
    with step(f"booting {member}"):
        connections.end(lab.name)
        docker.call("restart", "--time", "0", names.pause(lab.name, member))
        pids = lab.pids(docker.containers(lab.name))
        wiring.lay(lab.wiring().touching(member), pids)
        docker.call("start", names.container(lab.name, member))
        _await(lab, docker, {member: lab.facts()["members"][member]})


def _await(lab: Lab, docker: Docker, members: Mapping[str, Mapping[str, Any]]) -> None:
    """Wait until every node is running and its SSH server answers. Raises ``Refusal`` PAR-0214."""
    # These calls may last: they do not hold the lab's lock beyond their caller's life.
    free = replace(docker, keep=())
    with ThreadPoolExecutor(len(members)) as pool:
        waits = [
            pool.submit(_await_node, lab, free, code, node["ssh_host"])
            for code, node in members.items()
        ]
        for wait in waits:
            wait.result()


def _await_node(lab: Lab, docker: Docker, member: str, address: str) -> None:
    container = names.container(lab.name, member)
    deadline = time.monotonic() + READY_SECONDS
    said = "no answer"
    while time.monotonic() < deadline:
        asked = ("exec", container, "systemctl", "is-system-running", "--wait")
        answer = docker.attempt(*asked, seconds=deadline - time.monotonic())
        said = (answer.stdout or answer.stderr).decode(errors="replace").strip().rpartition("\n")[2]
        if said == "degraded":
            failed = ("exec", container, "systemctl", "--failed", "--plain", "--no-legend")
            units = docker.attempt(*failed).stdout.decode().split("\n")
            said = "failed: " + ", ".join(unit.split()[0] for unit in units if unit)
            break
        if said == "running" and _greets(address):
            return
        time.sleep(_POLL_SECONDS)
    raise Refusal("PAR-0214", node=member, lab=lab.name, state=said, seconds=READY_SECONDS)


def _greets(address: str) -> bool:
    """Tell whether an SSH server greets on a link-local address (``fe80::51%LINK``)."""
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def _member_facts(lab: Lab, code: str, member: Mapping[str, Any]) -> dict[str, Any]:
    link = names.host_link(lab.name, code)
    return {
        "container": names.container(lab.name, code),
        "border": names.container(lab.name, names.border(code)),
        "ssh_host": f"{plan.management_address(member)}%{link}",
    }


def _node(lab: Lab, code: str, present: Mapping[str, Container]) -> Container:
    return present[names.container(lab.name, code)]


def _whole(lab: Lab, facts: Mapping[str, Any], present: Mapping[str, Container]) -> bool:
    """Tell whether all of the lab's containers are there, and all but nodes are running."""
    codes = list(facts["members"])
    others = [names.pause(lab.name, part) for part in (names.WAN, *codes)]
    others += [names.container(lab.name, part) for part in (names.WAN, *map(names.border, codes))]
    running = all(name in present and present[name].running for name in others)
    return running and all(names.container(lab.name, code) in present for code in codes)


def _check_home(lab: Lab, present: Mapping[str, Container]) -> None:
    for container in present.values():
        home = container.labels[names.LABEL_HOME]
        if home != str(lab.home.root):
            raise Refusal("PAR-0209", lab=lab.name, home=home)


def _check_wish(lab: Lab, facts: Mapping[str, Any], wish: Wish) -> None:
    """Refuse (PAR-0208) what a running lab cannot become without losing what is in it."""
    differences = []
    if wish.members and sorted(set(wish.members)) != sorted(facts["members"]):
        differences.append(f"--members {','.join(sorted(facts['members']))}")
    if wish.agreement or wish.crypto_profile:
        agreement, _ = read_wish(lab, wish)
        if agreement.digest != facts["agreement"]["digest"]:
            differences.append(f"--agreement {facts['agreement']['source']}")
    suites = {code: node["suite"] for code, node in facts["members"].items()}
    if wish.suites and any(wish.suite(code) != suite for code, suite in suites.items()):
        differences.append("--image " + ",".join(f"{code}={it}" for code, it in suites.items()))
    if differences:
        raise Refusal("PAR-0208", lab=lab.name, options=" ".join(differences))
