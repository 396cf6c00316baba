"""The controller's half of ``node_state``: check the agreement, name the run, gather the checks.

The module documents the options. A bad agreement is refused here, before any node is touched.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema  # noqa: F401 - loaded once before the forks, not once in each of them
from ansible.plugins.action import ActionBase

from paranal.agreement import load, member_view
from paranal.agreement.accept import accepted
from paranal.agreement.suspension import narrowed, probed
from paranal.messages import LANGUAGES, Refusal, refusal_in

REPOSITORY = Path(__file__).resolve().parents[2]
CHECK: dict[str, Any] = {
    "name": None,
    "argv": None,
    "exit": 0,
    "expect": "",
    "refuse": "",
    "seconds": 10,
    "fix": "",
}
LEASE_SECONDS = 900


class ActionModule(ActionBase):
    """Open, expect, close, abort: the frame around every change of a node."""

    _VALID_ARGS = frozenset(
        {
            *("phase", "agreement", "allowed_signers", "member", "wan_local_address"),
            *("take_over", "lease_seconds", "checks", "root"),
        }
    )

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Do the controller's part of one phase, then the node's, in one module run at most."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        phases = {
            "open": self._open,
            "expect": self._expect,
            "close": self._close,
            "abort": self._abort,
        }
        phase = self._task.args.get("phase")
        if phase not in phases:
            known = ", ".join(phases)
            msg = str(Refusal("PAR-0315", option="phase", key=phase, known=known))
            return {**result, "failed": True, "msg": msg}
        try:
            return {**result, **phases[phase](variables)}
        except Refusal as refusal:
            return {**result, "failed": True, "msg": str(refusal)}

    def _open(self, variables: dict[str, Any]) -> dict[str, Any]:
        agreement = load(Path(self._task.args["agreement"]))
        trusted = accepted(agreement, Path(self._task.args["allowed_signers"]))
        # Templated, a national fact that the inventory does not state is an empty text.
        local = self._task.args.get("wan_local_address") or None
        view = member_view(agreement, self._member(variables), local)
        session = {
            **this_run(),
            "agreement_digest": view["digest"],
            "epoch": view["epoch"],
        }
        arguments = {
            "session": session,
            "view": view,
            "trusted": trusted,
            "take_over": self._task.args.get("take_over") or "",
            "lease_seconds": int(self._task.args.get("lease_seconds") or LEASE_SECONDS),
        }
        answer = self._call("open", arguments, variables)
        refusal = answer.get("refusal", {})
        if refusal.get("code") == "PAR-0301" and died_here(refusal["params"]["run"]):
            # The holder ran here and is gone: nobody else can know that, and nobody has to wait.
            take_over = refusal["params"]["run"]
            answer = self._call("open", {**arguments, "take_over": take_over}, variables)
        # A controller keeps what the node suspended by itself, and never lifts it.
        held = probed((answer.get("probe") or {}).get("suspended") or {})
        return self._spoken({**answer, "session": session, "view": narrowed(view, held)})

    def _expect(self, variables: dict[str, Any]) -> dict[str, Any]:
        role = self._task._role.get_name() if self._task._role else "playbook"
        checks = [declared_check(item) for item in self._task.args.get("checks") or []]
        return {"ansible_facts": {"node_checks": {**expected(variables), role: checks}}}

    def _close(self, variables: dict[str, Any]) -> dict[str, Any]:
        session = self._session(variables)
        if session is None:
            raise Refusal("PAR-0302", holder="nobody")
        checks = [item for items in expected(variables).values() for item in items]
        return self._spoken(self._call("close", {"session": session, "checks": checks}, variables))

    def _abort(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Give the node back and fail: a rescued play must not look like a good one."""
        task = variables.get("ansible_failed_task") or {}
        failure = variables.get("ansible_failed_result") or {}
        name = str(task.get("name") or task.get("action") or "?")
        reason = str(failure.get("msg") or failure)
        session = self._session(variables)
        if session is not None:
            aborted = {"session": session, "reason": f"{name}: {reason}"}
            answer = self._call("abort", aborted, variables)
            if answer.get("failed"):
                return self._spoken(answer)
        raise Refusal("PAR-0318", member=self._member(variables), task=name)

    def _member(self, variables: dict[str, Any]) -> str:
        return str(self._task.args.get("member") or variables["inventory_hostname"])

    def _session(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        opened = variables.get("node_session") or {}
        return None if opened.get("failed") else opened.get("session")

    def _call(
        self, phase: str, arguments: dict[str, Any], variables: dict[str, Any]
    ) -> dict[str, Any]:
        arguments = {**arguments, "phase": phase, "root": self._task.args.get("root", "/")}
        answer: dict[str, Any] = self._execute_module(
            "node_state", module_args=arguments, task_vars=variables
        )
        return answer

    def _spoken(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with a refusal of the module in the catalogue's words."""
        refusal_in(answer)
        return answer


def declared_check(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return one declared check with its defaults.

    Refuses (PAR-0315) a key that is missing or unknown, also in ``name``, which says what is
    checked in each language: ``{"es", "en"}``.
    """
    check = {**CHECK, **item}
    wrong = [key for key, value in check.items() if key not in CHECK or value is None]
    if wrong:
        raise Refusal("PAR-0315", option="checks", key=wrong[0], known=", ".join(CHECK))
    name = check["name"] if isinstance(check["name"], Mapping) else {}
    said = {**dict.fromkeys(LANGUAGES), **name}
    wrong = [key for key, text in said.items() if key not in LANGUAGES or not is_text(text)]
    if wrong:
        raise Refusal("PAR-0315", option="checks.name", key=wrong[0], known=", ".join(LANGUAGES))
    return check


def is_text(value: object) -> bool:
    """Say whether a value is text with something in it."""
    return isinstance(value, str) and bool(value.strip())


def expected(variables: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the checks that roles registered so far in this run, by role."""
    return dict(variables.get("ansible_facts", {}).get("node_checks", {}))


def this_run() -> dict[str, Any]:
    """Return who runs what: ``{id, operator, controller, commit, dirty}``, the same in every task.

    A task runs in a fork of ``ansible-playbook``: the parent's number and start time name the run.
    """
    controller = platform.node()
    parent = os.getppid()
    return {
        "id": f"{controller}-{here()}-{parent}-{started(parent)}",
        "operator": os.environ.get("SUDO_USER") or getpass.getuser(),
        "controller": controller,
        **revision(),
    }


def started(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot, an empty string when gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The second field is the program's name in parentheses and may hold spaces; time is the 22nd.
    return status.rpartition(")")[2].split()[19]


def here() -> str:
    """Return what tells this controller from another of the same name (eight digits).

    Many machines are called ``debian``: a process is known by its number only in this boot, and in
    a container only among the container's own processes.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    processes = Path("/proc/self/ns/pid").readlink()
    return hashlib.sha256(f"{boot}{processes}".encode()).hexdigest()[:8]


def died_here(run: str) -> bool:
    """Say whether ``run`` was a run of this very controller and has ended."""
    controller, pid, start = run.rsplit("-", 2)
    return controller == f"{platform.node()}-{here()}" and started(int(pid)) != start


def revision() -> dict[str, Any]:
    """Return the repository's commit and whether the tree differs from it.

    A tree that came without git (an archive, a copy) has none: an empty string.
    """
    try:
        status = subprocess.run(  # noqa: S603 - a fixed command on our own tree
            ["git", "-C", str(REPOSITORY), "status", "--porcelain=v2", "--branch"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return {"commit": "", "dirty": False}
    lines = status.stdout.splitlines()
    heads = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    dirty = any(not line.startswith(("#", "?")) for line in lines)
    return {"commit": heads[0] if heads else "", "dirty": dirty}
