"""HAProxy's layer: no new connection of a suspended peer, and no question on one that was kept.

The list of addresses is read at every start and reload, also before the next ``site.yml``; a
running HAProxy is told the same over its socket. It lists only connections with a question under
way; those are ended, and its rules refuse the next question on an idle one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from paranal.haproxy import SOCKET, Ask, ask
from paranal.tunnels.record import replace

FILE = Path("/etc/haproxy/paranal/suspended")
"""Rendered by role query_server from the same view."""
HEADING = "# Suspended here: `paranal suspend` and Ansible (role query_server) write the same."
SERVED = {"alliance": ("person", "operational"), "control": ("control", "strategic")}
"""HAProxy's frontend for peers -> the service behind it, and the channel that they call on."""
_SESSION = re.compile(r"^(0x[0-9a-f]+): .*?\bsrc=(\S+):\d+ fe=(\S+)")


def suspended(view: Mapping[str, Any]) -> list[str]:
    """Return the addresses from which no peer may call, in the order of the view."""
    return [
        peer["addresses"][channel]
        for peer in view["peers"]
        for service, channel in SERVED.values()
        if peer["answers"].get(service) == "suspended"
    ]


def text(view: Mapping[str, Any]) -> str:
    """Return the list as HAProxy reads it; role query_server renders the same.

    It is never empty: a file that a role leaves empty is not there, and HAProxy needs this one.
    """
    return "".join(f"{line}\n" for line in (HEADING, *suspended(view)))


def close(view: Mapping[str, Any], tell: Ask | None = None) -> bool:
    """Write the list and end what is connected; tell whether anything was still to be done.

    What the view suspends no more is taken out of the running list too: the file may have been
    put right before a run got to it, which then has nothing to reload for.

    Raises ``OSError`` when HAProxy is there and cannot be told.
    """
    if not FILE.exists():
        return False
    done, wanted = False, text(view)
    if FILE.read_text(encoding="ascii") != wanted:
        replace(FILE, wanted, FILE.stat().st_mode & 0o777)
        done = True
    if tell is None:
        if not SOCKET.exists():
            return done
        tell = ask
    return _tell_running(suspended(view), tell) or done


def _tell_running(addresses: list[str], tell: Ask) -> bool:
    # Without an open direction to us HAProxy has neither the listener nor the list.
    if f"({FILE})" not in tell("show acl"):
        return False
    known = {ip_address(line.split()[1]) for line in tell(f"show acl {FILE}").splitlines() if line}
    wanted = dict.fromkeys(map(ip_address, addresses))
    changes = [("add", each) for each in wanted if each not in known]
    changes += [("del", each) for each in known - wanted.keys()]
    for what, address in changes:
        tell(f"{what} acl {FILE} {address}")
    kept = sessions(tell("show sess"), addresses)
    for session in kept:
        tell(f"shutdown session {session}")
    return bool(changes or kept)


def sessions(shown: str, addresses: list[str]) -> list[str]:
    """Return HAProxy's numbers of the connections that these addresses hold to a listener."""
    wanted = {ip_address(address) for address in addresses}
    found = (match.groups() for match in map(_SESSION.match, shown.splitlines()) if match)
    return [
        number
        for number, source, frontend in found
        if frontend in SERVED and _address(source) in wanted
    ]


def _address(text: str) -> object:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None
