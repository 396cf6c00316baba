"""What HAProxy takes at run time: a country's lists, and whose kept connections end.

Its socket is root's. A list counts for the next handshake; what a revoked certificate has open ends
at its next request, by the entries that the configuration asks for (``templates/haproxy``).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable

from paranal.haproxy import Ask, ask

REVOKED = "virt@revoked"
"""The ACL of ``CC:SERIAL``, one certificate, and ``CC``, a whole country."""

PAYLOAD_MAX = 15000
"""Octets of lists that fit through the socket (tune.bufsize); more goes by a reload."""

RELOAD = ("/usr/bin/systemctl", "reload", "haproxy.service")


def reload() -> None:
    """Have HAProxy read its files again; connections go on in the old process for seconds."""
    subprocess.run(RELOAD, check=True, capture_output=True)  # noqa: S603 - our own words


def load_list(path: str, text: str, ask: Ask = ask, reload: Callable[[], None] = reload) -> None:
    """Have HAProxy use ``text`` for the list that it read from ``path``, if it read one.

    Raises ``OSError`` with HAProxy's own words when it does not take it.
    """
    if path not in ask("show ssl crl-file").splitlines():
        return
    if len(text) > PAYLOAD_MAX:
        reload()
        return
    ask(f"set ssl crl-file {path} <<\n{text}")
    done = ask(f"commit ssl crl-file {path}")
    if "Success" not in done:
        ask(f"abort ssl crl-file {path}")
        raise OSError(f"{path}: {done.splitlines()[-1] if done else '?'}")


def entries(member: str, serials: Iterable[int], is_withdrawn: bool) -> list[str]:
    """Return the entries of ``REVOKED`` for what a member withdrew, as ``ssl_c_serial,hex``."""
    found = [f"{member}:{_hex(serial)}" for serial in sorted(serials)]
    return [member, *found] if is_withdrawn else found


def refuse(wanted: Iterable[str], ask: Ask = ask) -> None:
    """Add what is missing in ``REVOKED``; raises ``OSError`` when HAProxy knows no such ACL."""
    shown = ask(f"show acl {REVOKED}")
    if shown.startswith("Unknown"):
        raise OSError(shown.splitlines()[0])
    held = {line.split()[1] for line in shown.splitlines() if line.startswith("0x")}
    for entry in wanted:
        if entry not in held:
            ask(f"add acl {REVOKED} {entry}")


def _hex(serial: int) -> str:
    digits = f"{serial:X}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"
