"""A list that is installed takes effect: no handshake of the revoked, and nothing open goes on.

charon and HAProxy are told at run time; nothing is restarted, and nobody else's tunnel or
connection is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from cryptography import x509

from paranal.control import haproxy
from paranal.haproxy import Ask, ask
from paranal.pki import lists, peers
from paranal.pki.certificates import MALFORMED, names_of
from paranal.pki.lists import News
from paranal.tunnels.charon import Charon, CharonError, IkeSa

TRIES, PAUSE_SECONDS = 5, 0.5
RENEWED_SECONDS = 2.5
"""How long a doubtful IKE_SA may take to authenticate anew before it is ended."""

TURN_SECONDS = 0.1
LEAVE_SECONDS = 1


class Daemon(Protocol):
    """What is asked of charon."""

    def load_list(self, data: bytes) -> None:
        """Take a revocation list."""

    def forget_checked_lists(self) -> None:
        """Drop the copies of lists that peers were checked with."""

    def certificates(self) -> list[dict[str, Any]]:
        """Return the certificates that charon holds, its peers' too."""

    def ike_sas(self) -> list[IkeSa]:
        """Return every IKE_SA."""

    def reauthenticate(self, unique_id: str) -> None:
        """Have one authenticate anew, make-before-break."""

    def end_ike(self, unique_id: str, seconds: int) -> None:
        """End one, after that long also without the peer's word."""


def take_effect(
    news: News,
    serials: frozenset[int],
    identity: str | None,
    charon: Callable[[], AbstractContextManager[Daemon]] = Charon,
    ask: Ask = ask,
) -> list[str]:
    """Make a list count everywhere; return what did not work, after some tries, in words.

    ``serials`` are those whose tunnels are looked for: what the list adds. ``identity`` is what the
    member's gateway calls itself towards us; None for our own list, which our peers act on.
    """
    steps: dict[str, Callable[[], None]] = {
        "HAProxy": lambda: _in_haproxy(news, ask),
        "charon": lambda: _in_charon(news, serials, identity, charon),
    }
    for _ in range(TRIES):
        failed = {name: problem for name, step in steps.items() if (problem := _tried(step))}
        steps = {name: step for name, step in steps.items() if name in failed}
        if not steps:
            return []
        time.sleep(PAUSE_SECONDS)
    return [f"{name}: {problem}" for name, problem in failed.items()]


def _tried(step: Callable[[], None]) -> str:
    try:
        step()
    except (OSError, CharonError) as error:
        return str(error) or type(error).__name__
    return ""


def _in_haproxy(news: News, ask: Ask) -> None:
    one = news.authority
    path = f"{peers.HAPROXY}/{one.member}.crl"
    haproxy.load_list(path, peers.trust_files("haproxy", news.generations)[path], ask)
    wanted = haproxy.entries(one.member, lists.revoked(one), one.is_withdrawn)
    haproxy.refuse(wanted, ask)


def _in_charon(
    news: News,
    serials: frozenset[int],
    identity: str | None,
    charon: Callable[[], AbstractContextManager[Daemon]],
) -> None:
    with charon() as daemon:
        daemon.load_list(lists.der(news.crl))
        daemon.forget_checked_lists()
        if identity is None:
            return
        mine = [sa for sa in daemon.ike_sas() if sa.remote_id == identity]
        known = certificates_in(daemon.certificates())
        leaves = {one.serial_number for one in known if identity in names_of(one)}
        # charon remembers 32 certificates and lists, and forgets any of them for the next one, also
        # the leaf of a tunnel that is up: one that it does not know may be that one.
        unknown = serials - {one.serial_number for one in known}
        if news.authority.is_withdrawn or (
            leaves & serials and leaves <= lists.revoked(news.authority)
        ):
            for sa in mine:
                daemon.end_ike(sa.unique_id, LEAVE_SECONDS)
        elif leaves & serials or unknown:
            _doubted(daemon, mine)
        # A peer that was being checked meanwhile has left a copy of the old list again.
        daemon.forget_checked_lists()


def certificates_in(held: Iterable[Mapping[str, Any]]) -> list[x509.Certificate]:
    """Return the certificates that charon remembers and that can be read, names and all."""
    found = []
    for entry in held:
        try:
            certificate = x509.load_der_x509_certificate(entry["data"])
            names_of(certificate)
        except MALFORMED:
            continue
        found.append(certificate)
    return found


def _doubted(daemon: Daemon, sas: list[IkeSa]) -> None:
    """Have IKE_SAs authenticate anew, which only a good certificate can; end those that do not.

    charon does not say which certificate an IKE_SA was made with: after a rotation it has met two.
    """
    for sa in sas:
        daemon.reauthenticate(sa.unique_id)
    left = {sa.unique_id for sa in sas}
    deadline = time.monotonic() + RENEWED_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(TURN_SECONDS)
        left &= {sa.unique_id for sa in daemon.ike_sas()}
    for unique_id in left:
        daemon.end_ike(unique_id, LEAVE_SECONDS)
