"""Render the rules on the controller, apply them, and prove that we can still get in.

The module ``nft_ruleset`` documents the options.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from jinja2 import TemplateError

from paranal.messages import Refusal, refusal_in
from paranal.rendering import render

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
ASK_AGAIN_SECONDS = 2.0


class ActionModule(ActionBase):
    """The controller's half of ``nft_ruleset``."""

    _VALID_ARGS = frozenset({"template", "values", "confirm_seconds", "after", "root"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Render, compare with the probe, load, reconnect, confirm."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        session = variables.get("node_session") or {}
        try:
            text = self._render(session)
            if holds(session.get("probe") or {}, text, self._task.args.get("after") or []):
                return {**result, "changed": False, "drift": {"missing": [], "unexpected": []}}
            return {**result, **self._apply(text, session, variables)}
        except Refusal as refusal:
            return {**result, "failed": True, "msg": str(refusal)}

    def _render(self, session: dict[str, Any]) -> str:
        name = self._task.args.get("template") or "nft/firewall.nft.j2"
        values = {"view": session["view"], **(self._task.args.get("values") or {})}
        try:
            return render(TEMPLATES, name, values)
        except TemplateError as error:
            raise Refusal("PAR-0306", template=f"templates/{name}", reason=str(error)) from error

    def _apply(
        self, text: str, session: dict[str, Any], variables: dict[str, Any]
    ) -> dict[str, Any]:
        seconds = int(self._task.args.get("confirm_seconds") or 30)
        arguments = {
            "text": text,
            "confirm_seconds": seconds,
            "session": session.get("session", {}).get("id", ""),
            "root": self._task.args.get("root", "/"),
        }
        shut_out = ""
        try:
            applied = self._module({**arguments, "phase": "apply"}, variables)
        except AnsibleConnectionFailure as error:
            # Perhaps by the rules, perhaps by the line: the confirmation tells.
            applied, shut_out = {"unconfirmed": True}, last_line(error)
        if not applied.pop("unconfirmed", False):
            return applied
        confirmed = self._confirm({**arguments, "phase": "confirm"}, variables, seconds)
        if shut_out and confirmed.get("failed"):
            raise Refusal("PAR-0714", seconds=seconds, reason=shut_out)
        return {**applied, **confirmed}

    def _confirm(
        self, arguments: dict[str, Any], variables: dict[str, Any], seconds: int
    ) -> dict[str, Any]:
        """Come in again by a new connection, until the node has gone back by itself.

        Raises ``Refusal`` PAR-0714 when no connection could be made in time.
        """
        deadline, reason = time.monotonic() + seconds, ""
        while not reason or time.monotonic() < deadline:
            try:
                self._new_connection()
                return self._module(arguments, variables)
            except AnsibleConnectionFailure as error:
                reason = last_line(error)
                time.sleep(ASK_AGAIN_SECONDS)
        raise Refusal("PAR-0714", seconds=seconds, reason=reason)

    def _new_connection(self) -> None:
        """End the shared SSH connection: one that survived proves nothing about a new one."""
        reset = getattr(self._connection, "reset", None)
        if reset is not None:
            reset()

    def _module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            "nft_ruleset", module_args=arguments, task_vars=variables
        )
        if refusal_in(answer) is None and answer.get("unreachable"):
            raise AnsibleConnectionFailure(str(answer.get("msg")))
        return answer


def last_line(error: Exception) -> str:
    """Return ssh's last words."""
    return (str(error).strip().splitlines() or ["no answer"])[-1]


def holds(probe: Mapping[str, Any], text: str, after: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether exactly this surely runs: probed in this run, and nothing changed since."""
    if any(earlier.get("changed") for earlier in after):
        return False
    digest = hashlib.sha256(text.encode()).hexdigest()
    return bool(probe.get("firewall", {}).get("text") == digest)
