"""What a node holds, read in one go: owned files, packages, units, the host itself.

A prober returns plain data, says ``{"absent": reason}`` where a tool is missing, and never fails a
run: judging what is missing is the business of the roles.
"""

from __future__ import annotations

import json
import os
import platform
import pwd
from typing import Any

from .paranal_node import Node, Refused, Run, read_json
from .paranal_tree import facts_of, observe
from .paranal_units import unit_facts


def probe_owners(node: Node) -> dict[str, Any]:
    """Return, for every manifest, what stands at its paths now and what a run left undone."""
    owners = {}
    for file in sorted((node.state / "owned").glob("*.json")):
        manifest = read_json(file)
        paths = sorted([*manifest["entries"], *manifest["absent"]])
        journal = node.state / "generations" / file.stem / "journal.json"
        owners[file.stem] = {
            "entries": {path: _facts(node, path) for path in paths},
            "pending": manifest["pending"],
            "interrupted": journal.exists(),
        }
    return owners


def _facts(node: Node, path: str) -> dict[str, str] | None:
    try:
        return facts_of(observe(node, path))
    except Refused:
        return {"kind": "other"}


def probe_packages(run: Run) -> dict[str, str]:
    """Return the version of every installed Debian package."""
    listing = run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\t${Version}\n"], 60
    )
    if listing.status != 0:
        return {"absent": listing.tail}
    rows = [line.split("\t") for line in listing.out.splitlines()]
    return {name: version for status, name, version in rows if status.startswith("ii")}


def probe_units(node: Node, run: Run) -> dict[str, dict[str, str]]:
    """Return ``{unit: {"active", "enabled"}}`` of the units that our manifests declare.

    Only those: listing every unit file keeps systemd busy for seconds on a slow disk.
    """
    manifests = [read_json(file) for file in sorted((node.state / "owned").glob("*.json"))]
    return unit_facts(
        sorted({name for item in manifests for name in item.get("services", [])}), run
    )


def probe_settings(node: Node) -> dict[str, str]:
    """Return the live value of every kernel setting that our own file declares."""
    file = node.real("/etc/sysctl.d/90-paranal.conf")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    keys = [line.split("=")[0].strip(" -") for line in lines if not line.startswith("#")]
    live = {key: node.real("/proc/sys/" + key.replace(".", "/")) for key in keys if key}
    return {key: path.read_text().strip() for key, path in live.items() if path.exists()}


def probe_host(node: Node, run: Run) -> dict[str, Any]:
    """Return what a role asks: system, Python, room, interfaces, what leads nowhere, accounts."""
    room = os.statvfs(node.real("/var"))
    container = node.real("/run/systemd/container")
    return {
        "os": _os_release(node),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "container": container.read_text().strip() if container.exists() else "",
        "free_mib": room.f_bavail * room.f_frsize // 2**20,
        "interfaces": _interfaces(run),
        "dead_ends": _dead_ends(run),
        "accounts": sorted(entry.pw_name for entry in pwd.getpwall()),
    }


def _os_release(node: Node) -> dict[str, str]:
    text = node.real("/etc/os-release").read_text(encoding="utf-8")
    pairs = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    return {key.lower(): value.strip('"') for key, value in pairs}


def _interfaces(run: Run) -> dict[str, list[str]]:
    """Return the addresses, as ``10.51.0.1/16``, of every interface."""
    return {
        link["ifname"]: [f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", [])]
        for link in _listed(run, "address", "show")
    }


def _listed(run: Run, *words: str) -> list[dict[str, Any]]:
    listing = run(["ip", "-json", *words], 30)
    return json.loads(listing.out or "[]") if listing.status == 0 else []


def _dead_ends(run: Run) -> list[str]:
    """Return what leads nowhere (role firewall).

    Destinations, sources with their own table, and as ``LINE ADDRESS`` what is barred on a line.
    """
    found = []
    for family in ("-4", "-6"):
        routes = _listed(run, family, "route", "show", "table", "all", "dev", "nowhere")
        rules = _listed(run, family, "rule", "show", "table", "221")
        found += [entry["dst"] for entry in routes] + [entry["src"] for entry in rules]
        barred = _listed(run, family, "rule", "show", "priority", "5")
        found += [f"{entry['iif']} {entry['dst']}" for entry in barred]
    return found


def probe_suspended(node: Node) -> dict[str, Any]:
    """Return ``{"text": what this member suspended by itself, or None}`` (ADR 0016)."""
    path = node.real("/var/lib/paranal/suspended.json")
    return {"text": path.read_text(encoding="utf-8") if path.exists() else None}
