"""Brings peers what they have to know, until each has it.

Lists: what this node holds of all authorities, and others' as they arrive. One that a peer has
already is answered and not relayed again, so it ends. Notices: what concerns the pair, as it
changes. What is still to be told is not kept over a restart: everything is told anew, and whoever
has it does nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from paranal.control import notice
from paranal.control.call import Caller
from paranal.messages import Refusal
from paranal.serving import journal

PATH = "/v1/crl"
LOOK_SECONDS = 2.0
AGAIN_SECONDS = 15.0
"""How long after a peer did not answer it is called again."""

FINAL = ("PAR-0914",)
"""What the peer said will not change by saying it again: it holds a newer one, or trusts none."""


@dataclass(frozen=True)
class Message:
    """What is put where at a peer."""

    path: str
    body: bytes


@dataclass
class Due:
    """What one peer has still to be told, by name, and when it may be called again."""

    messages: dict[str, Message] = field(default_factory=dict)
    at: float = 0.0
    running: asyncio.Task[None] | None = None


class Relay:
    """Tells every peer that we may call."""

    def __init__(
        self,
        caller: Callable[[], Caller],
        folder: Path,
        standing: Callable[[], dict[str, bytes]],
    ) -> None:
        """``folder`` has the newest list of each authority that we pin, ours too.

        ``standing`` makes each peer's notice.
        """
        self._caller = caller
        self._folder = folder
        self._standing = standing
        self._noticed: dict[str, bytes] = {}
        self._seen: dict[str, bytes] = {}
        self._told: dict[str, bytes] = {}
        self._due: dict[str, Due] = {}
        self._news = asyncio.Event()

    def tell(self, lists: dict[str, bytes], without: str | None = None) -> None:
        """Have lists brought to all peers but one, who brought them."""
        self._told.update(lists)  # as root will install them: no news then, nor to who brought them
        for peer in self._caller().peers():
            if peer.code != without:
                self._owe(peer.code, {name: Message(PATH, text) for name, text in lists.items()})
        self._news.set()

    def _owe(self, code: str, messages: dict[str, Message]) -> None:
        self._due.setdefault(code, Due()).messages.update(messages)

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                self._look()
            except (OSError, ValueError, Refusal) as error:  # a file being replaced, a new view
                journal.say("relay", level="warning", error=error)
            self._news.clear()
            # Not wait_for: before Python 3.12 it loses a cancellation to an event of that moment.
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()

    def _look(self) -> None:
        """Start what is due, for each peer one call at a time."""
        # Read each time: another generation's list is another file, and a folder's time stamp is
        # too coarse for two that are installed at once.
        held = {path.name: path.read_bytes() for path in sorted(self._folder.glob("*.crl"))}
        if held != self._seen:
            self.tell({name: text for name, text in held.items() if self._is_news(name, text)})
            self._seen = held
        self._notice()
        for code, due in self._due.items():
            idle = due.running is None or due.running.done()
            if due.messages and idle and time.monotonic() >= due.at:
                due.running = asyncio.create_task(self._bring(code, due))

    def _notice(self) -> None:
        """Owe each peer that we may call its notice, where it is not what it was told last.

        Whoever may not be called is forgotten: it is told anew once it may be.
        """
        standing = self._standing()
        callable_ = {peer.code for peer in self._caller().peers()}
        now = {code: body for code, body in standing.items() if code in callable_}
        for code, body in now.items():
            if self._noticed.get(code) != body:
                self._owe(code, {notice.PATH: Message(notice.PATH, body)})
        self._noticed = now

    def _is_news(self, name: str, text: bytes) -> bool:
        """Tell whether a list that is installed is to be told: not what a newer one overtakes."""
        before, told = self._seen.get(name), self._told.get(name)
        return text not in (before, told) and (told is None or before is not None)

    async def _bring(self, code: str, due: Due) -> None:
        for name, message in list(due.messages.items()):
            caller = self._caller()
            peer = next((each for each in caller.peers() if each.code == code), None)
            if peer is None:
                due.messages.clear()
                return
            try:
                await asyncio.to_thread(caller.call, peer, "PUT", message.path, message.body)
            except Refusal as refusal:
                journal.say("not told", level="warning", member=code, code=refusal.code)
                if refusal.code not in FINAL:
                    due.at = time.monotonic() + AGAIN_SECONDS
                    return
            if due.messages.get(name) is message:
                del due.messages[name]
        self._news.set()
