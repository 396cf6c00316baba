"""Pure functions from the agreement to one member's half of it: the view.

The shape of a view is fixed in ``docs/architecture.md``. Nothing about a peer is typed twice:
roles, the query server and the audit read the same view.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from paranal.agreement.load import Agreement, canonical_digest
from paranal.messages import Refusal

STATUSES = ("live", "trial", "suspended", "pending")
"""Every status, in rising strictness.

``pending`` is the strictest: what was never in service cannot be suspended, and must not be
mistaken for something that an officer should see as missing.
"""

CHANNELS = ("operational", "strategic")
"""The two CHILD_SAs of a pair."""


OURS, FOREIGN = "paranal", "foreign"
"""Who provisions a member's gateway: this project (which need not be said) or somebody else."""


def is_open(status: str) -> bool:
    """Tell whether traffic of this status passes at all (live, or trial for test identities)."""
    return status in ("live", "trial")


def effective(*statuses: str) -> str:
    """Return the strictest of the statuses (both members', the direction's and the service's)."""
    return max(statuses, key=STATUSES.index)


def direction_status(agreement: Agreement, asker: str, answerer: str, service: str) -> str:
    """Return the effective status of one direction and service; undeclared counts as pending."""
    document = agreement.document
    pair = _pair(agreement, asker, answerer)
    declared = pair["directions"][f"{asker}>{answerer}"]["services"].get(service, "pending")
    return effective(
        agreement.members[asker]["status"],
        agreement.members[answerer]["status"],
        document["services"][service]["status"],
        declared,
    )


def member_view(
    agreement: Agreement, code: str, wan_local_address: str | None = None
) -> dict[str, Any]:
    """Return what member ``code`` needs to know, as plain JSON data (shape: docs/architecture.md).

    ``wan_local_address`` is a national fact that no peer needs: the address that the gateway itself
    has where a 1:1 translation stands before it; by default it has the agreement's.
    Raises ``Refusal`` PAR-0106 when ``code`` is not a member, PAR-0143 for a wrong local address.
    """
    document = agreement.document
    if code not in agreement.members:
        known = ", ".join(agreement.members)
        raise Refusal("PAR-0106", where=str(agreement.path), member=code, members=known)
    peers = [_peer(agreement, code, peer) for peer in sorted(agreement.members) if peer != code]
    head = {key: document[key] for key in ("schema", "alliance", "domain", "epoch", "catalogue")}
    return {
        **head,
        "digest": agreement.digest,
        "services": document["services"],
        "member": {
            **_member(agreement, code),
            "wan_local_address": _wan_local_address(agreement, code, wan_local_address),
        },
        "peers": peers,
    }


def _wan_local_address(agreement: Agreement, code: str, text: str | None) -> str:
    """Return the address behind the translation: of the same family, in nobody's inner prefix."""
    declared: str = agreement.members[code]["wan_address"]
    if text is None:
        return declared
    try:
        address = ip_address(text)
    except ValueError as error:
        raise Refusal("PAR-0143", member=code, value=text, reason=error) from None
    if address.version != ip_address(declared).version:
        raise Refusal("PAR-0143", member=code, value=text, reason=declared)
    for member in agreement.members.values():
        taken = text != declared and text == member["wan_address"]
        if taken or address in ip_network(member["inner_prefix"]):
            reason = member["wan_address"] if taken else member["inner_prefix"]
            raise Refusal("PAR-0143", member=code, value=text, reason=reason)
    return str(address)


def ppk_name(pair: dict[str, Any]) -> str | None:
    """Return the name of a pair's preshared key, such as ``co-pe-g2``; None without one."""
    if "ppk" not in pair:
        return None
    return f"{'-'.join(pair['members'])}-g{pair['ppk']['generation']}"


def _pair(agreement: Agreement, one: str, other: str) -> dict[str, Any]:
    members = sorted((one, other))
    pair: dict[str, Any] = next(
        pair for pair in agreement.document["pairs"] if pair["members"] == members
    )
    return pair


def _member(agreement: Agreement, code: str) -> dict[str, Any]:
    domain = f"{code}.{agreement.document['domain']}"
    member = agreement.members[code]
    identities = {**member["identities"], "signing": signer_name(domain)}
    head = {"code": code, "domain": domain, "gateway": OURS}
    return {**head, **member, "identities": identities}


def signer_name(domain: str) -> str:
    """Return the one name under which the member of that domain signs queries and answers."""
    return f"signer.{domain}"


def _peer(agreement: Agreement, code: str, peer: str) -> dict[str, Any]:
    services = agreement.document["services"]
    asks = {name: direction_status(agreement, code, peer, name) for name in services}
    answers = {name: direction_status(agreement, peer, code, name) for name in services}
    first, second = sorted((code, peer))
    pair = {
        "name": f"{first}-{second}",
        "crypto_profile": _pair(agreement, code, peer)["crypto_profile"],
        "ppk": ppk_name(_pair(agreement, code, peer)),
        "initiator": first,
        "initiates": code == first,
        **open_channels(services, asks, answers),
        "parity": parity(agreement, first, second),
    }
    return {
        **_member(agreement, peer),
        "pair": pair,
        "asks": asks,
        "answers": answers,
        "ask_names": _server_names(agreement, asker=code, answerer=peer),
        "answer_names": _server_names(agreement, asker=peer, answerer=code),
    }


def open_channels(
    services: Mapping[str, Any], asks: Mapping[str, str], answers: Mapping[str, str]
) -> dict[str, Any]:
    """Return a pair's ``channels`` and ``line_check``, as the status of its directions has it."""
    channels = sorted(
        {
            service["channel"]
            for name, service in services.items()
            if is_open(asks[name]) or is_open(answers[name])
        }
    )
    return {"channels": channels, "line_check": not channels}


def _server_names(agreement: Agreement, asker: str, answerer: str) -> dict[str, str]:
    """Return the TLS server name that ``asker`` calls ``answerer`` by, per channel.

    A name of its own per asker lets the answerer choose, before the handshake ends, the one CA
    that may vouch for the caller: trust is pinned, never pooled (RFC 6066 section 3 for SNI).
    """
    identities = agreement.members[answerer]["identities"]
    return {channel: f"{asker}.{identities[channel]}" for channel in CHANNELS}


def parity(agreement: Agreement, first: str, second: str) -> str:
    """Return the digest (SHA-256, hex) of all that both ends of a pair must agree on.

    ``first`` and ``second`` are the pair's members in the order of the alphabet.
    """
    shared = {"wan_address", "addresses", "identities", "data_plane", "status", "gateway", "roots"}
    document, members = agreement.document, agreement.members
    return canonical_digest(
        {
            "domain": document["domain"],
            "catalogue": document["catalogue"],
            "services": document["services"],
            "members": {
                code: {key: value for key, value in members[code].items() if key in shared}
                for code in (first, second)
            },
            "pair": _pair(agreement, first, second),
        }
    )
