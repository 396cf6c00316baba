"""What a service of a node signs and opens, as its own account (``on_node/envelopes.py``)."""

from __future__ import annotations

from typing import Any

from testinfra.host import Host

from tests.mesh.support import as_account

ASKER, ANSWERER = "/etc/paranal/signing/asker.pem", "/etc/paranal/signing/answerer.pem"
ACCOUNTS = {ASKER: "paranal-national", ANSWERER: "paranal-alliance"}
"""File of a signing key, leaf and issuing CA -> the account that signs with it."""

TYP = "paranal-test+jws"
"""The kind of every envelope of these tests."""

Claimed = tuple[str, str]
"""An envelope, and the code of the member who must have signed it."""


def signed(node: Host, payload: str, file: str = ASKER, account: str = "") -> str:
    """Return the envelope that a service's account signs, or the code that refuses it."""
    who = account or ACCOUNTS[file]
    found: str = as_account(node, who, "envelopes", typ=TYP, sign={file: payload})[file]
    return found


def opened(
    node: Host, envelopes: dict[str, Claimed], account: str = "paranal-alliance"
) -> dict[str, str]:
    """Return the payload of each envelope by name, or the code that refuses it."""
    found: dict[str, str] = as_account(node, account, "envelopes", typ=TYP, open=envelopes)
    return found


def opened_until(node: Host, name: str, envelopes: dict[str, Claimed]) -> dict[str, Any]:
    """Open all until one is refused; return when, and what the last turn gave of each."""
    found: dict[str, Any] = as_account(
        node, "paranal-alliance", "envelopes", typ=TYP, open=envelopes, until=name
    )
    return found
