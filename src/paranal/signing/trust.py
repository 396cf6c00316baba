"""The authorities that envelopes are judged by, followed as control and site.yml replace them.

They are HAProxy's ``CC-ca.pem`` and ``CC.crl``: ``control`` puts a new list there in the step in
which it keeps it, and a country with nothing open has no file there, so it is not trusted.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from paranal.messages import Refusal
from paranal.pki import peers
from paranal.serving.files import Watched
from paranal.serving.view import Member
from paranal.signing.envelope import Sender

FOLDER = Path(peers.HAPROXY)


class Senders:
    """Each member as the sender of an envelope, by what is trusted at this moment."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """``folder`` holds each member's ``CC-ca.pem`` and ``CC.crl``."""
        self._folder = folder
        self._held = cache(self._watched)

    def __call__(self, member: Member) -> Sender:
        """Return a member with its newest lists; refuses (PAR-0469) when it cannot be trusted."""
        code = member.code
        try:
            held = self._held(code, member.domain)()
            return Sender(code, member.identities["signing"], held)
        except (OSError, KeyError, Refusal) as error:
            reason = error.code if isinstance(error, Refusal) else type(error).__name__
            raise Refusal("PAR-0469", member=code, reason=reason) from None

    def _watched(self, code: str, domain: str) -> Watched[tuple[peers.PublicAuthority, ...]]:
        files = [self._folder / f"{code}-ca.pem", self._folder / f"{code}.crl"]
        return Watched(files, lambda: tuple(peers.served(code, domain, self._folder)))
