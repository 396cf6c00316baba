"""Every reason to refuse an agreement, each with its file and line (rule IAC-001).

The schema settles shapes; the checks below settle what a schema cannot see: that prefixes are
disjoint, identities unique, and every pair declared once with both of its directions.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.resources import files
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from paranal.agreement.source import FieldPath, Source
from paranal.messages import Refusal

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

SMALLEST_PREFIX_LENGTH = 8
"""A member announces at most a /8: anything wider would capture other people's addresses."""

NOT_UNICAST = tuple(
    map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"))
)
"""This host, loopback, link-local, multicast, reserved and broadcast (RFC 6890)."""


def problems(source: Source) -> Iterator[Refusal]:
    """Yield every problem of the agreement; nothing when it is sound.

    The checks after the schema run only when the schema holds, since they rely on the shapes.
    """
    schema_problems = list(_schema(source))
    if schema_problems:
        yield from schema_problems
        return
    for check in _CHECKS:
        yield from check(source)


@cache
def _validator() -> Draft202012Validator:
    # Here, because a node derives connections from its view and never checks an agreement: the
    # import costs a seventh of a second, and timers run on every node.
    from jsonschema import Draft202012Validator, FormatChecker

    text = files(__package__).joinpath("agreement.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text), format_checker=FormatChecker())


def _schema(source: Source) -> Iterator[Refusal]:
    for error in _validator().iter_errors(source.data):
        field: FieldPath = tuple(error.absolute_path)
        name = ".".join(map(str, field)) or "agreement"
        if error.validator == "not":
            if not isinstance(error.instance, str):
                continue  # its type is wrong, which has a sentence of its own
            reason = f"{json.dumps(error.instance, ensure_ascii=False)}: forbidden character"
        else:
            reason = error.message
        yield Refusal("PAR-0102", where=source.where(field), field=name, reason=reason)


def _networks(source: Source) -> Iterator[Refusal]:
    for code, member in source.data["members"].items():
        base: FieldPath = ("members", code)
        prefix, prefix_text = None, member["inner_prefix"]
        try:
            prefix = IPv4Network(prefix_text)
        except ValueError as error:
            yield _unusable(source, (*base, "inner_prefix"), "PAR-0108", prefix_text, reason=error)
        if prefix is not None and prefix.prefixlen < SMALLEST_PREFIX_LENGTH:
            yield _unusable(
                source,
                (*base, "inner_prefix"),
                "PAR-0114",
                prefix_text,
                smallest=SMALLEST_PREFIX_LENGTH,
            )
        elif prefix is not None and not _reachable(prefix):
            yield _unusable(source, (*base, "inner_prefix"), "PAR-0115", prefix_text)
        for field in (("wan_address",), *(("addresses", name) for name in member["addresses"])):
            text = member[field[0]] if len(field) == 1 else member[field[0]][field[1]]
            yield from _address(source, (*base, *field), text, prefix)


def _address(
    source: Source, field: FieldPath, text: str, prefix: IPv4Network | None
) -> Iterator[Refusal]:
    try:
        address = IPv4Address(text)
    except ValueError as error:
        yield _unusable(source, field, "PAR-0108", text, reason=error)
        return
    if not _reachable(address):
        yield _unusable(source, field, "PAR-0115", text)
    if prefix is not None and "addresses" in field and address not in prefix:
        yield _unusable(source, field, "PAR-0116", text, prefix=prefix)


def _gateways(source: Source) -> Iterator[Refusal]:
    """Refuse a gateway inside anybody's inner prefix: its packets would go into a tunnel."""
    for code, member in source.data["members"].items():
        text = member["wan_address"]
        for _, prefix in _prefixes(source):
            try:
                inside = IPv4Address(text) in prefix
            except ValueError:
                continue  # _networks has named it
            if inside:
                field: FieldPath = ("members", code, "wan_address")
                yield _unusable(source, field, "PAR-0117", text, prefix=prefix)


def _reachable(place: IPv4Address | IPv4Network) -> bool:
    return not any(IPv4Network(place).overlaps(other) for other in NOT_UNICAST)


def _prefixes(source: Source) -> Iterator[tuple[str, IPv4Network]]:
    """Yield each member's code and inner prefix, but for those that ``_networks`` has named."""
    for code, member in source.data["members"].items():
        with suppress(ValueError):
            yield code, IPv4Network(member["inner_prefix"])


def _unusable(source: Source, field: FieldPath, code: str, value: str, **params: object) -> Refusal:
    name = ".".join(map(str, field))
    return Refusal(code, where=source.where(field), value=value, field=name, **params)


def _overlaps(source: Source) -> Iterator[Refusal]:
    for (other, other_prefix), (code, prefix) in itertools.combinations(_prefixes(source), 2):
        if prefix.overlaps(other_prefix):
            yield Refusal(
                "PAR-0104",
                where=source.where(("members", code, "inner_prefix")),
                prefix=prefix,
                member=code,
                other_prefix=other_prefix,
                other=other,
            )


def _unique(source: Source) -> Iterator[Refusal]:
    seen: dict[str, str] = {}
    for code, member in source.data["members"].items():
        values: dict[FieldPath, str] = {("wan_address",): member["wan_address"]}
        for group in ("addresses", "identities"):
            values |= {(group, name): value for name, value in member[group].items()}
        for field, value in values.items():
            if value in seen:
                yield Refusal(
                    "PAR-0105",
                    where=source.where(("members", code, *field)),
                    value=value,
                    field=".".join(map(str, field)),
                    member=code,
                    other=seen[value],
                )
            seen.setdefault(value, code)


def _domains(source: Source) -> Iterator[Refusal]:
    for code, member in source.data["members"].items():
        domain = f"{code}.{source.data['domain']}"
        for name, value in member["identities"].items():
            if not value.endswith(f".{domain}"):
                field = ("members", code, "identities", name)
                yield Refusal(
                    "PAR-0110",
                    where=source.where(field),
                    value=value,
                    field=f"identities.{name}",
                    member=code,
                    domain=domain,
                )


def _ports(source: Source) -> Iterator[Refusal]:
    seen: dict[tuple[str, int], str] = {}
    for name, service in source.data["services"].items():
        place = (service["channel"], service["port"])
        if place in seen:
            yield Refusal(
                "PAR-0112",
                where=source.where(("services", name, "port")),
                service=name,
                other=seen[place],
                port=service["port"],
                channel=service["channel"],
            )
        seen.setdefault(place, name)


def _pairs(source: Source) -> Iterator[Refusal]:
    members = source.data["members"]
    declared: set[tuple[str, str]] = set()
    for index, pair in enumerate(source.data["pairs"]):
        field: FieldPath = ("pairs", index)
        unknown = [code for code in pair["members"] if code not in members]
        for code in unknown:
            known = ", ".join(members)
            yield Refusal(
                "PAR-0106", where=source.where((*field, "members")), member=code, members=known
            )
        if unknown:
            continue
        first, second = pair["members"]
        if first >= second:
            yield _pair_refused(source, (*field, "members"), "PAR-0118", first, second)
            continue
        if (first, second) in declared:
            yield _pair_refused(source, field, "PAR-0119", first, second)
        declared.add((first, second))
        yield from _directions(source, field, pair)
    for first, second in itertools.combinations(sorted(members), 2):
        if (first, second) not in declared:
            yield _pair_refused(source, ("pairs",), "PAR-0120", first, second)


def _directions(source: Source, field: FieldPath, pair: dict[str, Any]) -> Iterator[Refusal]:
    first, second = pair["members"]
    directions = pair["directions"]
    wanted = {f"{first}>{second}", f"{second}>{first}"}
    if set(directions) != wanted:
        found, both = (", ".join(sorted(names)) for names in (directions, wanted))
        place = (*field, "directions")
        yield _pair_refused(source, place, "PAR-0107", first, second, found=found, wanted=both)
        return
    if len({frozenset(direction["services"]) for direction in directions.values()}) > 1:
        yield _pair_refused(source, (*field, "directions"), "PAR-0121", first, second)
    for name, direction in directions.items():
        for service, status in direction["services"].items():
            where = source.where((*field, "directions", name, "services", service))
            if service not in source.data["services"]:
                yield Refusal("PAR-0111", where=where, service=service)
            if status in ("live", "trial") and "legal" not in direction:
                yield Refusal("PAR-0109", where=where, direction=name, service=service)


def _pair_refused(
    source: Source, field: FieldPath, code: str, first: str, second: str, **params: str
) -> Refusal:
    return Refusal(code, where=source.where(field), pair=f"{first}-{second}", **params)


_CHECKS: tuple[Callable[[Source], Iterator[Refusal]], ...] = (
    _networks,
    _overlaps,
    _gateways,
    _unique,
    _domains,
    _ports,
    _pairs,
)
