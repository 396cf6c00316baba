"""How the certificates of a node and of an authority stand: life left, stages, alarms.

``paranal pki status`` prints it; on a node it reads what ``node_certificates`` remembers and the
revocation lists that charon judges by, and needs no key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from paranal.messages import Refusal
from paranal.pki.certificates import MALFORMED
from paranal.pki.rotation import PLAYBOOK, alarm_days, stage_of, what_next

MEMORY = Path("/var/lib/paranal/node/leaves.json")
LISTS = Path("/etc/swanctl/x509crl")
VIEW = Path("/etc/paranal/view.json")
Standing = dict[str, Any]


def of_node(now: datetime, root: Path = Path("/")) -> Standing:
    """Return ``{"member", "leaves", "orphans", "lists", "alarms", "run"}`` of this node.

    A leaf has its serial, dates, ``days_left``, ``stage`` and ``next``; ``run`` is what to run on
    the controller, empty when nothing is under way. Raises PAR-0448 where no leaf was ever
    installed, or who asks may not read it.
    """
    try:
        memory = json.loads(_below(root, MEMORY).read_text(encoding="utf-8"))
        member = json.loads(_below(root, VIEW).read_text(encoding="utf-8"))["member"]["code"]
    except OSError as error:
        raise Refusal("PAR-0448", path=error.filename, reason=error.strerror) from None
    rotations: Mapping[str, Any] = memory.get("rotations", {})
    names = sorted({*memory["leaves"], *rotations})
    leaves = {
        name: leaf(memory["leaves"].get(name, {}), rotations.get(name), now) for name in names
    }
    lists = {path.stem: of_list(path, now) for path in sorted(_below(root, LISTS).glob("*.crl"))}
    waiting = sorted(path.stem for path in (_below(root, MEMORY).parent / "requests").glob("*.key"))
    return {
        "member": member,
        "leaves": leaves,
        "orphans": [name for name in waiting if name not in rotations],
        "lists": lists,
        "alarms": [*leaf_alarms(leaves), *list_alarms(lists)],
        "run": PLAYBOOK.format(member=member) if rotations else "",
    }


def leaf(record: Mapping[str, Any], rotation: Mapping[str, str] | None, now: datetime) -> Standing:
    """Return how one leaf stands, from what the node remembers of it."""
    told: Standing = {"stage": stage_of(rotation), "next": what_next(rotation)}
    if rotation is not None:
        told |= {"rotates_to": rotation["serial"], "replaces": rotation["replaces"]}
    if "serial" in record:
        told["serial"] = record["serial"]
        start, end = (datetime.fromisoformat(record[f"not_{each}"]) for each in ("before", "after"))
        told |= life(start, end, now)
    return told


def of_list(path: Path, now: datetime) -> Standing:
    """Return how one revocation list stands. Raises PAR-0414 for a damaged one."""
    try:
        crl = x509.load_pem_x509_crl(path.read_bytes())
    except MALFORMED as error:
        raise Refusal("PAR-0414", path=path, reason=error) from None
    return life(crl.last_update_utc, crl.next_update_utc or crl.last_update_utc, now)


def life(start: datetime, end: datetime, now: datetime) -> Standing:
    """Return both dates, the whole days and the part of the life that are left, and the alarm."""
    return {
        "not_before": start.isoformat(),
        "not_after": end.isoformat(),
        "days_left": (end - now).days,
        "life_left": round(max((end - now) / (end - start), 0.0), 3) if end > start else 0.0,
        "alarm": alarm_days(start, end, now),
    }


def leaf_alarms(leaves: Mapping[str, Standing]) -> list[dict[str, str]]:
    """Return the alarms of leaves, in the catalogue's words."""
    return [
        Refusal("PAR-0444", name=name, days=each["days_left"]).as_dict()
        for name, each in leaves.items()
        if each.get("alarm") is not None
    ]


def list_alarms(lists: Mapping[str, Standing]) -> list[dict[str, str]]:
    """Return the alarms of lists (``CC-root``, ``CC-issuing``); the offline root's has its own."""
    found = []
    for name, each in lists.items():
        member, authority = name.partition("-")[0], name.rpartition("-")[2]
        if each["alarm"] is not None:
            code = "PAR-0446" if authority == "root" else "PAR-0445"
            found.append(Refusal(code, member=member, days=each["days_left"]).as_dict())
    return found


def authority_alarms(
    status: Mapping[str, Any], now: datetime | None = None
) -> list[dict[str, str]]:
    """Return the alarms of an authority's certificates and lists; ``status`` is its own report."""
    moment, member, found = now or datetime.now(UTC), status["member"], []
    for name in ("root", "issuing"):
        part = status[name]
        start, end = (datetime.fromisoformat(part[f"not_{which}"]) for which in ("before", "after"))
        if alarm_days(start, end, moment) is not None:
            days = (end - moment).days
            found.append(Refusal("PAR-0447", member=member, authority=name, days=days).as_dict())
        if part["crl_next_update"] is None:
            continue
        begun, until = (
            datetime.fromisoformat(part[f"crl_{which}_update"]) for which in ("this", "next")
        )
        found += list_alarms({f"{member}-{name}": life(begun, until, moment)})
    return found


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
