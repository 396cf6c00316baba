"""Pure functions from one member's view to the IKE connections that its gateway must hold.

One dict describes a connection; the swanctl file (``to_swanctl``) and the VICI message
(``to_vici``) are both made from it, so that what is declared and what is loaded have one source.
Why a generation is named by its content: ``docs/adr/0002-connection-generations-by-content.md``.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from paranal.agreement.address import host_prefix
from paranal.agreement.crypto import PROFILES, CryptoProfile
from paranal.agreement.derive import FOREIGN

Section = Mapping[str, Any]
"""A swanctl section: key -> text, list of texts, or a further section."""

Anchor = str | Mapping[str, str]
"""The digest of ``CC-root.pem``, or several by file name."""

CA_DIRECTORY = "/etc/swanctl/x509ca"
"""Where swanctl looks for the files that ``cacerts`` names."""

DPD_SECONDS = 3
"""With the 5.5 s after which a silent peer is given up: a pair is back within ten of any death."""
OVER_SECONDS = 900
RAND_SECONDS = 300
MARK_SECONDS = 600
"""Room above those two for the mark of a generation; see ``_marked``."""
REPLAY_WINDOW = 128
LIFE_BYTES = 100 * 10**9
LIFE_PACKETS = 2**31
"""Well under 2^32: without ESN the sequence number must never run out (IKE-015)."""

# The responder's clock is slower, so that the initiator always renews first and the two ends do
# not renew the same SA at once. Every sum stays under eight hours (IKE-014), children under one.
_IKE_REKEY = {True: 7_200, False: 9_000}
_IKE_REAUTH = {True: 21_600, False: 25_200}
_CHILD_REKEY = {True: 3_000, False: 3_180}
_CHILD_LIFE = 3_600
_CHILD_RAND = 120

_OF_FOREIGN_START = "prefer"
"""The ``childless`` of a connection that a foreign gateway starts, and of no other."""

_NAME = re.compile(r"[A-Za-z0-9_-]+\Z")


class Connection(TypedDict):
    """One IKE connection of this member's gateway."""

    name: str
    """``pe-co-g1a2b3c4d`` (a generation of the pair) or ``pe-co-line`` (a line check)."""
    peer: str
    """Member code of the far end."""
    stem: str
    """``pe-co``: what all generations of one pair have in common."""
    line: bool
    """True when nothing is open: loaded only so that the line can be proved."""
    initiates: bool
    """True when this end starts and heals the connection."""
    channels: list[str]
    """The CHILD_SAs, sorted; empty for a line check."""
    crypto_profile: str
    digest: str
    """SHA-256 (hex) over the configuration (but for its mark) and the peer's pinned roots."""
    config: dict[str, Any]
    """The swanctl section itself."""


def connections(view: Mapping[str, Any], anchors: Mapping[str, Anchor]) -> list[Connection]:
    """Return every connection of this member, in the order of its peers' codes.

    ``view`` is ``member_view``'s. ``anchors`` gives the digest (``anchor_digest``) of each peer's
    pinned root, or while its authority is relieved of each of them by file name: a root that comes,
    goes or changes under its name is a new generation too. Raises ``KeyError`` for a peer without.
    """
    return [_connection(view["member"], peer, anchors[peer["code"]]) for peer in view["peers"]]


def anchor_digest(certificate: bytes) -> str:
    """Return SHA-256 (hex) of a PEM certificate's DER: what ``connections`` takes as an anchor.

    Raises ``ValueError`` when it is not one PEM certificate.
    """
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.decode("ascii").strip())).hexdigest()


def root_files(directory: Path, code: str) -> list[str]:
    """Return the names of a member's roots in a directory of CAs, sorted; the first's if none."""
    found = [*directory.glob(f"{code}-root.pem"), *directory.glob(f"{code}-g[1-9]*-root.pem")]
    return sorted(path.name for path in found) or [f"{code}-root.pem"]


def to_swanctl(connection: Connection, depth: int = 1) -> str:
    """Return the connection as a section of ``swanctl.conf``, indented ``depth`` steps.

    Every value is quoted. Raises ``ValueError`` for a name or value that could leave its place.
    """
    return "\n".join(_swanctl_lines(connection["name"], connection["config"], depth))


def to_vici(connection: Connection, read: Callable[[str], bytes]) -> dict[str, Any]:
    """Return the VICI ``load-conn`` message: the same section, certificates as their bytes.

    ``read`` returns the content of one file of ``CA_DIRECTORY``; swanctl does the same step when
    it loads the file, because charon itself takes no file names.
    """
    remote = dict(connection["config"]["remote"])
    remote["cacerts"] = [read(name) for name in remote["cacerts"]]
    return {connection["name"]: {**connection["config"], "remote": remote}}


