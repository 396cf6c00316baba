"""The facts file: what the agreement wants to know of a member, but for the roots of its CA."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from paranal.agreement.card import as_members, check_pending
from paranal.agreement.check import member_problems, shape_problems
from paranal.agreement.source import read
from paranal.messages import Refusal

_CODE = re.compile(r"[a-z]{2}")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


def read_facts(path: Path, code: str, domain: str) -> dict[str, Any]:
    """Return the facts of member ``code`` of the alliance that has ``domain``.

    Raises ``Refusal``, naming file and line: PAR-1002 (schema), PAR-1003 (roots), PAR-0159 (a
    status that opens something) and PAR-01xx (addresses, names); PAR-1005 for code or domain.
    """
    if not _CODE.fullmatch(code) or not _DOMAIN.fullmatch(domain):
        raise Refusal("PAR-1005", member=code, domain=domain)
    source = read(path)
    if isinstance(source.data, dict) and "roots" in source.data:
        raise Refusal("PAR-1003", where=source.where(("roots",)))
    for problem in shape_problems(source, "facts", "PAR-1002"):
        raise problem
    check_pending(source, ())
    facts: dict[str, Any] = source.data
    for problem in member_problems(
        as_members(source, (), code, {"domain": domain, "members": {code: facts}})
    ):
        raise problem
    return facts
