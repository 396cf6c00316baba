"""What runs on a node for the length of a block: a script that writes, packets, a query held."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testinfra.host import Host

from paranal.lab import packets
from paranal.lab.lab import Lab
from paranal.lab.names import border
from tests.mesh.support import ASKER, PERSON, POST, SCRIPTS, TUNNEL, Views, eventually

ASK_AGAIN = "touch /run/hold.again"
AT_ONCE = 2
STOP = "/tmp/questions.stop"  # noqa: S108 - inside a container that only the lab enters


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
def numbered(nodes: dict[str, Host], views: Views) -> Iterator[Callable[[], tuple[int, list[int]]]]:
    """Have numbered packets go from Colombia to Peru; yielded: how many were sent, and which lost.

    The first question ends the sending. It may be asked more than once: packets under way get two
    seconds to arrive.
    """
    own, peer = (views[code]["member"] for code in ("co", "pe"))
    source, target = (side["addresses"]["operational"] for side in (own, peer))
    packet = packets.udp(source, target, (9, 9), b"numbered" + bytes(8) + b"\xff" * 8).hex()
    here, there = (TUNNEL[side["data_plane"]] for side in (own, peer))
    with background(
        nodes["pe"], "numbered", "/run/came.json", receive=there, packet=packet
    ) as came:
        # What is sent before it listens would count as lost.
        assert eventually(lambda: came() is not None, 10), "nobody listens"
        with background(
            nodes["co"], "numbered", "/run/sent.json", send=here, packet=packet
        ) as sent:
            assert eventually(lambda: came()["came"] > 0, 10), "no packet comes through"

            def counted() -> tuple[int, list[int]]:
                nodes["co"].check_output("systemctl stop sent")
                total = int(sent())
                eventually(lambda: came()["came"] >= total, 2)
                seen = came()
                last = seen["came"] + len(seen["missing"])
                return total, [*seen["missing"], *range(last, total)]

            yield counted


HELD = {
    "person": ("operational", ASKER, "POST /v1/person"),
    "control": ("strategic", "/etc/paranal/tls/control.pem", "GET /v1/parity"),
}
"""Service -> its channel, our leaf as its client, and a request."""


@contextmanager
def questions(
    lab: Lab, views: Views, asker: str, peer: str
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Have a post of one country ask another; what is yielded ends it and returns how it went."""
    own = views[asker]["member"]
    given = {
        "address": own["addresses"]["national"],
        "port": 7440,
        "server_name": f"n.{own['domain']}",
        "credentials": POST,
        "body": {"to": [peer], "officer": "t-1", "purpose": "border_entry", "person": PERSON},
        "peer": peer,
        "at_once": AT_ONCE,
        "stop": STOP,
    }
    lab.exec(border(asker), "rm", "-f", STOP)
    source = (SCRIPTS / "questions.py").read_text(encoding="utf-8")
    command = lab.command(border(asker), ["python3", "-I", "-c", source, json.dumps(given)])
    with subprocess.Popen(  # noqa: S603 - a list of words
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as asking:

        def ended() -> dict[str, Any]:
            lab.exec(border(asker), "touch", STOP)
            found: dict[str, Any] = json.loads(asking.communicate(timeout=30)[0])
            return found

        try:
            yield ended
        finally:
            lab.exec(border(asker), "touch", STOP)


@contextmanager
def held_query(
    nodes: dict[str, Host], views: Views, service: str = "person"
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Hold a connection of a service from Colombia to Peru open after a question was answered.

    ``ASK_AGAIN`` has it ask once more.
    """
    channel, credentials, line = HELD[service]
    co, pe = (views[code]["member"] for code in ("co", "pe"))
    nodes["co"].check_output("rm --force /run/hold.again")
    with background(
        nodes["co"],
        "hold",
        f"/run/hold-{service}.json",
        address=pe["addresses"][channel],
        port=views["pe"]["services"][service]["port"],
        server_name=f"co.{pe['identities'][channel]}",
        source=co["addresses"][channel],
        credentials=credentials,
        line=line,
        body={"purpose": "border_entry", "person": PERSON},
        again="/run/hold.again",
    ) as told:
        assert eventually(lambda: bool(told()), 10)
        assert told()["first"] == 200
        yield told
