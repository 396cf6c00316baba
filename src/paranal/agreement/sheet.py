"""One pair's parameters for a gateway of any make, as plain data; ``sheet_page`` prints them.

Everything derives from the connections of both ends, so that a sheet cannot say anything else
than what our own gateway holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paranal.agreement.connections import Connection, anchor_digest, connections, root_files
from paranal.agreement.derive import is_open, member_view
from paranal.agreement.load import Agreement
from paranal.agreement.transforms import esp_transforms, transforms
from paranal.messages import Refusal

AUTHORITIES = ("root", "issuing")
PORTS = (500, 4500)
"""UDP: IKE, and IKE and ESP behind an address translation (RFC 7296 section 2.23, RFC 3948)."""
Fingerprints = Mapping[str, Mapping[str, str]]


def published(directory: Path, pair: str) -> Fingerprints:
    """Return the SHA-256 (hex, of the DER) of each CA certificate that the pair has published.

    ``{"pe": {"root": ..., "issuing": ..., "g2-root": ..., "g2-issuing": ...}}`` from
    ``DIRECTORY/pe-root.pem``, ``DIRECTORY/pe-g2-root.pem`` and their like, every generation (ADR
    0019); what is not published is absent. Raises ``Refusal`` PAR-0142 for a file that is no
    certificate.
    """
    found: dict[str, dict[str, str]] = {}
    for code in pair.split("-"):
        for root in root_files(directory, code):
            stem = root.removesuffix("-root.pem")
            for authority in AUTHORITIES:
                path = directory / f"{stem}-{authority}.pem"
                name = f"{stem}-{authority}".removeprefix(f"{code}-")
                try:
                    found.setdefault(code, {})[name] = anchor_digest(path.read_bytes())
                except FileNotFoundError:
                    continue
                except ValueError as error:
                    raise Refusal("PAR-0142", where=path, reason=error) from None
    return found


def pair_name(agreement: Agreement, written: str) -> str:
    """Return the name of a pair that was written in either order (``pe-co``: ``co-pe``).

    Raises ``Refusal`` PAR-0140.
    """
    pairs = ["-".join(pair["members"]) for pair in agreement.document["pairs"]]
    name = "-".join(sorted(written.split("-")))
    if name not in pairs:
        known = ", ".join(pairs)
        raise Refusal("PAR-0140", where=agreement.path, pair=written, pairs=known)
    return name


def sheet(
    agreement: Agreement, pair: str, local: str, fingerprints: Fingerprints
) -> dict[str, Any]:
    """Return the parameters of one pair, ``local`` being the end that they are typed into.

    Raises ``Refusal`` PAR-0141 when ``local`` is not of the pair.
    """
    if local not in pair.split("-"):
        raise Refusal("PAR-0141", member=local, pair=pair)
    (remote,) = set(pair.split("-")) - {local}
    views = {code: member_view(agreement, code) for code in (local, remote)}
    ends = {
        code: _connection(views[code], other) for code, other in ((local, remote), (remote, local))
    }
    config, shared = ends[local]["config"], _peer(views[local], remote)["pair"]
    return {
        "schema": 1,
        "pair": pair,
        "alliance": agreement.document["alliance"],
        "epoch": agreement.document["epoch"],
        "agreement_digest": agreement.digest,
        "parity": shared["parity"],
        "crypto_profile": shared["crypto_profile"],
        "local": local,
        "remote": remote,
        "ends": {
            code: _end(views[code]["member"], one, _agreed(agreement, code, fingerprints))
            for code, one in ends.items()
        },
        "ike": {
            "version": int(config["version"]),
            "udp_ports": list(PORTS),
            "proposal": config["proposals"][0],
            "transforms": [asdict(each) for each in transforms(config["proposals"][0])],
            "authentication": config["remote"]["auth"],
            "revocation": config["remote"]["revocation"],
            "dpd_seconds": _seconds(config["dpd_delay"]),
            "fragmentation": config["fragmentation"],
            "mobike": config["mobike"],
            "ppk_id": config.get("ppk_id"),
        },
        "children": [
            _child(name, config["children"][name], ends, views[local], remote)
            for name in ends[local]["channels"]
        ],
    }


def _agreed(agreement: Agreement, code: str, fingerprints: Fingerprints) -> dict[str, str]:
    """Return a member's fingerprints without the generations whose root is not agreed.

    A text that names no roots yet says nothing of them: there all are.
    """
    roots, found = agreement.members[code].get("roots"), fingerprints.get(code, {})
    agreed = {
        name.removesuffix("root") for name, digest in found.items() if roots and digest in roots
    }
    return {
        name: digest
        for name, digest in found.items()
        if not roots or name.removesuffix("issuing").removesuffix("root") in agreed
    }


def _connection(view: Mapping[str, Any], peer: str) -> Connection:
    # An anchor is part of a connection's name only, which another make of gateway does not have.
    anchors = {each["code"]: "" for each in view["peers"]}
    return next(each for each in connections(view, anchors) if each["peer"] == peer)


def _peer(view: Mapping[str, Any], code: str) -> dict[str, Any]:
    peer: dict[str, Any] = next(each for each in view["peers"] if each["code"] == code)
    return peer


def _end(
    member: Mapping[str, Any], connection: Connection, fingerprints: Mapping[str, str]
) -> dict[str, Any]:
    config = connection["config"]
    told = ("name", "operator", "liaison", "contact", "wan_address", "data_plane")
    return {
        **{key: member[key] for key in told},
        "identity": config["local"]["id"],
        "initiates": connection["initiates"],
        "childless": config["childless"],
        "rekey_seconds": _seconds(config["rekey_time"]),
        "reauth_seconds": _seconds(config["reauth_time"]),
        "authorities": dict(fingerprints),
    }


def _child(
    name: str,
    config: Mapping[str, Any],
    ends: Mapping[str, Connection],
    view: Mapping[str, Any],
    remote: str,
) -> dict[str, Any]:
    proposal, peer = config["esp_proposals"][0], _peer(view, remote)
    return {
        "name": name,
        "mode": config["mode"],
        "proposal": proposal,
        "transforms": [asdict(each) for each in esp_transforms(proposal)],
        "selectors": {
            code: list(one["config"]["children"][name]["local_ts"]) for code, one in ends.items()
        },
        "services": [
            {"name": service, "tcp_port": each["port"]}
            for service, each in sorted(view["services"].items())
            if each["channel"] == name
            and (is_open(peer["asks"][service]) or is_open(peer["answers"][service]))
        ],
        "rekey_seconds": {
            code: _seconds(one["config"]["children"][name]["rekey_time"])
            for code, one in ends.items()
        },
        "life_seconds": _seconds(config["life_time"]),
        "life_bytes": int(config["life_bytes"]),
        "life_packets": int(config["life_packets"]),
        "replay_window": int(config["replay_window"]),
    }


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))
