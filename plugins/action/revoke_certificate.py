"""``revoke_certificate``: withdraw on the controller, publish, push from the country's own node.

Options: ``certificates`` (serials in hex, or DNS names: each stands for all certificates that show
it first, still hold and were issued before a moment), ``before`` (that moment: RFC 3339, or
``now``), ``reason`` (as ``paranal pki revoke`` knows it), and ``authority``,
``passphrase_file`` and ``published`` as of ``node_certificates``. No module runs and no lock is
taken: a revocation does not wait for another run, and the node keeps the newest list whatever that
run brings (ADR 0017). The list is signed before the node is asked for anything: with the node out
of reach it is there to be carried by hand (RB-012).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority
from paranal.pki.certificates import authority_stem
from paranal.pki.rollover import directories, passphrase_file
from paranal.pki.rotation import moment
from paranal.pki.storage import read_passphrase
from paranal.pki.vault import opener

PUSH = "/usr/bin/paranal control push --json -"
REQUIRED = ("certificates", "reason", "authority", "passphrase_file", "published")
OPTIONS = (*REQUIRED, "before")
NOT_ALL_TOLD = 2
UNPINNED = "PAR-0905"
"""What a node says to the list of an authority that its agreement no longer names."""
SERIAL = re.compile(r"[0-9A-Fa-f:]+")
"""What is a serial; a name has a dot."""


class ActionModule(ActionBase):
    """Withdraw certificates of this country, and have every peer know."""

    _VALID_ARGS = frozenset(OPTIONS)

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Sign, publish and push; in check mode only say which serials it would be."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            return {**result, **self._revoke()}
        except Refusal as refusal:
            return {**result, "failed": True, "msg": str(refusal)}

    def _revoke(self) -> dict[str, Any]:
        given = self._task.args
        for option in REQUIRED:
            if not given.get(option):
                known = ", ".join(OPTIONS)
                raise Refusal("PAR-0315", option="revoke_certificate", key=option, known=known)
        directory, published = Path(given["authority"]), Path(given["published"])
        here = [CertificateAuthority(one) for one in directories(directory)]
        registers = [one.issued() for one in here]
        issued = [entry for register in registers for entry in register]
        now = datetime.now(UTC)
        before = asked_before(given.get("before"), given["certificates"], now)
        serials = withdrawn(issued, given["certificates"], before, now)
        Display().display(f"revoca | revokes: {' '.join(serials)}")
        if self._task.check_mode:
            return {"changed": bool(serials), "serials": serials}
        changed: list[str] = []
        files: list[str] = []
        told: dict[str, str | None] = {}
        unpinned: list[str] = []
        # The newest first: its leaves are in use, and nobody may trust the elder any more.
        for one, mine in reversed(list(zip(here, shared(serials, registers), strict=True))):
            if not mine:
                continue
            file = passphrase_file(Path(given["passphrase_file"]), one.directory)
            authority = CertificateAuthority(
                one.directory, read_passphrase(file, opener(self._loader))
            )
            authority.unlock()
            changed += [each for each in mine if authority.revoke(int(each, 16), given["reason"])]
            files += authority.publish(published)
            stem = authority_stem(authority.member, authority.generation)
            try:
                answers = self._push(published / f"crl/{stem}-issuing.crl")
            except Refusal as refusal:
                if one is here[-1] or UNPINNED not in str(refusal):
                    raise
                unpinned.append(str(refusal))
                continue
            for code, why in answers.items():
                told[code] = told.get(code) or why
        missed = sorted(code for code, why in told.items() if why)
        return {
            "changed": bool(changed or files),
            "serials": serials,
            "published": sorted(files),
            "told": sorted(told.keys() - set(missed)),
            "warnings": [*(f"{code}: {told[code]}" for code in missed), *unpinned],
        }

    def _push(self, path: Path) -> dict[str, str | None]:
        """Have the node install the list and send it on; return each peer with why it was not told.

        Raises ``Refusal`` PAR-0918 when the node did neither.
        """
        try:
            done = self._low_level_execute_command(  # type: ignore[no-untyped-call] # Ansible's
                PUSH, in_data=path.read_bytes()
            )
        except AnsibleConnectionFailure as error:
            raise Refusal("PAR-0918", path=path, reason=error.message) from None
        if done["rc"] not in (0, NOT_ALL_TOLD):
            said = f"{done['stderr']}".strip().rpartition("\n")[2]
            raise Refusal("PAR-0918", path=path, reason=said or done["rc"])
        told: dict[str, str | None] = json.loads(done["stdout"])["told"]
        return told


# --- pure ---------------------------------------------------------------------------------------


def asked_before(given: str | None, wanted: Iterable[str], now: datetime) -> datetime:
    """Return the moment of this revocation; serials alone need none.

    A name without one (PAR-0475) would, the second time, stand for the replacement too; so would
    one with a moment that is still to come (PAR-0476). Refuses (PAR-0442) what is no moment.
    """
    if not given:
        names = [one for one in wanted if not SERIAL.fullmatch(one)]
        if names:
            raise Refusal("PAR-0475", name=names[0], moment=f"{now:%Y-%m-%dT%H:%M:%SZ}")
        return now
    try:
        before = moment(given)
    except ValueError as error:
        raise Refusal("PAR-0442", moment=given, reason=error) from None
    if before > datetime.now(UTC):
        raise Refusal("PAR-0476", moment=given, now=f"{now:%Y-%m-%dT%H:%M:%SZ}")
    # The register counts whole seconds: what was issued in that of a named moment came after it.
    return before if given == "now" else before.replace(microsecond=0)


def withdrawn(
    issued: Iterable[Mapping[str, Any]], wanted: Iterable[str], before: datetime, now: datetime
) -> list[str]:
    """Return the serials (hex) of what is to be withdrawn: serials as given, names by the register.

    A name stands for every certificate that shows it first, was issued before ``before`` and has
    not ended; those that are withdrawn already are among them, so that a repeat finds it done.
    Raises ``Refusal`` PAR-0917 for a name without any; a serial that was never issued is the
    authority's to refuse.
    """
    entries = list(issued)
    found: dict[str, None] = {}
    for one in wanted:
        if SERIAL.fullmatch(one):
            found[f"{int(one.replace(':', ''), 16):x}"] = None
            continue
        of_name = [entry["serial"] for entry in entries if is_meant(entry, one, before, now)]
        if not of_name:
            raise Refusal("PAR-0917", name=one)
        found |= dict.fromkeys(of_name)
    return list(found)


def shared(
    serials: Iterable[str], registers: Sequence[Sequence[Mapping[str, Any]]]
) -> list[list[str]]:
    """Return which of the serials each generation of the authority withdraws.

    The newest takes those that no register has: it refuses them.
    """
    found: list[list[str]] = [[] for _ in registers]
    known = [{entry["serial"] for entry in register} for register in registers]
    for serial in serials:
        owner = next((at for at, names in enumerate(known) if serial in names), -1)
        found[owner].append(serial)
    return found


def is_meant(entry: Mapping[str, Any], name: str, before: datetime, now: datetime) -> bool:
    """Tell whether a certificate of the register has this first name, this age and a life left."""
    at, ends = (datetime.fromisoformat(entry[key]) for key in ("at", "not_after"))
    return entry["names"][:1] == [name] and at < before and ends > now
