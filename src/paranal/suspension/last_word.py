"""The last word to a peer whose ``control`` closes with a suspension.

Every other peer is told by the service ``control``, which follows the record. This one cannot be
called once its direction is closed, so it is told just before, within a second or not at all: a
suspension waits for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from paranal.agreement.suspension import Suspensions, narrowed
from paranal.control import notice
from paranal.control.call import Caller
from paranal.serving.view import Peer, View
from paranal.status import bounded

SECONDS = 1.0


def say(view: Mapping[str, Any], before: Suspensions, after: Suspensions) -> dict[str, str]:
    """Tell each peer that may not be called any more; return peer -> why it was not told, or ""."""
    then = _seen(view, after)
    caller = Caller(_seen(view, before), seconds=SECONDS)
    still = {peer.code for peer in Caller(then).peers()}
    closing = {peer.code: peer for peer in caller.peers() if peer.code not in still}
    calls = {
        code: (code, partial(_tell, caller, peer, then, after)) for code, peer in closing.items()
    }
    answers = bounded.collect(calls, SECONDS)
    return {code: "" if answer is None else answer.reason for code, answer in answers.items()}


def _seen(view: Mapping[str, Any], record: Suspensions) -> View:
    return msgspec.convert(narrowed(view, record), View)


def _tell(caller: Caller, peer: Peer, view: View, record: Suspensions) -> None:
    body = msgspec.json.encode(notice.notice_to(view.peer(peer.code), view, record))
    caller.call(peer, "PUT", notice.PATH, body)
