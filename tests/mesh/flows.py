"""What runs on a node for the length of a block: a script that writes, a query held open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testinfra.host import Host

from tests.mesh.support import ASKER, PERSON, SCRIPTS, Views, eventually

ASK_AGAIN = "touch /run/hold.again"


@contextmanager
def background(node: Host, script: str, file: str, **given: Any) -> Iterator[Callable[[], Any]]:  # noqa: ANN401 - whatever it writes
    """Have ``on_node/SCRIPT.py`` run on a node for the length of a block, as a unit of its own.

    It is given the name ``file`` and writes JSON there; what is yielded returns that, None before
    there is any.
    """
    source = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
    unit = Path(file).stem
    node.check_output(
        "systemd-run --quiet --collect --unit=%s python3 -I -c %s %s",
        unit,
        source,
        json.dumps({**given, "file": file}),
    )

    def written() -> Any:  # noqa: ANN401 - the same
        shown = node.run("cat %s", file)
        return json.loads(shown.stdout) if shown.rc == 0 else None

    try:
        yield written
    finally:
        node.run("systemctl stop %s", unit)
        node.run("rm --force %s", file)


@contextmanager
def held_query(nodes: dict[str, Host], views: Views) -> Iterator[Callable[[], dict[str, Any]]]:
    """Hold a query connection from Colombia to Peru open; ``ASK_AGAIN`` has it ask once more."""
    co, pe = (views[code]["member"] for code in ("co", "pe"))
    nodes["co"].check_output("rm --force /run/hold.again")
    with background(
        nodes["co"],
        "hold",
        "/run/hold.json",
        address=pe["addresses"]["operational"],
        port=7443,
        server_name=f"co.{pe['identities']['operational']}",
        source=co["addresses"]["operational"],
        credentials=ASKER,
        body={"purpose": "border_entry", "person": PERSON},
        again="/run/hold.again",
    ) as told:
        assert eventually(lambda: bool(told()), 10)
        assert told()["first"] == 200
        yield told
