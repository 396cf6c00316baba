"""Lists are brought to every peer until it has them; one that is silent holds up no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from paranal.control import relay
from paranal.control.call import Caller
from paranal.messages import Refusal
from paranal.serving.view import Peer
from tests.unit.query.asking import view_of


@dataclass(frozen=True)
class Line(Caller):
    """Calls that are noted; a peer in ``refusals`` refuses once for each."""

    calls: list[tuple[str, bytes]] = field(default_factory=list)
    refusals: dict[str, list[Refusal]] = field(default_factory=dict)

    def call(self, peer: Peer, *given: Any) -> bytes:  # noqa: ANN401 - as the real one
        if waiting := self.refusals.get(peer.code):
            raise waiting.pop()
        self.calls.append((peer.code, given[-1]))
        return b"{}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(relay, "AGAIN_SECONDS", 0.03)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A folder with Colombia's own two lists and one of Peru's."""
    for name in ("co-root", "co-issuing", "pe-issuing"):
        (tmp_path / f"{name}.crl").write_bytes(name.encode())
    (tmp_path / "co-root.crl.tmp").write_bytes(b"half a list")
    return tmp_path


async def until(running: relay.Relay, true: Callable[[], bool]) -> None:
    task = asyncio.create_task(running.run())
    deadline = time.monotonic() + 2
    while not true() and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert true()


@pytest.mark.parametrize("name", ["co-issuing", "pe-issuing", "co-g2-issuing"])
async def test_what_is_held_of_all_is_told_at_a_start_and_again_what_changes(
    held: Path, name: str
) -> None:
    line = Line(view_of("co"))
    callable_ = {peer.code for peer in line.peers()}
    running = relay.Relay(lambda: line, held, dict)
    await until(running, lambda: len(line.calls) == 3 * len(callable_))
    assert {code for code, _ in line.calls} == callable_ >= {"mx", "pe"}
    assert {text for _, text in line.calls} == {b"co-root", b"co-issuing", b"pe-issuing"}
    line.calls.clear()
    (held / f"{name}.crl").write_bytes(b"a newer one")
    await until(running, lambda: len(line.calls) == len(callable_))
    assert {text for _, text in line.calls} == {b"a newer one"}


async def test_what_one_process_had_still_to_bring_on_the_next_one_does(held: Path) -> None:
    silent = Refusal("PAR-0913", member="pe", reason="timeout")
    line = Line(view_of("co"), refusals={"mx": [silent]})
    before = relay.Relay(lambda: line, held, dict)
    before.tell({"pe-issuing.crl": b"newer"}, without="pe")
    await until(before, lambda: not line.refusals["mx"])
    (held / "pe-issuing.crl").write_bytes(b"newer")  # root took it in
    line.calls.clear()
    after = relay.Relay(lambda: line, held, dict)
    await until(after, lambda: ("mx", b"newer") in line.calls)


async def test_a_list_that_was_brought_is_no_news_when_root_has_installed_it(held: Path) -> None:
    line = Line(view_of("co"))
    running = relay.Relay(lambda: line, held, dict)
    callable_ = len(line.peers())
    await until(running, lambda: len(line.calls) == 3 * callable_)
    running.tell({"pe-issuing.crl": b"newer"}, without="pe")
    (held / "pe-issuing.crl").write_bytes(b"newer")
    (held / "mx-root.crl").write_bytes(b"another")
    await until(running, lambda: len(line.calls) == 3 * callable_ + callable_ - 1 + callable_)
    assert ("pe", b"newer") not in line.calls
    assert ("pe", b"another") in line.calls


async def test_whoever_brought_a_list_is_not_told_of_it(held: Path) -> None:
    line = Line(view_of("co"))
    running = relay.Relay(lambda: line, held, dict)
    running.tell({"pe-issuing.crl": b"pe"}, without="pe")
    await until(running, lambda: len(line.calls) == 3 * len(line.peers()) - 1)
    assert ("pe", b"pe") not in line.calls
    assert ("mx", b"pe-issuing") not in line.calls, "what is still installed is older"


async def test_a_silent_peer_is_called_again_and_holds_up_nobody(held: Path) -> None:
    silent = [Refusal("PAR-0913", member="pe", reason="timeout") for _ in range(3)]
    line = Line(view_of("co"), refusals={"pe": silent})
    running = relay.Relay(lambda: line, held, dict)
    await until(running, lambda: [code for code, _ in line.calls].count("pe") == 3)
    assert silent == []
    assert line.calls[0][0] == "mx"


async def test_what_a_peer_refused_is_not_said_again(held: Path) -> None:
    refused = [Refusal("PAR-0914", member="pe", theirs_es="", theirs_en="") for _ in range(3)]
    line = Line(view_of("co"), refusals={"pe": refused})
    running = relay.Relay(lambda: line, held, dict)
    await until(running, lambda: not refused and not running._due["pe"].messages)
    assert "pe" not in [code for code, _ in line.calls]


async def test_each_peer_is_told_its_own_notice_and_again_when_it_changes(held: Path) -> None:
    line, standing = Line(view_of("co")), {"pe": b"to pe", "mx": b"to mx"}
    running = relay.Relay(lambda: line, held, lambda: standing)
    await until(running, lambda: {("pe", b"to pe"), ("mx", b"to mx")} <= {*line.calls})
    line.calls.clear()
    standing["pe"] = b"more to pe"
    await until(running, lambda: bool(line.calls))
    assert line.calls == [("pe", b"more to pe")]


async def test_who_could_not_be_called_is_told_the_same_again_once_it_can(held: Path) -> None:
    full = view_of("co")
    line = Line(full)
    without = msgspec.structs.replace(full, peers=tuple(p for p in full.peers if p.code != "pe"))
    alone = Line(without, calls=line.calls)
    at = [line]
    running = relay.Relay(lambda: at[0], held, lambda: {"pe": b"to pe"})
    await until(running, lambda: ("pe", b"to pe") in line.calls)
    at[0] = alone
    line.calls.clear()
    (held / "co-issuing.crl").write_bytes(b"a newer one")
    await until(running, lambda: ("mx", b"a newer one") in line.calls)
    assert "pe" not in [code for code, _ in line.calls]
    at[0] = line
    await until(running, lambda: ("pe", b"to pe") in line.calls)


async def test_news_of_the_same_moment_keep_no_relay_from_being_ended(held: Path) -> None:
    line = Line(view_of("co"))
    running = relay.Relay(lambda: line, held, dict)
    task = asyncio.create_task(running.run())
    await asyncio.sleep(0.002)
    running.tell({})
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.5)
    assert done == {task}
