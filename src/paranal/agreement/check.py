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
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, Any

from paranal.agreement.source import FieldPath, Source
from paranal.messages import Refusal

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SMALLEST_PREFIX_LENGTH = {4: 8, 6: 32}
"""By family: anything wider would capture other people's addresses.

The whole of 10.0.0.0/8 is private; a /32 is the least that a registry allocates to one operator, so
that two operators' addresses never share one.
"""

NOT_UNICAST = (
    *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
    *("::/3", "2001::/23", "2002::/16", "4000::/2", "8000::/2", "c000::/3", "e000::/4"),
    *("f000::/5", "f800::/6", "fe00::/7"),
)
"""This host, loopback, link-local, multicast, reserved and broadcast (RFC 6890).

Of IPv6 everything but 2000::/3 and fc00::/7 (RFC 4291, RFC 4193): so neither an IPv4 address in
disguise (``::ffff:0:0/96``, ``64:ff9b::/96``) nor, inside 2000::/3, a tunnel's (Teredo, 6to4).
"""


def problems(source: Source) -> Iterator[Refusal]:
    """Yield every problem of the agreement; nothing when it is sound.

    The checks after the schema run only when the schema holds, since they rely on the shapes.
    """
    found = list(shape_problems(source, "agreement", "PAR-0102"))
    if found:
        yield from found
        return
    for check in _CHECKS:
        yield from check(source)


def member_problems(source: Source) -> Iterator[Refusal]:
    """Yield what is wrong with members alone, before there is an agreement that has them.

    Of the document only ``domain`` and ``members`` are there, and their shape holds.
    """
    for check in _MEMBER_CHECKS:
        yield from check(source)


@cache
def _validator(shape: str) -> Draft202012Validator:
    # Here, because a node derives connections from its view and never checks an agreement: the
    # import costs a seventh of a second, and timers run on every node.
    from jsonschema import Draft202012Validator, FormatChecker

    agreement, schema = (_schema(name) for name in ("agreement", shape))
    whole = {**schema, "$defs": agreement["$defs"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def _schema(shape: str) -> dict[str, Any]:
    text = files(__package__).joinpath(f"{shape}.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def shape_problems(source: Source, shape: str, code: str) -> Iterator[Refusal]:
    """Yield every breach of a schema (``agreement``, ``card``, ``facts``) as refusal ``code``."""
    for error in _validator(shape).iter_errors(source.data):
        field: FieldPath = tuple(error.absolute_path)
        name = ".".join(map(str, field)) or shape
        if error.validator == "not":
            if not isinstance(error.instance, str):
                continue  # its type is wrong, which has a sentence of its own
            reason = f"{json.dumps(error.instance, ensure_ascii=False)}: forbidden character"
        else:
            reason = error.message
        yield Refusal(code, where=source.where(field), field=name, reason=reason)


def _networks(source: Source) -> Iterator[Refusal]:
    for code, member in source.data["members"].items():
        base: FieldPath = ("members", code)
        prefix, prefix_text = None, member["inner_prefix"]
        try:
            prefix = ip_network(prefix_text)
        except ValueError as error:
            yield _unusable(source, (*base, "inner_prefix"), "PAR-0108", prefix_text, reason=error)
        else:
            yield from _prefix(source, (*base, "inner_prefix"), prefix_text, prefix)
        for field in (("wan_address",), *(("addresses", name) for name in member["addresses"])):
            text = member[field[0]] if len(field) == 1 else member[field[0]][field[1]]
            yield from _address(source, (*base, *field), text, prefix)


def _prefix(source: Source, field: FieldPath, text: str, prefix: Network) -> Iterator[Refusal]:
    smallest = SMALLEST_PREFIX_LENGTH[prefix.version]
    if prefix.prefixlen < smallest:
        yield _unusable(source, field, "PAR-0114", text, smallest=smallest)
    elif not _reachable(prefix):
        yield _unusable(source, field, "PAR-0115", text)
    yield from _spelling(source, field, text, prefix)


def _address(
    source: Source, field: FieldPath, text: str, prefix: Network | None
) -> Iterator[Refusal]:
    try:
        address = ip_address(text)
    except ValueError as error:
        yield _unusable(source, field, "PAR-0108", text, reason=error)
        return
    if not _reachable(address):
        yield _unusable(source, field, "PAR-0115", text)
    yield from _spelling(source, field, text, address)
    if prefix is not None and "addresses" in field and address not in prefix:
        yield _unusable(source, field, "PAR-0116", text, prefix=prefix)


def _spelling(
    source: Source, field: FieldPath, text: str, place: Address | Network
) -> Iterator[Refusal]:
    """Refuse all but the one spelling in which daemons and kernels show it: we compare texts."""
    if text != str(place):
        yield _unusable(source, field, "PAR-0136", text, canonical=place)


def _gateways(source: Source) -> Iterator[Refusal]:
    """Refuse a gateway inside anybody's inner prefix: its packets would go into a tunnel."""
    for code, member in source.data["members"].items():
        text = member["wan_address"]
        for _, prefix in _prefixes(source):
            try:
                inside = ip_address(text) in prefix
            except ValueError:
                continue  # _networks has named it
            if inside:
                field: FieldPath = ("members", code, "wan_address")
                yield _unusable(source, field, "PAR-0117", text, prefix=prefix)


def _families(source: Source) -> Iterator[Refusal]:
    """Refuse a second family outside (gateways) or inside: all members share one of each.

    The first member sets both. A rule set, a selector and a route know one family each.
    """
    agreed: dict[str, tuple[int, str]] = {}
    for code, member in source.data["members"].items():
        values: dict[FieldPath, str] = {
            (key,): member[key] for key in ("wan_address", "inner_prefix")
        }
        values |= {("addresses", name): text for name, text in member["addresses"].items()}
        for field, text in values.items():
            side = "wan_address" if field == ("wan_address",) else "inner_prefix"
            with suppress(ValueError):  # _networks has named it
                version = ip_network(text, strict=False).version
                first, other = agreed.setdefault(side, (version, f"members.{code}.{side}"))
                if version != first:
                    place = ("members", code, *field)
                    yield _unusable(source, place, "PAR-0135", text, other=other, version=first)


def _reachable(place: Address | Network) -> bool:
    return not any(ip_network(place).overlaps(ip_network(other)) for other in NOT_UNICAST)


def _prefixes(source: Source) -> Iterator[tuple[str, Network]]:
    """Yield each member's code and inner prefix, but for those that ``_networks`` has named."""
    for code, member in source.data["members"].items():
        with suppress(ValueError):
            yield code, ip_network(member["inner_prefix"])


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
        profile = pair["crypto_profile"]
        if profile == "ppk" and "ppk" not in pair:
            yield _pair_refused(source, field, "PAR-0130", first, second)
        if profile != "ppk" and "ppk" in pair:
            place = (*field, "ppk")
            yield _pair_refused(source, place, "PAR-0131", first, second, profile=profile)
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


_MEMBER_CHECKS: tuple[Callable[[Source], Iterator[Refusal]], ...] = (
    _networks,
    _families,
    _overlaps,
    _gateways,
    _unique,
    _domains,
)
_CHECKS = (*_MEMBER_CHECKS, _ports, _pairs)
