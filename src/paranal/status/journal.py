"""What charon's journal tells of the last attempt at each pair.

charon-systemd writes each line with the fields ``IKE_SA_UNIQUE_ID`` and ``IKE_SA_NAME``; lines of
one attempt share the number, which begins anew with every charon (``_PID`` of ``_BOOT_ID``). The
sentences are strongSwan 6.0's own, at log level 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paranal.status.bounded import output
from paranal.status.facts import Ike

SINCE = "-15min"
LINES = "2000"

SENTENCES: tuple[tuple[Ike, re.Pattern[str]], ...] = (
    (
        Ike.OURS_MISSING,
        re.compile(r"no private key found for|no .* (key|certificate) .*\(myself\)"),
    ),
    (
        Ike.THEIRS_INVALID,
        re.compile(r"subject certificate invalid \(valid from|certificate was revoked on"),
    ),
    (Ike.KEY_DIFFERS, re.compile(r"signature validation failed|PPK required but")),
    (
        Ike.WE_DO_NOT_TRUST,
        re.compile(
            r"no issuer certificate found for|no trusted .* public key found for"
            r"|constraint check failed|constraint checking failed"
        ),
    ),
    (Ike.THEY_REFUSED_US, re.compile(r"received AUTHENTICATION_FAILED notify")),
    (
        Ike.NO_PROPOSAL,
        re.compile(r"received NO_PROPOSAL_CHOSEN notify|received proposals unacceptable"),
    ),
    (
        Ike.SELECTORS,
        re.compile(r"received TS_UNACCEPTABLE notify|traffic selectors .* unacceptable"),
    ),
    (Ike.NOT_SENT, re.compile(r"error writing to socket")),
    (
        Ike.NO_REPLY,
        re.compile(
            r"peer not responding|giving up after \d+ retransmits|retransmit [2-9] of request"
        ),
    ),
    (Ike.THEY_CLOSED, re.compile(r"received DELETE for IKE_SA")),
)
"""What a sentence means, the most telling first: one attempt often ends in more than one."""

ESTABLISHED = re.compile(r"IKE_SA .* established between")
INITIATING = re.compile(r"^(\S+) is initiating an IKE_SA")


def read(peers: Sequence[Mapping[str, Any]], member: str) -> dict[str, Ike]:
    """Return what became of the last attempt at each peer; raises ``Unreadable``."""
    fields = "--output-fields=MESSAGE,IKE_SA_UNIQUE_ID,IKE_SA_NAME,_PID,_BOOT_ID"
    unit = ["journalctl", "--unit=strongswan.service", f"--since={SINCE}", f"--lines={LINES}"]
    shown = output([*unit, "--no-pager", "--output=json", fields])
    return judge((json.loads(line) for line in shown.splitlines()), peers, member)


def judge(
    lines: Iterable[Mapping[str, Any]], peers: Sequence[Mapping[str, Any]], member: str
) -> dict[str, Ike]:
    """Return peer -> the meaning of its last attempt; none for one that came up or never was.

    ``lines`` are journal entries in their order. A refusal on our side as responder stands under
    no connection's name, so the attempt is known by the address that began it.
    """
    attempts: dict[tuple[str, ...], list[str]] = {}
    owners: dict[tuple[str, ...], str] = {}
    for line in lines:
        message = line.get("MESSAGE")
        if "IKE_SA_UNIQUE_ID" not in line or not isinstance(message, str):
            continue
        number = tuple(str(line.get(key)) for key in ("_BOOT_ID", "_PID", "IKE_SA_UNIQUE_ID"))
        owner = _owner(line, message, peers, member)
        if owner:
            owners[number] = owner
        attempts.setdefault(number, []).append(message)
        attempts[number] = attempts.pop(number)  # the attempt that spoke last stands last
    ends = {owners[number]: meaning(said) for number, said in attempts.items() if number in owners}
    return {peer: end for peer, end in ends.items() if end}


def meaning(messages: Iterable[str]) -> Ike | None:
    """Return what one attempt's sentences mean since it last came up; None when nothing failed."""
    since: list[str] = []
    for message in messages:
        since = [] if ESTABLISHED.search(message) else [*since, message]
    for ike, pattern in SENTENCES:
        if any(pattern.search(message) for message in since):
            return ike
    return None


def _owner(
    line: Mapping[str, Any], message: str, peers: Sequence[Mapping[str, Any]], member: str
) -> str | None:
    name, begun = str(line.get("IKE_SA_NAME", "")), INITIATING.match(message)
    for peer in peers:
        if name.startswith(f"{member}-{peer['code']}-"):
            return str(peer["code"])
        if begun and begun.group(1) == peer["wan_address"]:
            return str(peer["code"])
    return None
