"""Bring a lab up: image, containers, wires, boot; and back up what stopped in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from paranal.lab import (
    connections,
    engine,
    image,
    machine,
    machine_disk,
    making,
    names,
    plan,
    preflight,
    wiring,
)
from paranal.lab.containers import Maker
from paranal.lab.docker import Container, Docker
from paranal.lab.lab import Lab
from paranal.lab.lowering import clear_away
from paranal.lab.owner import owner
from paranal.lab.progress import step
from paranal.lab.readiness import await_nodes
from paranal.lab.wish import Wish, check_wish, read_wish
from paranal.messages import Refusal

MACHINE_STOP_SECONDS = 60
_STOP_SECONDS = "20"


def up(lab: Lab, wish: Wish, owner_pid: int) -> dict[str, Any]:
    """Bring the lab up as wished and return its facts; a running lab that fits is left alone.

    ``owner_pid`` is the process the lab is for: ``gc`` may clear the lab when it has gone.
    Raises ``Refusal`` PAR-02xx, and PAR-01xx for the agreement.
    """
    preflight.check()
    mark = owner(owner_pid)
    if not lab.home.read():
        preflight.check_room(engine.STATE)
    if wish != Wish():
        read_wish(lab, wish)  # refused before anything is started
    with lab.operated() as descriptor:
        docker = engine.ensure(keep=(descriptor,))
        present = docker.containers(lab.name)
        facts = lab.home.read()
        _check_home(lab, present)
        if facts and facts["state"] == "up" and _whole(lab, facts, present):
            check_wish(lab, facts, wish)
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
        elif lab.is_machine(member):
            # QEMU ends with its guest; a guest that does not end loses its power like a container.
            lab.exec(member, "systemctl", "poweroff", check=False, seconds=MACHINE_STOP_SECONDS)
            docker.attempt("wait", container, seconds=MACHINE_STOP_SECONDS)
            docker.call("stop", "--time", "0", container)
        else:
            docker.call("stop", "--time", _STOP_SECONDS, container)
        _boot(lab, docker, member)


def _raise(lab: Lab, docker: Docker, wish: Wish, mark: str) -> dict[str, Any]:
    started = time.monotonic()
    agreement, codes = read_wish(lab, wish)
    recipe = image.RECIPES[wish.suite("")]
    recipes = {code: image.RECIPES[wish.suite(code)] for code in codes}
    members = {code: agreement.members[code] for code in codes}
    local = plan.local_addresses(wish.translated or ())
    facts: dict[str, Any] = {
        "schema": 1,
        "name": lab.name,
        "state": "starting",
        "image": recipe.tag,
        "suite": recipe.suite,
        "agreement": {"digest": agreement.digest, "source": str(agreement.path.resolve())},
        "members": {
            code: making.member_facts(
                lab,
                code,
                members[code],
                recipes[code].suite,
                foreign=code in wish.foreign,
                local=local.get(code),
            )
            for code in codes
        },
    }
    lab.home.write(facts)
    disks = {
        code: machine_disk.foreign() if code in wish.foreign else machine_disk.recipe(recipes[code])
        for code in lab.machines()
    }
    containers = {recipes[code] for code in codes if code not in disks}
    making.build_images(docker, {recipe, *containers}, disks.values())
    with step(f"bringing up {lab.name}: {', '.join(codes)}"):
        wires = plan.wiring(lab.name, plan.placed(members, facts["members"]))
        furniture = making.furnish(lab, agreement, wires, codes)
        maker = Maker(lab.name, recipe.tag, lab.home.root, mark)
        making.create_shared(docker, maker, lab, codes)
        for code, left in furniture.items():
            if code in disks:
                own = machine.interfaces(wires, code)
                making.create_machine(docker, maker, lab, code, disks[code], own, left)
            else:
                of_code = replace(maker, image=recipes[code].tag)
                making.create_node(docker, of_code, code, left)
        wiring.lay(wires, lab.pids(docker.containers(lab.name)), lab.machines())
        nodes = [names.container(lab.name, part) for part in (names.WAN, *codes)]
        docker.call_each([("start", node) for node in nodes])
        if wires.translations:
            rules = plan.translation_rules(wires.translations).encode()
            lab.exec(names.WAN, "nft", "-f", "-", given=rules)
        await_nodes(lab, facts["members"])
    facts["state"] = "up"
    facts["started_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    facts["seconds"] = round(time.monotonic() - started, 1)
    lab.home.write(facts)
    return facts


def _boot(lab: Lab, docker: Docker, member: str) -> None:
    with step(f"booting {member}"):
        connections.end(lab.name)
        docker.call("restart", "--time", "0", names.pause(lab.name, member))
        pids = lab.pids(docker.containers(lab.name))
        wiring.lay(lab.wiring().touching(member), pids, lab.machines())
        docker.call("start", names.container(lab.name, member))
        await_nodes(lab, {member: lab.facts()["members"][member]})


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
