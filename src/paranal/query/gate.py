"""Who is asking? A peer's service, or a border post of this country."""

from __future__ import annotations

import re
from collections.abc import Mapping

from paranal.messages import Refusal
from paranal.serving.gate import calling_peer, names_shown
from paranal.serving.view import Peer, View

SERVICE = "person"
CHANNEL = "operational"

_POST = "post-[a-z0-9-]*[a-z0-9]"


def asking_peer(headers: Mapping[str, str], view: View) -> Peer:
    """Return the member that asks; raises ``Refusal`` PAR-0531 naming what disagrees."""
    return calling_peer(headers, view, CHANNEL)


def asking_post(headers: Mapping[str, str], view: View) -> str:
    """Return the name of the border post that asks; raises ``Refusal`` PAR-0532.

    Every certificate of the country's CA passes HAProxy; only one of the profile ``post`` carries a
    name ``post-NAME`` right below the member's domain.
    """
    pattern = re.compile(f"{_POST}\\.{re.escape(view.member.domain)}")
    for name in names_shown(headers):
        if pattern.fullmatch(name):
            return name
    raise Refusal("PAR-0532")
