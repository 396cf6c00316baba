"""What a node's kernel holds of IPsec, read from `ip xfrm` and /proc; keys are never asked for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from testinfra.host import Host


@dataclass(frozen=True)
class State:
    """One SA of the kernel, with ``text`` as `ip -statistics xfrm state` shows it."""

    source: str
    target: str
    spi: str
    text: str

    def number(self, name: str) -> int:
        """Return the number that stands after a word of the text."""
        found = re.search(rf"{re.escape(name)} ?(\d+)", self.text)
        assert found, f"{name}: {self.text}"
        return int(found[1])


def states(node: Host) -> dict[str, State]:
    """Return every SA by its SPI (eight hexadecimal digits, as charon writes it)."""
    shown = node.check_output("ip -statistics xfrm state list nokeys")
    found = {}
    for text in re.split(r"(?m)^(?=src )", shown)[1:]:
        head = re.search(r"src (\S+) dst (\S+)\s+proto esp spi 0x([0-9a-f]{8})", text)
        assert head, text
        found[head[3]] = State(head[1], head[2], head[3], text)
    return found


def policies(node: Host) -> dict[tuple[str, str, str], str]:
    """Return the policies but for sockets' own: (direction, source, target) -> their text."""
    shown = node.check_output("ip xfrm policy list nosock")
    found = {}
    for text in re.split(r"(?m)^(?=src )", shown)[1:]:
        head = re.search(r"src (\S+) dst (\S+).*?dir (\w+)", text, re.DOTALL)
        assert head, text
        found[head[3], head[1], head[2]] = text
    return found


def errors(node: Host) -> dict[str, int]:
    """Return /proc/net/xfrm_stat: counter -> packets."""
    lines = node.file("/proc/net/xfrm_stat").content_string.splitlines()
    return {name: int(number) for name, number in (line.split() for line in lines)}


def risen(node: Host, before: dict[str, int]) -> dict[str, int]:
    """Return the error counters that have risen since ``before``, and by how much."""
    now = errors(node)
    return {name: now[name] - before[name] for name in now if now[name] != before[name]}


def rules(node: Host, chain: str) -> dict[str, int]:
    """Return how many packets each counted rule of a chain of ours has accepted, by comment."""
    listed = json.loads(node.check_output("nft --json list chain inet paranal %s", chain))
    found: dict[str, int] = {}
    for entry in listed["nftables"]:
        rule: dict[str, Any] = entry.get("rule", {})
        counters = [word["counter"] for word in rule.get("expr", []) if "counter" in word]
        if rule.get("comment") and counters and isinstance(counters[0], dict):
            found[rule["comment"]] = found.get(rule["comment"], 0) + counters[0]["packets"]
    return found
