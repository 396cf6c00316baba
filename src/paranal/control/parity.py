"""Do both ends of a pair hold the same agreement? Each tells what it holds; nobody decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from paranal.control.call import Caller
from paranal.messages import Refusal
from paranal.serving.view import Peer, View

PATH = "/v1/parity"
EPOCHS_APART = 1
"""How far two members' epochs may differ (design.md, "Who must sign what")."""

EQUAL, DIFFERS, UNSEEN = "equal", "differs", "no answer"


class Parity(msgspec.Struct, frozen=True):
    """What one end holds of a pair; ``digest`` is the whole agreement's, ``parity`` the pair's.

    ``trusts`` are the other end's roots (SHA-256, hex) that it trusts where it runs; none says that
    it does not, or cannot tell.
    """

    member: str
    epoch: int
    digest: str
    pair: str
    parity: str
    trusts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compared:
    """A pair seen from both ends; ``theirs`` is None, and ``refusal`` says why, without answer."""

    ours: Parity
    theirs: Parity | None
    refusal: Refusal | None = None

    @property
    def verdict(self) -> str:
        """``equal``, ``differs`` or ``no answer``."""
        if self.theirs is None:
            return UNSEEN
        near = abs(self.ours.epoch - self.theirs.epoch) <= EPOCHS_APART
        same = (self.ours.pair, self.ours.parity) == (self.theirs.pair, self.theirs.parity)
        return EQUAL if same and near else DIFFERS

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON data."""
        return {
            "verdict": self.verdict,
            "ours": msgspec.structs.asdict(self.ours),
            "theirs": msgspec.structs.asdict(self.theirs) if self.theirs else None,
            "refusal": self.refusal.as_dict() if self.refusal else None,
        }


def held(view: View, peer: Peer, trusts: tuple[str, ...] = ()) -> Parity:
    """Return what we hold of the pair with a peer, and which of its roots we trust."""
    pair = peer.pair
    return Parity(view.member.code, view.epoch, view.digest, pair.name, pair.parity, trusts)


def compare(caller: Caller, peer: Peer, trusts: tuple[str, ...] = ()) -> Compared:
    """Ask a peer and compare; a peer that does not answer as agreed was not seen."""
    ours = held(caller.view, peer, trusts)
    try:
        theirs = msgspec.json.decode(caller.call(peer, "GET", PATH), type=Parity)
        if theirs.member != peer.code:
            raise Refusal("PAR-0915", member=peer.code)
    except Refusal as refusal:
        return Compared(ours, None, refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Compared(ours, None, Refusal("PAR-0915", member=peer.code))
    return Compared(ours, theirs)
