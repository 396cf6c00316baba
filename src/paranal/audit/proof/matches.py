"""What one match of a rule asks, in nft's numeric JSON, as a condition on a packet.

Only what our rules use is understood. Whatever else is met is :class:`Unknown`, never passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paranal.audit.proof import values
from paranal.audit.proof.values import FIELDS, TRACKED, Condition, Values

Sets = Mapping[str, Mapping[str, Any]]
"""Named sets by ``@name``, as nft lists them."""

WAY = {"iif", "oif", "decrypted", "encrypted", "return_path"}
"""Fields of a packet's way, that not every hook sees."""

_STATES = {1: ("invalid",), 2: ("established",), 4: ("related",), 8: ("new",), 64: ("untracked",)}


NOTHING: Condition = {"source": Values(())}
"""What no packet meets: an empty set."""


class Unknown(Exception):
    """What is not understood: one argument, nft's JSON of it."""


def reject(content: Mapping[str, Any] | None) -> Condition:
    """Return what nft adds by itself: a reject of one family or of TCP answers nothing else."""
    added: dict[str, Condition] = {
        "icmp": {"source": values.IPV4},
        "icmpv6": {"source": values.IPV6},
        "tcp reset": {"protocol": Values.of(values.TCP)},
    }
    return added.get((content or {}).get("type", ""), {})


def marks_home(content: Mapping[str, Any], condition: Condition) -> bool:
    """Say whether a statement marks what comes by ``lo`` alone.

    Elsewhere a mark could choose a route or a kernel policy that the proof does not see.
    """
    by_lo = condition.get("iif") == Values.of(values.interface("lo"))
    return by_lo and content["key"] == {"meta": {"key": "mark"}}


def match(content: Mapping[str, Any], sets: Sets) -> Condition:
    """Return what a match asks, with what nft adds by itself (``tcp dport`` is of TCP only)."""
    left, right, operator = content["left"], content["right"], content["op"]
    kind, asked = next(iter(left.items()))
    if kind == "&" and operator in ("==", "!="):
        return _masked(asked, right, operator)
    field, guard = _field(kind, asked)
    guard = {field: FIELDS[field], **guard}
    if field == "tracked":
        allowed = _tracked(asked["key"], right, operator)
    elif isinstance(right, bool):
        allowed = (FIELDS[field] - Values.of(0)) if right else Values.of(0)
        if operator != "==" or guard[field] != FIELDS[field]:
            raise Unknown(content)
    elif operator in ("==", "!="):
        listed = _listed(field, right, sets)
        allowed = listed if operator == "==" else FIELDS[field] - listed
    else:
        raise Unknown(content)
    return {**guard, field: guard[field] & allowed}


def alternatives(content: Mapping[str, Any], sets: Sets) -> list[Condition]:
    """Return what a match asks, any one of which is enough.

    ``ip saddr . tcp dport @SET`` asks for the pair of one element, and no box holds several.
    """
    left, right = content["left"], content["right"]
    if "concat" not in left:
        return [match(content, sets)]
    found = sets.get(right) if isinstance(right, str) else None
    if found is None or content["op"] != "==" or _comes_and_goes(found):
        raise Unknown(content)
    asked: list[Condition] = [
        all_of(
            match({"op": "==", "left": field, "right": value}, {})
            for field, value in zip(left["concat"], element["concat"], strict=True)
        )
        for element in found.get("elem", [])
    ]
    return asked or [NOTHING]


def all_of(conditions: Iterable[Condition]) -> dict[str, Values]:
    """Return what all of these ask together."""
    whole: dict[str, Values] = {}
    for condition in conditions:
        for field, allowed in condition.items():
            whole[field] = whole.get(field, FIELDS[field]) & allowed
    return whole


def _comes_and_goes(found: Mapping[str, Any]) -> bool:
    """Tell whether a set's elements come and go by themselves: nothing to prove with."""
    return bool({"dynamic", "timeout"} & {*found.get("flags", ())} or found.get("map"))


_OF_PROTOCOL = {
    ("tcp", "sport"): ("sport", values.TCP),
    ("tcp", "dport"): ("dport", values.TCP),
    ("udp", "sport"): ("sport", values.UDP),
    ("udp", "dport"): ("dport", values.UDP),
    ("icmp", "type"): ("icmp_type", values.ICMP),
    ("icmp", "code"): ("icmp_code", values.ICMP),
    ("icmpv6", "type"): ("icmp_type", values.ICMPV6),
    ("icmpv6", "code"): ("icmp_code", values.ICMPV6),
}
_OF_FAMILY = {"ip": values.IPV4, "ip6": values.IPV6, "icmp": values.IPV4, "icmpv6": values.IPV6}
_ADDRESSES = {"saddr": "source", "daddr": "destination"}
_META = {"iifname": "iif", "oifname": "oif", "l4proto": "protocol", "ipsec": "decrypted"}


