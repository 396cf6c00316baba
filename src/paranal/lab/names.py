"""What the lab calls things: containers, links and labels, all derived from the lab's name."""

from __future__ import annotations

import hashlib
import re

from paranal.messages import Refusal

LABEL = "paranal.lab"
"""Label of every container of a lab; its value is the lab's name."""
LABEL_PART = "paranal.part"
"""``pe``, ``pe-border`` or ``wan``: the part a container belongs to."""
LABEL_KIND = "paranal.kind"
"""``pause`` (owns the network namespace), ``node``, ``border`` or ``wan``."""
LABEL_HOME = "paranal.home"
"""Absolute path of the checkout that made the lab."""
LABEL_OWNER = "paranal.owner"
"""``PID:START`` of the process the lab was made for, see ``owner.py``."""

WAN = "wan"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME = 24


def check_name(name: str) -> str:
    """Return ``name`` when it can name a lab.

    Raises ``Refusal`` PAR-0201 unless it is 1 to 24 lower-case letters, digits and single inner
    hyphens, starting with a letter.
    """
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise Refusal("PAR-0201", name=name, limit=MAX_NAME)
    return name


def border(member: str) -> str:
    """Return the part's name of a member's border post: ``pe-border``."""
    return f"{member}-border"


def container(lab: str, part: str) -> str:
    """Return the container's name of a part: ``paranal-default-pe``."""
    return f"paranal-{lab}-{part}"


def pause(lab: str, part: str) -> str:
    """Return the name of the container that owns a part's network namespace."""
    return f"{container(lab, part)}-net"


def host_link(lab: str, member: str) -> str:
    """Return the host's end of a node's management link, unique per lab, 11 characters."""
    return f"pl{hashlib.sha256(lab.encode()).hexdigest()[:6]}-{member}"


def wan_link(member: str) -> str:
    """Return the end of a member's WAN link inside the ``wan`` namespace."""
    return f"w-{member}"


def controller(lab: str, member: str) -> str:
    """Return the account of a country's controller: unique per lab, 17 characters of 32."""
    return f"paranal-{hashlib.sha256(lab.encode()).hexdigest()[:6]}-{member}"
