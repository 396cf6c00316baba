"""Network namespaces of a test's own, and in them two ends with a router between."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from paranal.lab.relay import LINK_PREFIX

ENDS = {4: ("198.51.100.18", "203.0.113.18"), 6: ("2001:db8:1::18", "2001:db8:2::18")}
"""The addresses of client and server, by family."""
ROUTERS = {4: ("198.51.100.17", "203.0.113.17"), 6: ("2001:db8:1::17", "2001:db8:2::17")}
LENGTHS = {4: 28, 6: 64}
ROUTER = (
    *("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"),
    *("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"),
)


@dataclass(frozen=True)
class Namespaces:
    """Some namespaces: part -> the name that ``ip netns`` knows."""

    names: dict[str, str]

    def words(self, part: str, *words: str) -> tuple[str, ...]:
        """Return the command that runs words in one of them."""
        return ("ip", "netns", "exec", self.names[part], *words)

    def run(self, part: str, *words: str, given: str = "") -> str:
        """Run words in one of them, which have to succeed; return what they printed."""
        return _run(*self.words(part, *words), given=given)


def _run(*words: str, given: str = "") -> str:
    done = subprocess.run(  # noqa: S603 - our own words
        words, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (words, done.stderr, done.stdout)
    return done.stdout


@contextmanager
def namespaces(name: str, *parts: str) -> Iterator[Namespaces]:
    """Make one for each part, and leave none.

    An address in them is there at once: nobody is asked first whether it is taken.
    """
    made = Namespaces({part: f"{name}-{part}-{os.getpid()}" for part in parts})
    for part, space in made.names.items():
        _run("ip", "netns", "add", space)
        made.run(part, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    try:
        yield made
    finally:
        for space in made.names.values():
            _run("ip", "netns", "del", space)


@contextmanager
def routed(name: str) -> Iterator[Namespaces]:
    """Let ``client`` and ``server`` reach each other, in both families, through ``wan``."""
    with namespaces(name, "client", "wan", "server") as made:
        made.run("wan", "sysctl", "-qw", *ROUTER)
        for side, part in enumerate(("client", "server")):
            link = f"{LINK_PREFIX}{part}"
            pair = ("type", "veth", "peer", "name", "wan", "netns", made.names[part])
            made.run("wan", "ip", "link", "add", link, *pair)
            made.run("wan", "ip", "link", "set", link, "up")
            made.run(part, "ip", "link", "set", "wan", "up")
            for family, bits in LENGTHS.items():
                near, far = ROUTERS[family][side], ENDS[family][side]
                made.run("wan", "ip", "address", "add", f"{near}/{bits}", "dev", link)
                made.run(part, "ip", "address", "add", f"{far}/{bits}", "dev", "wan")
                made.run(part, "ip", f"-{family}", "route", "add", "default", "via", near)
        yield made
