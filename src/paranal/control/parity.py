"""Do both ends of a pair hold the same agreement? Each tells what it holds; nobody decides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from paranal.control.call import Caller
from paranal.control.trusted import Told
from paranal.messages import Refusal
from paranal.serving.view import Peer, View

PATH = "/v1/parity"
EPOCHS_APART = 1
"""How far two members' epochs may differ (design.md, "Who must sign what")."""

UNTOLD = Told()
EQUAL, DIFFERS, UNSEEN = "equal", "differs", "no answer"


class Parity(msgspec.Struct, frozen=True):
    """What one end holds of a pair; ``digest`` is the whole agreement's, ``parity`` the pair's.

    ``trusts`` are the other end's roots (SHA-256, hex) that it trusts where it runs, ``issuers``
    the issuing CAs of its own leaves in use; none says that it does not, or cannot tell.
    """

    member: str
    epoch: int
    digest: str
    pair: str
    parity: str
    trusts: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()


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


def held(view: View, peer: Peer, told: Told = UNTOLD) -> Parity:
    """Return what we hold of the pair with a peer, and what we tell it of trust and leaves."""
    member, pair = view.member.code, peer.pair
    return Parity(
        member, view.epoch, view.digest, pair.name, pair.parity, told.trusts, told.issuers
    )


def compare(caller: Caller, peer: Peer, told: Told = UNTOLD) -> Compared:
    """Ask a peer and compare; a peer that does not answer as agreed was not seen."""
    ours = held(caller.view, peer, told)
    try:
        theirs = msgspec.json.decode(caller.call(peer, "GET", PATH), type=Parity)
        if theirs.member != peer.code:
            raise Refusal("PAR-0915", member=peer.code)
    except Refusal as refusal:
        return Compared(ours, None, refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Compared(ours, None, Refusal("PAR-0915", member=peer.code))
    return Compared(ours, theirs)


def issuers(view: View, codes: Collection[str]) -> dict[str, list[str]]:
    """Return by peer the issuing CAs of the leaves that it says it uses; who says none is left out.

    Only the peers in ``codes`` that we may call are asked. A peer that is silent says none.
    """
    caller = Caller(view)
    asked = [compare(caller, peer).theirs for peer in caller.peers() if peer.code in codes]
    return {one.member: list(one.issuers) for one in asked if one and one.issuers}