def _connection(member: Mapping[str, Any], peer: Mapping[str, Any], anchor: Anchor) -> Connection:
    pair = peer["pair"]
    stem = f"{member['code']}-{peer['code']}"
    pins = {f"{peer['code']}-root.pem": anchor} if isinstance(anchor, str) else anchor
    config = _config(member, peer, sorted(pins))
    pinned = ",".join(pins[name] for name in sorted(pins))
    canonical = json.dumps({"config": config, "anchor": pinned}, sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    config = _marked(config, digest)
    return {
        "name": f"{stem}-line" if pair["line_check"] else f"{stem}-g{digest[:8]}",
        "peer": peer["code"],
        "stem": stem,
        "line": pair["line_check"],
        "initiates": pair["initiates"],
        "channels": list(pair["channels"]),
        "crypto_profile": pair["crypto_profile"],
        "digest": digest,
        "config": config,
    }


def _marked(config: dict[str, Any], digest: str) -> dict[str, Any]:
    """Give a generation its own IKE-level configuration, by two times that hardly matter.

    charon takes two connections that differ in their children only for one: it would start the
    new generation's children over the old one's IKE_SA, where the peer refuses them, and `unique`
    would end the old one before the new one carries anything.
    """
    over, rand = divmod(int(digest, 16) % MARK_SECONDS**2, MARK_SECONDS)
    times = {"over_time": f"{OVER_SECONDS + over}s", "rand_time": f"{RAND_SECONDS + rand}s"}
    return {**config, **times}


def _config(
    member: Mapping[str, Any], peer: Mapping[str, Any], roots: Sequence[str]
) -> dict[str, Any]:
    pair, profile = peer["pair"], PROFILES[peer["pair"]["crypto_profile"]]
    initiates = pair["initiates"]
    config: dict[str, Any] = {
        "version": "2",
        "local_addrs": [member["wan_local_address"]],
        "remote_addrs": [peer["wan_address"]],
        "proposals": [profile.ike],
        # Every CHILD_SA has a key exchange of its own from the first; see IKE-013.
        "childless": _childless(peer),
        # The initiator's timer ends duplicates, for it knows which one is complete (ADR 0014); `no`
        # still lets a restarted peer's INITIAL_CONTACT clear what it no longer knows.
        "unique": "no",
        "mobike": "no",
        "fragmentation": "yes",
        "send_cert": "always",
        "send_certreq": "yes",
        "dpd_delay": f"{DPD_SECONDS}s",
        # A line check must end and tell; a pair in service is never given up.
        "keyingtries": "1" if pair["line_check"] else "0",
        "rekey_time": f"{_IKE_REKEY[initiates]}s",
        "reauth_time": f"{_IKE_REAUTH[initiates]}s",
        # Never `certs`: charon would go on sending a leaf that was named when the SA was born.
        "local": {"auth": "pubkey", "id": member["identities"]["ike"]},
        "remote": {
            "auth": profile.trust_chain,
            "id": peer["identities"]["ike"],
            "cacerts": list(roots),
            "revocation": "strict",
        },
    }
    if profile.ppk:
        # Its generation is in its name, so that a new key is a new generation of the connection.
        config |= {"ppk_id": pair["ppk"], "ppk_required": "yes"}
    if pair["channels"]:
        config["children"] = {
            channel: _child(channel, member, peer, profile) for channel in pair["channels"]
        }
    return config


def _childless(peer: Mapping[str, Any]) -> str:
    """Return what we ask of the first CHILD_SA; docs/adr/0013 says why a foreign end may differ.

    A foreign gateway that starts the pair makes it in IKE_AUTH and cannot be told otherwise; there
    the upkeep renews its keys at once.
    """
    starts = not peer["pair"]["initiates"]
    return _OF_FOREIGN_START if starts and peer["gateway"] == FOREIGN else "force"


def foreign_starts(connection: Connection) -> bool:
    """Tell whether a foreign gateway starts the connection: it has no upkeep like ours."""
    return bool(connection["config"]["childless"] == _OF_FOREIGN_START)


def _child(
    channel: str, member: Mapping[str, Any], peer: Mapping[str, Any], profile: CryptoProfile
) -> dict[str, Any]:
    """Describe one CHILD_SA.

    Its selectors are the two service addresses, any protocol: a selector of one port would keep
    the ICMP errors that path MTU discovery needs out of the tunnel. nft narrows it to the ports.
    """
    initiates = peer["pair"]["initiates"]
    esn = {member["data_plane"], peer["data_plane"]} == {"kernel"}
    return {
        "esp_proposals": [profile.esp_proposal(esn=esn)],
        "local_ts": [host_prefix(member["addresses"][channel])],
        "remote_ts": [host_prefix(peer["addresses"][channel])],
        "mode": "tunnel",
        "policies": "yes",
        "ipcomp": "no",
        "sha256_96": "no",
        "hw_offload": "no",
        "replay_window": str(REPLAY_WINDOW),
        "rekey_time": f"{_CHILD_REKEY[initiates]}s",
        "life_time": f"{_CHILD_LIFE}s",
        "rand_time": f"{_CHILD_RAND}s",
        "rekey_bytes": str(LIFE_BYTES * 9 // 10),
        "life_bytes": str(LIFE_BYTES),
        "rand_bytes": str(LIFE_BYTES // 100),
        "rekey_packets": str(LIFE_PACKETS // 2),
        "life_packets": str(LIFE_PACKETS),
        "rand_packets": str(LIFE_PACKETS // 100),
        # One end starts and heals; two would leave duplicate SAs for good.
        "start_action": "trap|start" if initiates else "trap",
        "close_action": "start" if initiates else "trap",
        "dpd_action": "restart" if initiates else "trap",
    }


def _swanctl_lines(name: str, section: Section, depth: int) -> list[str]:
    if not _NAME.match(name):
        raise ValueError(f"not a swanctl section or key name: {name!r}")
    indent = "  " * depth
    lines = [f"{indent}{name} {{"]
    for key, value in section.items():
        if isinstance(value, Mapping):
            lines += _swanctl_lines(key, value, depth + 1)
        else:
            lines.append(f"{indent}  {key} = {_swanctl_value(value)}")
    return [*lines, f"{indent}}}"]


def _swanctl_value(value: str | Sequence[str]) -> str:
    """Quote a value; a list is joined by commas, so no element may hold one."""
    items = [value] if isinstance(value, str) else list(value)
    for item in items:
        if not item or not item.isprintable() or "," in item:
            raise ValueError(f"not a swanctl value: {item!r}")
    joined = ", ".join(items).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{joined}"'
