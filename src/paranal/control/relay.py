"""Brings lists to peers until each has them: our own as they change, others' as they arrive.

A list that a peer has already is answered and not relayed again, so it ends. Nothing is kept over
a restart but our own lists, which are told anew: whoever has the number does nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from paranal.control.call import Caller
from paranal.messages import Refusal
from paranal.serving import journal
from paranal.serving.files import Watched

PATH = "/v1/crl"
LOOK_SECONDS = 2.0
AGAIN_SECONDS = 15.0
"""How long after a peer did not answer it is called again."""

FINAL = ("PAR-0914",)
"""What the peer said will not change by saying it again: it holds a newer one, or trusts none."""


@dataclass
class Due:
    """What one peer has still to be told, by file name, and when it may be called again."""

    lists: dict[str, bytes] = field(default_factory=dict)
    at: float = 0.0
    running: asyncio.Task[None] | None = None


class Relay:
    """Tells every peer that we may call."""

    def __init__(self, caller: Callable[[], Caller], own: tuple[Path, ...]) -> None:
        """``own`` are the files of our own lists."""
        self._caller = caller
        self._own = Watched(own, lambda: {path.name: path.read_bytes() for path in own})
        self._told: dict[str, bytes] = {}
        self._due: dict[str, Due] = {}
        self._news = asyncio.Event()

    def tell(self, lists: dict[str, bytes], without: str | None = None) -> None:
        """Have lists brought to all peers but one, who brought them."""
        for peer in self._caller().peers():
            if peer.code != without:
                self._due.setdefault(peer.code, Due()).lists.update(lists)
        self._news.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                self._look()
            except (OSError, ValueError) as error:  # a file that is being replaced, a new view
                journal.say("relay", level="warning", error=error)
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue

    def _look(self) -> None:
        """Start what is due, for each peer one call at a time."""
        own = self._own()
        if own != self._told:
            self.tell({name: text for name, text in own.items() if self._told.get(name) != text})
            self._told = dict(own)
        for code, due in self._due.items():
            idle = due.running is None or due.running.done()
            if due.lists and idle and time.monotonic() >= due.at:
                due.running = asyncio.create_task(self._bring(code, due))

    async def _bring(self, code: str, due: Due) -> None:
        for name, text in list(due.lists.items()):
            caller = self._caller()
            peer = next((each for each in caller.peers() if each.code == code), None)
            if peer is None:
                due.lists.clear()
                return
            try:
                await asyncio.to_thread(caller.call, peer, "PUT", PATH, text)
            except Refusal as refusal:
                journal.say("not told", level="warning", member=code, code=refusal.code)
                if refusal.code not in FINAL:
                    due.at = time.monotonic() + AGAIN_SECONDS
                    return
            if due.lists.get(name) is text:
                del due.lists[name]
        self._news.set()
