"""Take labs down, each without a trace, and find the ones nobody owns any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from paranal.lab import (
    connections,
    engine,
    evidence,
    image,
    lock,
    machine_disk,
    names,
    owner,
    preflight,
    wiring,
)
from paranal.lab.controllers import controllers
from paranal.lab.docker import Container, Docker
from paranal.lab.lab import Lab
from paranal.messages import Refusal


def down(lab: Lab, *, keep_log: bool = False) -> None:
    """Remove all of the lab, whole or half made, and the engine if it is ours and idle."""
    with lab.operated() as descriptor:
        docker = engine.reach(keep=(descriptor,))
        if docker is None:
            connections.end(lab.name)
            _remove_controllers(lab)
            lab.home.remove(keep_log=keep_log)
            return
        if keep_log and docker.containers(lab.name):
            evidence.collect(lab, lab.home.log)
        clear_away(lab, docker, keep_log=keep_log)
        engine.stop_ours(docker)


def clear_away(lab: Lab, docker: Docker, *, keep_log: bool = False) -> None:
    """Remove the lab's containers, host links and folder; the labels say what there is."""
    present = docker.containers(lab.name)
    for container in present.values():
        if container.labels[names.LABEL_HOME] != str(lab.home.root):
            raise Refusal("PAR-0209", lab=lab.name, home=container.labels[names.LABEL_HOME])
    connections.end(lab.name)
    _remove_controllers(lab)
    if present:
        docker.call("rm", "--force", "--volumes", *present)
    members = {container.labels[names.LABEL_PART] for container in present.values()}
    wiring.remove_links(None, (names.host_link(lab.name, member) for member in sorted(members)))
    lab.home.remove(keep_log=keep_log)


def _remove_controllers(lab: Lab) -> None:
    for one in list(controllers(lab.name)):
        one.remove()


@dataclass(frozen=True)
class Listed:
    """One lab that exists on this machine, as its containers tell it."""

    name: str
    home: str
    parts: tuple[str, ...]
    running: int
    containers: int
    created: datetime
    owner_alive: bool
    operated: bool

    def abandoned(self, older_than: timedelta, now: datetime) -> bool:
        """Tell whether its owner has gone, it was made longer ago, and nobody is at it now."""
        idle = not self.owner_alive and not self.operated
        return idle and now - self.created >= older_than


def listing() -> list[Listed]:
    """Return every lab on this machine, of any checkout, sorted by name."""
    docker = engine.find()
    if docker is None:
        return []
    by_lab: dict[str, list[Container]] = {}
    for container in docker.containers().values():
        by_lab.setdefault(container.lab, []).append(container)
    return [_listed(name, group) for name, group in sorted(by_lab.items())]


def collect_garbage(older_than: timedelta, only: Collection[str] = ()) -> list[str]:
    """Take down every abandoned lab, drop images no recipe makes, and return the labs' names.

    With ``only``, no other lab than the named ones is looked at. Raises the first ``Refusal`` of a
    lab that could not be taken down, after all others are.
    """
    preflight.check_root()
    docker = engine.reach()
    if docker is None:
        return []
    now = datetime.now(UTC)
    seen = [lab for lab in listing() if not only or lab.name in only]
    gone = [lab for lab in seen if lab.abandoned(older_than, now)]
    refused = []
    for lab in gone:
        try:
            down(Lab(lab.name, Path(lab.home)))
        except Refusal as refusal:
            refused.append(refusal)
    if engine.find():
        image.drop_outdated(docker)
        machine_disk.drop_outdated(docker, engine.STATE)
        engine.stop_ours(docker)
    if refused:
        raise refused[0]
    return [lab.name for lab in gone]


def _listed(name: str, group: Iterable[Container]) -> Listed:
    containers = list(group)
    first = min(containers, key=lambda container: container.created)
    parts = {container.labels[names.LABEL_PART] for container in containers}
    return Listed(
        name=name,
        home=first.labels[names.LABEL_HOME],
        parts=tuple(sorted(parts)),
        running=sum(container.running for container in containers),
        containers=len(containers),
        # The engine writes nanoseconds, which datetime does not read.
        created=datetime.fromisoformat(f"{first.created[:19]}+00:00"),
        operated=lock.holder(f"lab/{name}") is not None,
        owner_alive=owner.is_alive(first.labels[names.LABEL_OWNER]),
    )
