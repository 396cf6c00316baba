"""Print what labs leave on a host, one line each: containers, links, namespaces, mounts, engines.

While other labs are up, only what would be this lab's own is told: theirs come and go meanwhile.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from paranal.agreement import load
from paranal.lab import engine, lowering, names
from paranal.lab.home import ROOT


def state(lab: str) -> Iterator[str]:
    """Yield the lines."""
    others = [listed for listed in lowering.listing() if listed.name != lab]
    docker = engine.find()
    if docker is not None:
        yield from (f"container {name}" for name in docker.containers(lab if others else None))
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    if others:
        members = load(ROOT / "agreement" / "pacific-alliance.yml").members
        own = {names.host_link(lab, member) for member in members}
        yield from (f"link {name}" for name in links & own)
        return
    yield from (f"link {name}" for name in links)
    namespaces = Path("/run/netns")
    if namespaces.exists():
        yield from (f"namespace {path.name}" for path in namespaces.iterdir())
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        yield f"mount {line.split()[4]}"
    for process in Path("/proc").glob("[0-9]*/comm"):
        if process.read_text(encoding="utf-8").strip() in ("dockerd", "containerd"):
            yield f"process {process.parent.name} {process.read_text(encoding='utf-8').strip()}"


if __name__ == "__main__":
    print(*sorted(state(sys.argv[1])), sep="\n")  # noqa: T201 - its one purpose
