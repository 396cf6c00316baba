"""Print what labs leave on a host, one line each: containers, links, namespaces, mounts, engines.

While other labs are up, only what is this lab's own is told: theirs come and go meanwhile.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from paranal.agreement import load
from paranal.lab import connections, engine, lowering, names
from paranal.lab.controllers import HOMES, controllers
from paranal.lab.home import ROOT


def state(lab: str) -> Iterator[str]:
    """Yield ``own ...`` for what is this lab's by name, and ``host ...`` for all else."""
    docker = engine.find()
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    members = load(ROOT / "agreement" / "pacific-alliance.yml").members
    own = {names.host_link(lab, member) for member in members}
    yield from (f"own link {name}" for name in links & own)
    yield from (f"own container {name}" for name in (docker.containers(lab) if docker else ()))
    yield from (f"own connection {path.name}" for path in connections.folder(lab).glob("*"))
    for one in controllers(lab):
        yield f"own user {one.user}"
    yield from (f"own home {home}" for home in HOMES.glob(names.controller(lab, "??")))
    if any(listed.name != lab for listed in lowering.listing()):
        return
    yield from (f"host link {name}" for name in links - own)
    yield from (f"host container {name}" for name in (docker.containers() if docker else ()))
    yield from (f"host namespace {path.name}" for path in Path("/run/netns").glob("*"))
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        yield f"host mount {line.split()[4]}"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            name = (process / "comm").read_text(encoding="utf-8").strip()
            # A zombie has no command line and holds nothing; its parent has yet to read its end.
            if name in ("dockerd", "containerd") and (process / "cmdline").read_bytes():
                yield f"host process {process.name} {name}"


if __name__ == "__main__":
    print(*sorted(state(sys.argv[1])), sep="\n")  # noqa: T201 - its one purpose
