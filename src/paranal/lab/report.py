"""What a lab looks like now, as data and as text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from paranal.lab import faults, names
from paranal.lab.docker import CALL_SECONDS
from paranal.lab.lab import Lab
from paranal.lab.lowering import Listed


def status(lab: Lab) -> dict[str, Any]:
    """Return a lab's facts with each node's state and the faults on its lines.

    A node's ``state`` is systemd's word (``running``, ``degraded``, ...) or ``stopped``.
    """
    facts = lab.facts()
    present = lab.engine().containers(lab.name)

    def state(member: str) -> str:
        container = present.get(names.container(lab.name, member))
        running = container is not None and container.running
        return _system_state(lab, member) if running else "stopped"

    with ThreadPoolExecutor(len(facts["members"])) as pool:
        states = dict(zip(facts["members"], pool.map(state, facts["members"]), strict=True))
    members = {code: {**node, "state": states[code]} for code, node in facts["members"].items()}
    return {**facts, "members": members, "faults": faults.present(lab)}


def status_text(now: dict[str, Any]) -> str:
    """Return ``status`` as lines for a reader."""
    lines = [f"{now['name']}: {now['image']}, since {now['started_at']}"]
    for code, node in sorted(now["members"].items()):
        plane = node["data_plane"] + (f" ({node['machine']})" if "machine" in node else "")
        line = f"  {code}  {node['state']:<9} {plane:<12} {node['container']}"
        lines.append(f"{line}  ops@{node['ssh_host']}")
    lines += [f"  {line}" for line in faults_text(now["faults"])]
    return "\n".join(lines)


def faults_text(present: dict[str, Any]) -> list[str]:
    """Return the faults as lines, one that says so when there is none."""
    line = {key: value for key, value in present["line"].items() if value}
    lines = []
    if line:
        seen = ", ".join(f"{key} {value:g}" for key, value in line.items())
        counted = ", ".join(f"{value} {key}" for key, value in present["counters"].items())
        lines.append(f"line: {seen} ({counted})")
    lines += [f"link down: {member}" for member in present["links_down"]]
    lines += [f"partition: {one} | {other}" for one, other in present["partitions"]]
    lines += [f"one way lost: {one} > {other}" for one, other in present["oneway"]]
    for kind in ("mtu", "silent_mtu"):
        told = kind.replace("_", " ")
        lines += [f"{told}: {member} {octets}" for member, octets in present[kind].items()]
    lines += [f"downgrade: {what}" for what in present["downgrades"]]
    lines += [f"caught: {name} {count}" for name, count in present["caught"].items()]
    if attack := present["attack"]:
        counted = ", ".join(f"{count} {what}" for what, count in attack["counted"].items())
        lines.append(f"attack: {attack['kind']} on {attack['member']} ({counted})")
    return lines or ["no faults"]


def list_text(labs: list[Listed]) -> str:
    """Return one line per lab."""
    return "\n".join(
        f"{lab.name:<24} {lab.running}/{lab.containers} containers running, owner "
        f"{'alive' if lab.owner_alive else 'gone'}, {lab.created:%Y-%m-%d %H:%M} UTC, {lab.home}"
        for lab in labs
    )


def _system_state(lab: Lab, member: str) -> str:
    asked = lab.exec(member, "systemctl", "is-system-running", check=False, seconds=CALL_SECONDS)
    return asked.stdout.decode().strip() or "no answer"
