"""The stages of a leaf's rotation: what each means, what still has to be done, and its alarms.

Pure. The node keeps the stage (``plugins/module_utils/paranal_leaves.py``) and writes each before
the next begins, so that whoever comes after a crash finds what is left to do by looking here:

``requested`` key made on the node; ``issued`` certificate there; ``installed`` pair in its files;
``loaded`` its daemon holds it; ``proven`` it was seen to be the one that is sent; then the rotation
is over (``retired``): nothing of the old pair is left on the node, and nothing is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

STAGES = ("requested", "issued", "installed", "loaded", "proven", "retired")
"""In their order; the last stands for no rotation under way."""

PLAYBOOK = "ansible-playbook playbooks/rotate_certificates.yml --limit {member}"
ALARM_DAYS = (1, 7, 30)
"""An alarm is raised when no more days than these are left, the nearest first."""

_NEXT = {
    "requested": (
        "la clave espera su certificado y no se usa; la próxima ejecución hace otra",
        "the key waits for its certificate and is not used; the next run makes another",
    ),
    "issued": (
        "el certificado llegó y no se terminó de instalar; la próxima ejecución emite otro",
        "the certificate came and was not wholly installed; the next run issues another",
    ),
    "installed": (
        "instalado; falta que el servicio lo cargue y se compruebe que lo envía",
        "installed; its daemon has yet to load it and to be seen to send it",
    ),
    "loaded": (
        "cargado; falta comprobar que es el que se envía",
        "loaded; it has yet to be seen to be the one that is sent",
    ),
    "proven": (
        "comprobado; falta retirar el anterior",
        "proven; the old one has yet to be retired",
    ),
    "retired": ("nada pendiente", "nothing is under way"),
}


def stage_of(rotation: Mapping[str, str] | None) -> str:
    """Return the stage of a leaf's rotation; ``retired`` when none is under way."""
    return "retired" if rotation is None else rotation["stage"]


def wants_issue(rotation: Mapping[str, str] | None) -> bool:
    """Say whether a rotation was cut short before its pair was in place: it is begun anew."""
    return stage_of(rotation) in ("requested", "issued")


def wants_proof(rotation: Mapping[str, str] | None) -> bool:
    """Say whether a new pair is in place and its rotation is not over."""
    return stage_of(rotation) in ("installed", "loaded", "proven")


def moment(text: str) -> datetime:
    """Return the moment before which a leaf must not have been issued: ``now`` or RFC 3339, UTC.

    Raises ``ValueError`` for anything else.
    """
    if text == "now":
        return datetime.now(UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def what_next(rotation: Mapping[str, str] | None) -> dict[str, str]:
    """Return what is left to do, ``{"es", "en"}``."""
    return dict(zip(("es", "en"), _NEXT[stage_of(rotation)], strict=True))


def alarm_days(start: datetime, end: datetime, now: datetime) -> int | None:
    """Return which of ``ALARM_DAYS`` a certificate or list has come to; 0 past its end, or None.

    Of a short life (a list of seven days) only the alarms within its last third are raised; the
    last of them is in any life.
    """
    left, third = end - now, (end - start) / 3
    if left <= timedelta(0):
        return 0
    if left <= min(timedelta(days=ALARM_DAYS[0]), third):
        return ALARM_DAYS[0]
    return next((days for days in ALARM_DAYS if left <= timedelta(days=days) <= third), None)