def _field(kind: str, content: Any) -> tuple[str, Condition]:  # noqa: ANN401 - nft's JSON
    """Return the field of an expression, and what must hold for nft to find it at all."""
    if kind == "payload" and "field" in content:
        protocol, name = content["protocol"], content["field"]
        if (protocol, name) in _OF_PROTOCOL:
            field, number = _OF_PROTOCOL[protocol, name]
            there = values.PORTS if field in ("sport", "dport") else values.OCTETS
            guard = {"protocol": Values.of(number), field: there}
            if protocol in _OF_FAMILY:
                guard["source"] = _OF_FAMILY[protocol]
            return field, guard
        if protocol in ("ip", "ip6") and name in _ADDRESSES:
            return _ADDRESSES[name], {_ADDRESSES[name]: _OF_FAMILY[protocol]}
        if (protocol, name) == ("ip6", "hoplimit"):
            return "hops", {"source": values.IPV6}
    if kind == "meta":
        if content["key"] in _META:
            return _META[content["key"]], {}
        if content["key"] in ("iif", "oif"):
            return content["key"], {}
    if kind == "ct" and content["key"] in ("state", "direction"):
        return "tracked", {}
    if kind == "rt" and content == {"key": "ipsec"}:
        return "encrypted", {}
    if kind == "fib" and content["result"] == "oif" and set(content["flags"]) == {"saddr", "iif"}:
        return "return_path", {}
    if kind == "ipsec" and content["spnum"] == 0:
        way = {("in", "saddr"): "decrypted", ("out", "daddr"): "encrypted"}
        if (field := way.get((content["dir"], content["key"]), "")) and content[
            "family"
        ] in _OF_FAMILY:
            spans = ((a + 1, b + 1) for a, b in _OF_FAMILY[content["family"]].spans)
            return field, {field: Values.union(spans)}
    raise Unknown({kind: content})


def _tracked(key: str, right: Any, operator: str) -> Values:  # noqa: ANN401 - nft's JSON
    """Return what connection tracking must say for a state or a direction."""
    asked = _bits(right)
    if key == "direction" and operator == "==" and asked in ({0}, {1}):
        words: tuple[str, ...] = (("original", "reply")[asked.pop()],)
        # A connection's first packets go its original way, whatever else is said of them.
        words += ("new",) if words == ("original",) else ()
    elif key == "state" and operator == "in" and asked <= _STATES.keys():
        words = tuple(word for bit in asked for word in _STATES[bit])
    else:
        raise Unknown({"ct": {"key": key}, "op": operator, "right": right})
    return Values.of(*(number for name, number in TRACKED.items() if {*name.split()} & {*words}))


def _masked(content: list[Any], right: Any, operator: str) -> Condition:  # noqa: ANN401 - nft's JSON
    """Return which TCP flags a masked comparison allows."""
    left, mask = content
    if left != {"payload": {"protocol": "tcp", "field": "flags"}}:
        raise Unknown({"&": content})
    bits, wanted = (sum(_bits(each)) for each in (mask, right))
    same = Values.of(*(flags for flags in range(256) if flags & bits == wanted))
    allowed = same if operator == "==" else values.OCTETS - same
    return {"protocol": Values.of(values.TCP), "tcp_flags": allowed}


def _bits(value: Any) -> set[int]:  # noqa: ANN401 - nft's JSON
    """Return the bits that a value names: nft 1.0 lists them, nft 1.1 writes ``{"|": [..]}``."""
    several = value.get("|") if isinstance(value, Mapping) else value
    if isinstance(several, list):
        return set().union(*map(_bits, several))
    if isinstance(several, int) and not isinstance(several, bool):
        return {several}
    raise Unknown(value)


def _listed(field: str, right: Any, sets: Sets) -> Values:  # noqa: ANN401
    """Return the values that the right side of a comparison names."""
    if isinstance(right, str) and right in sets:
        found = sets[right]
        if _comes_and_goes(found):
            raise Unknown(right)
        return _listed(field, {"set": found.get("elem", [])}, {})
    if isinstance(right, Mapping) and "set" in right:
        listed = Values(())
        for each in right["set"]:
            listed = listed | _listed(field, each, {})
        return listed
    if isinstance(right, Mapping) and "prefix" in right and field in _ADDRESSES.values():
        return values.network(f"{right['prefix']['addr']}/{right['prefix']['len']}")
    if isinstance(right, Mapping) and "range" in right:
        first, last = (_one(field, each) for each in right["range"])
        return Values(((first, last),))
    return Values.of(_one(field, right))


def _one(field: str, value: Any) -> int:  # noqa: ANN401 - nft's JSON
    try:
        if field in ("iif", "oif") and isinstance(value, str) and not value.endswith("*"):
            return values.interface(value)
        if field in ("source", "destination") and isinstance(value, str):
            return values.address(value)
        if field in ("decrypted", "encrypted") and isinstance(value, str):
            return values.gateway(value)
        if field not in WAY and isinstance(value, int) and not isinstance(value, bool):
            return value
    except ValueError:
        pass
    raise Unknown({field: value})
