"""What an operator of libreswan types in: a parameter sheet's data in another make's words.

Only what stands on the sheet, and names of files, goes in; ``transforms`` are looked up by IANA's
numbers, so that a number that is wrong on the sheet fails here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WORDS = {
    (1, 20, 256): "aes_gcm256",
    (2, 6, None): "sha2_384",
    (4, 20, None): "dh20",
    (5, 0, None): "",
    (5, 1, None): "",
}
"""(Transform type, number, key bits) -> libreswan's word, empty where an option of its own says it.
"""
AUTHENTICATION = {"ecdsa-384-sha384": "ecdsa-sha2_384"}
CERTIFICATE = "own"
"""The leaf's nickname in the NSS database."""


def ipsec_conf(sheet: Mapping[str, Any], peer_ca: str, **changes: str) -> str:
    """Return the connections of one sheet, one per CHILD_SA; ``peer_ca`` is the root's name (DN).

    ``changes`` replaces options, or leaves out those that it makes empty, for what a foreign end
    must not get away with.
    """
    ike, ends = sheet["ike"], sheet["ends"]
    local, remote = ends[sheet["local"]], ends[sheet["remote"]]
    common = {
        "keyexchange": f"ikev{ike['version']}",
        "type": "tunnel",
        "left": local.get("address", local["wan_address"]),
        "leftid": f"@{local['identity']}",
        "leftcert": CERTIFICATE,
        "leftsendcert": "always",
        "right": remote["wan_address"],
        "rightid": f"@{remote['identity']}",
        "rightca": f'"{peer_ca}"',
        "authby": AUTHENTICATION[ike["authentication"]],
        "ike": _proposal(ike["transforms"]),
        "ikelifetime": f"{local['rekey_seconds']}s",
        "dpddelay": f"{ike['dpd_seconds']}s",
        "retransmit-timeout": "10s",
        "fragmentation": ike["fragmentation"],
        "mobike": ike["mobike"],
        "narrowing": "no",
        "pfs": "yes",
        "auto": "start" if local["initiates"] else "add",
    }
    lines: list[str] = []
    for child in sheet["children"]:
        own = {
            "leftsubnet": child["selectors"][sheet["local"]][0],
            "rightsubnet": child["selectors"][sheet["remote"]][0],
            # Of an ESP proposal libreswan takes the word after a semicolon for the key exchange.
            "esp": ";".join(_proposal(child["transforms"]).rsplit("-", 1)),
            "esn": "yes" if any(_is(each, 5, 1) for each in child["transforms"]) else "no",
            "salifetime": f"{child['rekey_seconds'][sheet['local']]}s",
            "replay-window": str(child["replay_window"]),
        }
        options = {**common, **own, **changes}
        lines += [f"conn {sheet['pair']}-{child['name']}"]
        lines += [f"\t{name}={value}" for name, value in options.items() if value]
    return "\n".join([*lines, ""])


def _proposal(transforms: Sequence[Mapping[str, Any]]) -> str:
    words = (WORDS[each["type"], each["number"], each["key_bits"]] for each in transforms)
    return "-".join(filter(None, words))


def _is(transform: Mapping[str, Any], kind: int, number: int) -> bool:
    return (transform["type"], transform["number"]) == (kind, number)
