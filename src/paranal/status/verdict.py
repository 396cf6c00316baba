"""What a diagnosis says: a state, on whose side the fault lies, the reasons with their codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from paranal.messages import catalogue
from paranal.status.bounded import Unseen
from paranal.status.facts import LineCheck
from paranal.tunnels.charon import IkeSa


class Side(StrEnum):
    """On whose side a fault lies. ``PAIR``: the two ends differ and only together can say who."""

    NONE = "none"
    OURS = "ours"
    LINE = "line"
    THEIRS = "theirs"
    PAIR = "pair"
    UNKNOWN = "unknown"


class State(StrEnum):
    """How a direction stands; the last two are agreed to be closed and are closed."""

    GOOD = "good"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    PENDING = "pending"
    SUSPENDED = "suspended"


@dataclass(frozen=True)
class Reason:
    """One finding: the message's code, the side it points to and the values of its text.

    Without ``fault`` it is a doubt: nothing seen to be wrong, something not seen to be right.
    """

    code: str
    side: Side
    params: dict[str, Any] = field(default_factory=dict)
    fault: bool = True

    @property
    def runbook(self) -> str:
        """The stem of the runbook that says what to do."""
        return catalogue()[self.code].runbook

    def text(self, language: str) -> str:
        """Return the sentence in ``es`` or ``en``."""
        return catalogue()[self.code].render(language, self.params)

    def as_dict(self) -> dict[str, str]:
        """Return ``{"code", "side", "es", "en", "runbook"}``."""
        texts = {language: self.text(language) for language in ("es", "en")}
        return {"code": self.code, "side": self.side.value, **texts, "runbook": self.runbook}


@dataclass(frozen=True)
class DirectionStatus:
    """One service in one direction: agreed status, what is so, whose fault, whom to call.

    ``enforced`` is what our own firewall does now: ``open``, ``closed`` or ``unknown``.
    ``last_good`` is None when the log was read and has none.
    ``contact`` is ``{"name", "phone", "email"}`` of the side to call, empty when nobody need be.
    """

    way: str
    asker: str
    answerer: str
    service: str
    declared: str
    enforced: str
    state: State
    side: Side
    reasons: tuple[Reason, ...]
    last_good: datetime | Unseen | None
    contact: dict[str, str]


@dataclass(frozen=True)
class PairStatus:
    """One pair: its tunnel as charon has it, its line check, its directions.

    ``line_by`` is the member that checks the line of a pair with nothing open; where it is ours
    (``line_ours``), ``line`` is our note. ``line_contact`` is whom to call when it failed.
    """

    name: str
    peer: str
    crypto_profile: str
    parity: str
    tunnel: IkeSa | Unseen | None
    data_plane: str
    line_by: str | None
    line_ours: bool
    line: LineCheck | Unseen | None
    line_reasons: tuple[Reason, ...]
    line_contact: dict[str, str]
    directions: tuple[DirectionStatus, ...]
