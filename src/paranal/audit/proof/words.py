"""Say in both languages what was proved, and which packet broke it."""

from __future__ import annotations

from typing import Any

from paranal.audit.proof import values
from paranal.audit.proof.prove import Counterexample
from paranal.audit.proof.values import TRACKED, address_text, interface_name

Words = tuple[str, str]

PROPERTIES: dict[str, Words] = {
    "clear-in": (
        "nada de la alianza entra en claro",
        "nothing of the alliance comes in in the clear",
    ),
    "foreign-in": (
        "nada entra con la dirección de un miembro por el túnel de otro",
        "nothing comes in with one member's address through another's tunnel",
    ),
    "closed-in": (
        "por los túneles solo entra lo que un sentido abierto necesita",
        "out of the tunnels comes only what an open direction needs",
    ),
    "forward": ("nada se reenvía", "nothing is forwarded"),
    "clear-out": (
        "nada de la alianza sale en claro",
        "nothing of the alliance leaves in the clear",
    ),
    "foreign-out": (
        "nada para un miembro sale por el túnel de otro",
        "nothing for one member leaves through another's tunnel",
    ),
    "closed-out": (
        "por los túneles solo sale lo que un sentido abierto necesita",
        "into the tunnels goes only what an open direction needs",
    ),
    "open-in": (
        "lo que un sentido abierto necesita entra",
        "what an open direction needs comes in",
    ),
    "open-out": ("lo que un sentido abierto necesita sale", "what an open direction needs leaves"),
    "selectors": (
        "cada túnel lleva las dos direcciones de su par y su canal, y ninguna más",
        "each tunnel carries the two addresses of its pair and channel, and no others",
    ),
}
"""Property -> what it says, Spanish and English."""

_PROTOCOLS = {
    values.ICMP: "ICMP",
    values.TCP: "TCP",
    values.UDP: "UDP",
    values.ESP: "ESP",
    values.ICMPV6: "ICMPv6",
}
_STATES = {number: name for name, number in TRACKED.items()}


def by(plane: str, key: str) -> Words:
    """Return what keeps a property: the rules alone, or charon's own check with them."""
    if key == "selectors":
        return ("swanctl", "swanctl")
    if plane == "userspace" and key.startswith("foreign"):
        return ("nft y la comprobación de charon", "nft and charon's check")
    return ("nft", "nft")


def fields(found: Counterexample) -> dict[str, Any]:
    """Return the packet as plain data, without the fields that its protocol does not have."""
    packet = found.packet
    data: dict[str, Any] = {
        "path": found.path,
        "source": address_text(packet["source"]),
        "destination": address_text(packet["destination"]),
        "protocol": packet["protocol"],
    }
    if packet["protocol"] in (values.TCP, values.UDP):
        data |= {each: packet[each] for each in ("sport", "dport")}
    if packet["protocol"] == values.TCP:
        data["tcp_flags"] = packet["tcp_flags"]
    if packet["protocol"] in (values.ICMP, values.ICMPV6):
        data |= {each: packet[each] for each in ("icmp_type", "icmp_code")}
    if found.path == "selectors":
        return data
    data["hops"], data["tracked"] = packet["hops"], _STATES[packet["tracked"]]
    for way in ("iif", "oif"):
        if packet[way]:
            data[way] = interface_name(packet[way])
    for tunnel in ("decrypted", "encrypted"):
        data[tunnel] = address_text(packet[tunnel] - 1) if packet[tunnel] else None
    return data


def sentence(found: Counterexample) -> Words:
    """Return the packet in words."""
    data = fields(found)
    what = _PROTOCOLS.get(data["protocol"], str(data["protocol"]))
    if "icmp_type" in data:
        what += f" {data['icmp_type']}/{data['icmp_code']}"
    ends = [_end(data, "source", "sport"), _end(data, "destination", "dport")]
    spanish, english = f"{what} {' → '.join(ends)}", f"{what} {' → '.join(ends)}"
    if found.path == "selectors":
        return spanish, english
    spanish += f", ct {data['tracked']}"
    english += f", ct {data['tracked']}"
    if "iif" in data:
        spanish += f", entra por «{data['iif']}» {_came(data['decrypted'])[0]}"
        english += f", in on '{data['iif']}' {_came(data['decrypted'])[1]}"
    if "oif" in data:
        spanish += f", sale por «{data['oif']}» {_goes(data['encrypted'])[0]}"
        english += f", out on '{data['oif']}' {_goes(data['encrypted'])[1]}"
    return spanish, english


def _end(data: dict[str, Any], place: str, port: str) -> str:
    if port not in data:
        return str(data[place])
    shown = "-" if data[port] == values.NO_PORT else data[port]
    return f"[{data[place]}]:{shown}" if ":" in data[place] else f"{data[place]}:{shown}"


def _came(tunnel: str | None) -> Words:
    if tunnel is None:
        return ("en claro", "in the clear")
    return (f"descifrado del túnel de {tunnel}", f"decrypted from the tunnel of {tunnel}")


def _goes(tunnel: str | None) -> Words:
    if tunnel is None:
        return ("en claro", "in the clear")
    return (f"cifrado hacia {tunnel}", f"encrypted to {tunnel}")
