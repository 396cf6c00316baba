"""What one agreement changes of another, whom each change binds, and who must sign it.

Narrowing is its member's alone, own facts are their owner's, a pair's facts its two members', and
shared facts and any widening everybody's (design "Who must sign what", docs/adr/0015). Both
documents are sound (``paranal.agreement.check``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paranal.agreement.derive import STATUSES

Document = Mapping[str, Any]
Signers = tuple[frozenset[str], ...]
"""Alternatives: a change is signed when every member of one of them signed."""

SHARED = ("schema", "alliance", "domain", "catalogue", "services")
PENDING = "pending"
_ABSENT = object()


@dataclass(frozen=True)
class Change:
    """One changed value: where, from what to what (None: absent), and who must sign it."""

    field: str
    """``members.pe.contact.phone``, ``pairs.co-pe.co>pe.person``."""
    kind: str
    """A key of ``KINDS``."""
    before: Any
    after: Any
    signers: Signers

    def text(self, language: str) -> str:
        """Return the change in words for a reviewer (``es`` or ``en``)."""
        words = KINDS[self.kind][language]
        before, after = _written(self.before), _written(self.after)
        return words.format(field=self.field, before=before, after=after, **self._names())

    def as_dict(self) -> dict[str, Any]:
        """Return the change as JSON data, with its words in both languages."""
        return {
            "field": self.field,
            "kind": self.kind,
            "before": self.before,
            "after": self.after,
            "signers": [sorted(each) for each in self.signers],
            **{language: self.text(language) for language in ("es", "en")},
        }

    def _names(self) -> dict[str, str]:
        """Return what of the field a sentence may name."""
        _, name, third, *_ = [*self.field.split("."), "", ""]
        asker, _, answerer = third.partition(">")
        service = self.field.rpartition(".")[2]
        return {"name": name, "asker": asker, "answerer": answerer, "service": service}


KINDS = {
    "first": {
        "es": "Primer anexo (época {after}): lo firman todos sus miembros.",
        "en": "First agreement (epoch {after}): all its members sign it.",
    },
    "renumbered": {
        "es": "Nada cambia salvo la época, de {before} a {after}.",
        "en": "Nothing changes but the epoch, from {before} to {after}.",
    },
    "shared": {
        "es": "Hecho común {field}: de {before} a {after}.",
        "en": "Shared fact {field}: from {before} to {after}.",
    },
    "joins": {
        "es": "{name} entra en la alianza, con sus pares y sentidos.",
        "en": "{name} joins the alliance, with its pairs and directions.",
    },
    "leaves": {
        "es": "{name} deja la alianza: sus túneles y sentidos desaparecen.",
        "en": "{name} leaves the alliance: its tunnels and directions disappear.",
    },
    "own": {
        "es": "Hecho propio de {name}, {field}: de {before} a {after}.",
        "en": "{name}'s own fact {field}: from {before} to {after}.",
    },
    "member-opens": {
        "es": "SE ABRE {name} entero: su estado pasa de {before} a {after}.",
        "en": "{name} as a whole OPENS: its status goes from {before} to {after}.",
    },
    "member-narrows": {
        "es": "{name} se restringe entero: su estado pasa de {before} a {after}.",
        "en": "{name} as a whole narrows: its status goes from {before} to {after}.",
    },
    "pair": {
        "es": "Hecho del par {name}, {field}: de {before} a {after}.",
        "en": "Fact of pair {name}, {field}: from {before} to {after}.",
    },
    "opens": {
        "es": "SE ABRE: {asker} podrá preguntar a {answerer} por «{service}» ({before} a {after}).",
        "en": "OPENS: {asker} may ask {answerer} for '{service}' ({before} to {after}).",
    },
    "narrows": {
        "es": "Se restringe: {asker} a {answerer} por «{service}» ({before} a {after}).",
        "en": "Narrows: {asker} to {answerer} for '{service}' ({before} to {after}).",
    },
}
"""Kind of change -> its sentence in each language."""


def changes(before: Document, after: Document) -> Iterator[Change]:
    """Yield every change but the epoch's own, in the order of the document."""
    everybody = frozenset(after["members"])
    for key in SHARED:
        for place, old, new in _leaves(before[key], after[key], (key,)):
            yield Change(".".join(place), "shared", old, new, (everybody,))
    yield from _members(before["members"], after["members"], everybody)
    yield from _pairs(before, after, everybody)


