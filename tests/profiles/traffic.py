"""What goes through the pair co-pe while it changes: a post's questions, and numbered packets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from testinfra.host import Host

from paranal.lab.lab import Lab
from tests.faults.support import Asked, ask_for
from tests.mesh.flows import background
from tests.mesh.support import Views, eventually

TUNNEL = "ipsec0"
"""Where the userspace plane takes and gives inner packets."""
SPELL_SECONDS = 4.0
"""A post asks for so long on one connection, then on the next."""


@contextmanager
def questions(lab: Lab, views: Views) -> Iterator[Callable[[], Asked]]:
    """Have a post of Peru ask Colombia; what is yielded ends that and returns every exchange."""
    over = threading.Event()

    def ask() -> Asked:
        asked: Asked = []
        while not over.is_set():
            asked += ask_for(lab, views, "pe", ["co"], SPELL_SECONDS)
        return asked

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)

        def ended() -> Asked:
            over.set()
            return asking.result()

        try:
            yield ended
        finally:
            over.set()


@contextmanager
def packets(nodes: dict[str, Host], views: Views) -> Iterator[Callable[[], tuple[int, list[int]]]]:
    """Have numbered packets go from Colombia to Peru; yielded: how many were sent, and which lost.

    It may be asked more than once: packets under way get two seconds to arrive.
    """
    source, target = (views[code]["member"]["addresses"]["operational"] for code in ("co", "pe"))
    ends = {"source": source, "target": target}
    with background(nodes["pe"], "packets", "/run/came.json", receive=TUNNEL, **ends) as came:
        assert eventually(lambda: came() is not None, 10), "nobody listens"
        with background(nodes["co"], "packets", "/run/went.json", send=TUNNEL, **ends) as went:
            assert eventually(lambda: came()["came"] > 0, 10), "no packet comes through"

            def counted() -> tuple[int, list[int]]:
                nodes["co"].check_output("systemctl stop went")
                total = int(went())
                eventually(lambda: came()["came"] >= total, 2)
                seen = came()
                last = seen["came"] + len(seen["missing"])
                return total, [*seen["missing"], *range(last, total)]

            yield counted
