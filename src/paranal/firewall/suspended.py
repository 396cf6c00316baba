"""What is suspended here, as elements of our table's sets: one text for every way to load it.

The rules themselves read ``FILE`` at their end, so that a boot, ``paranal firewall heal``, an apply
and its way back all have it in their own transaction (``templates/nft/firewall.nft.j2``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from paranal.agreement.derive import CHANNELS
from paranal.status.bounded import Unreadable
from paranal.tunnels.record import replace

FILE = Path("/var/lib/paranal/node/suspended.nft")
LIST = ("nft", "--json", "list", "table", "inet", "paranal")
Run = Callable[[Sequence[str], str | None], str]
Elements = dict[str, list[tuple[Any, ...]]]
SETS = ("suspended_channels", "suspended_asks", "suspended_answers")


def elements(view: Mapping[str, Any]) -> Elements:
    """Return the elements of each set: (address,) of a closed channel, (address, port) of a flow.

    ``view`` is narrowed already. A channel is closed to all when one of its services is suspended
    and none is open: also path MTU errors have nothing to say there any more.
    """
    found: Elements = {name: [] for name in SETS}
    for peer in view["peers"]:
        channels = set()
        for name, service in view["services"].items():
            channel, address = service["channel"], peer["addresses"][service["channel"]]
            for way in ("asks", "answers"):
                if peer[way][name] == "suspended":
                    found[f"suspended_{way}"].append((address, service["port"]))
                    channels.add(channel)
        closed = [one for one in CHANNELS if one in channels - set(peer["pair"]["channels"])]
        found["suspended_channels"] += [(peer["addresses"][one],) for one in closed]
    return found


def text(view: Mapping[str, Any]) -> str:
    """Return nft's words that make the sets exactly what the view suspends."""
    lines = []
    for name, each in elements(view).items():
        lines.append(f"flush set inet paranal {name}")
        listed = ", ".join(" . ".join(str(value) for value in element) for element in each)
        lines += [f"add element inet paranal {name} {{ {listed} }}"] if listed else []
    return "\n".join(lines) + "\n"


def due(view: Mapping[str, Any]) -> bool:
    """Tell whether there is anything to keep, or to take away again."""
    return any(elements(view).values()) or FILE.exists()


def keep(view: Mapping[str, Any], run: Run) -> bool:
    """Write the file and fill the kernel's sets; tell whether anything was still to be done.

    The file comes first: whatever loads the rules from then on closes it. Without our table there
    is nothing to fill. Raises ``Unreadable`` when nft refuses.
    """
    wanted = text(view)
    done = not FILE.exists() or FILE.read_text(encoding="ascii") != wanted
    if done:
        replace(FILE, wanted, 0o600)
    try:
        shown = run(LIST, None)
    except Unreadable as refused:
        if "No such file or directory" in str(refused):
            return done
        raise
    if in_kernel(json.loads(shown)["nftables"]) == _comparable(elements(view)):
        return done
    run(("nft", "--file", "-"), wanted)
    return True


def in_kernel(items: Sequence[Mapping[str, Any]]) -> dict[str, set[tuple[Any, ...]]]:
    """Return the elements of our sets from nft's JSON of the table, comparable with ``elements``.

    A table of before these sets has none of them: filling it is refused, and rightly so.
    """
    found: dict[str, set[tuple[Any, ...]]] = {}
    for item in items:
        one = item.get("set", {})
        if one.get("name") in SETS:
            listed = one.get("elem", [])
            found[one["name"]] = {_tuple(each) for each in listed}
    return found


def _tuple(element: Any) -> tuple[Any, ...]:  # noqa: ANN401 - nft's JSON
    address, *port = element["concat"] if isinstance(element, Mapping) else [element]
    return (ip_address(address), *port)


def _comparable(found: Elements) -> dict[str, set[tuple[Any, ...]]]:
    return {name: {(ip_address(a), *port) for a, *port in each} for name, each in found.items()}
