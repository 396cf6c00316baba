"""What goes through the pair co-pe while it changes: a post's questions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from paranal.lab.lab import Lab
from tests.mesh.faults.support import Asked, ask_for
from tests.mesh.support import Views

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