def unsigned(found: Collection[Change], signers: Collection[str]) -> list[Change]:
    """Return the changes that these signers do not cover."""
    present = frozenset(signers)
    return [one for one in found if not any(each <= present for each in one.signers)]


def _members(before: Document, after: Document, everybody: frozenset[str]) -> Iterator[Change]:
    for code in sorted({*before, *after}):
        name = f"members.{code}"
        if code not in before:
            yield Change(name, "joins", None, code, (everybody,))
        elif code not in after:
            # It goes by its own word, or by everybody else's: a state whose keys are lost cannot
            # sign itself out.
            yield Change(name, "leaves", code, None, (frozenset({code}), everybody))
        else:
            yield from _member(code, before[code], after[code], everybody)


def _member(
    code: str, before: Document, after: Document, everybody: frozenset[str]
) -> Iterator[Change]:
    owner = (frozenset({code}),)
    for place, old, new in _leaves(before, after, ("members", code)):
        name = ".".join(place)
        if place[2:] != ("status",):
            yield Change(name, "own", old, new, owner)
        elif _widens(old, new):
            yield Change(name, "member-opens", old, new, (everybody,))
        else:
            yield Change(name, "member-narrows", old, new, owner)


def _pairs(before: Document, after: Document, everybody: frozenset[str]) -> Iterator[Change]:
    """Yield what changes in pairs that were there and stay: a member's coming or going is one."""
    elder = {"-".join(pair["members"]): pair for pair in before["pairs"]}
    for pair in after["pairs"]:
        name = "-".join(pair["members"])
        if name in elder:
            yield from _pair(name, elder[name], pair, everybody)


def _pair(
    name: str, before: Document, after: Document, everybody: frozenset[str]
) -> Iterator[Change]:
    both = frozenset(after["members"])
    elder, now = (_without(pair, "directions") for pair in (before, after))
    for place, old, new in _leaves(elder, now, ("pairs", name)):
        yield Change(".".join(place), "pair", old, new, (both,))
    for direction in after["directions"]:
        elder, now = (pair["directions"][direction] for pair in (before, after))
        yield from _direction(("pairs", name, direction), elder, now, both, everybody)


def _direction(
    place: tuple[str, ...],
    before: Document,
    after: Document,
    both: frozenset[str],
    everybody: frozenset[str],
) -> Iterator[Change]:
    elder, now = (_without(each, "services") for each in (before, after))
    for where, old, new in _leaves(elder, now, place):
        yield Change(".".join(where), "pair", old, new, (both,))
    services = (before["services"], after["services"])
    for service in sorted({*services[0], *services[1]}):
        old, new = (each.get(service) for each in services)
        if old != new:
            kind = _kind(old or PENDING, new or PENDING)
            signers = {"opens": (everybody,), "pair": (both,), "narrows": _either(both)}[kind]
            yield Change(".".join((*place, service)), kind, old, new, signers)


def _kind(before: str, after: str) -> str:
    """Return what a direction's new status is; one that only comes to be written is no more."""
    if before == after:
        return "pair"
    return "opens" if _widens(before, after) else "narrows"


def _either(members: frozenset[str]) -> Signers:
    return tuple(frozenset({one}) for one in sorted(members))


def _without(section: Document, key: str) -> dict[str, Any]:
    return {each: value for each, value in section.items() if each != key}


def _widens(before: str, after: str) -> bool:
    return STATUSES.index(after) < STATUSES.index(before)


def _leaves(
    before: object, after: object, place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield (place, before, after) for each value that differs; a list is one value."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            old, new = before.get(key, _ABSENT), after.get(key, _ABSENT)
            if old != new:
                yield from _leaves(old, new, (*place, key))
    elif before != after:
        yield place, _or_none(before), _or_none(after)


def _or_none(value: object) -> object:
    return None if value is _ABSENT else value


def _written(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
