"""Open and close a run on a node: take the lock and probe; verify, write the history, unlock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_state
short_description: The two module runs that frame every change of a node
description:
  - Role C(node) calls it; other roles only use C(phase=expect) and read C(node_view) and
    C(node_probe).
  - C(open) checks the agreement and its signatures on the controller, derives the member's view,
    takes the node's lock, refuses what does not follow the agreement that the node has, and probes
    the node. Register its result as C(node_session). In check mode it takes no lock and writes
    nothing.
  - C(expect) runs on the controller only (no module run); it adds checks that C(close) will run
    on the node, all in one go.
  - C(close) runs those checks, appends to the history when something changed or failed, and
    releases the lock.
  - C(abort) is for a C(rescue); it writes the failed task to the history, releases the lock, and
    fails.
options:
  phase:
    description: What to do.
    type: str
    choices: [open, expect, close, abort]
    required: true
  agreement:
    description: Path of the agreement on the controller. Needed by C(open).
    type: path
  allowed_signers:
    description: "Path of the pinned keys of every member on the controller, as ssh-keygen(1) writes
        C(allowed_signers). Needed by C(open)."
    type: path
  member:
    description: The member whose node this is. Default the inventory's host name.
    type: str
  take_over:
    description: "The run whose lock is taken over by decision of the operator, as the refusal
        PAR-0301 names it."
    type: str
  lease_seconds:
    description: How long a lock holds without a sign of life. Every module run of the same run
        renews it.
    type: int
    default: 900
  checks:
    description: What the node must answer once everything is applied.
    type: list
    elements: dict
    suboptions:
      name:
        description: What is checked, in words an operator knows, in both languages.
        type: dict
        required: true
        suboptions:
          es: {type: str, required: true, description: "In Spanish."}
          en: {type: str, required: true, description: "In English."}
      argv: {type: list, elements: str, required: true, description: "The command."}
      exit: {type: int, description: "Expected exit status, default 0."}
      expect: {type: str, description: "A regular expression that the standard output must contain
          (re.search, multi-line)."}
      refuse: {type: str, description: "A regular expression that the standard output must not
          contain."}
      seconds: {type: int, description: "Tried again until it holds or these are over. Default 10."}
      fix: {type: str, description: "What to do when it fails: a runbook or a sentence."}
  session:
    description: "The run's identity and the operator, filled in by the action plugin."
    type: dict
  trusted:
    description: "The epochs that are signed as needed, filled in by the action plugin."
    type: list
    elements: dict
  view:
    description: "The member's view, filled in by the action plugin."
    type: dict
  root:
    description: Where the node's C(/) is; for tests and images only.
    type: path
    default: /
attributes:
  check_mode: {support: full, description: "No lock is taken, nothing is written, checks are not
      run."}
  diff_mode: {support: none, description: "It changes nothing that an operator owns."}
"""

EXAMPLES = r"""
- name: Open the node
  node_state:
    phase: open
    agreement: "{{ paranal_agreement_file }}"
  register: node_session

- name: verify | Say what the daemon must answer
  node_state:
    phase: expect
    checks:
      - name: {es: charon responde, en: charon answers}
        argv: [swanctl, --version, --daemon]
        expect: strongSwan
        fix: RB-001-tunel-caido
"""

RETURN = r"""
session: {type: dict, returned: open, description: "{id, operator, controller, commit, dirty,
    agreement_digest, epoch}."}
view: {type: dict, returned: open, description: "The member's view (docs/architecture.md)."}
probe:
  description:
    - What the node holds, one key for each prober; a missing tool is {"absent" - reason}.
    - 'C(owners): {OWNER: {"entries": {PATH: {kind, sha256, mode, owner, group} or null},
      "pending": [PATH], "interrupted": bool}}.'
    - 'C(packages): {NAME: version}. C(units): {NAME: {"active", "enabled"}} of the services that
      tasks of node_files declared. C(settings): the live value of every kernel setting of our own
      sysctl file.'
    - 'C(host): {os, python, kernel, container, free_mib, interfaces, accounts}.'
    - Further keys are those of PROBERS in the module.
  type: dict
  returned: open
checks: {type: list, returned: close, description: "One {name, result: ok|failed|not run, reason,
    fix} for each check; name and reason are {es, en}, and reason is empty when it holds."}
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

# Relative, because AnsiballZ, mypy and the tests each mount this tree under another package name.
from ..module_utils.paranal_agreed import refuse_unagreed  # noqa: TID252
from ..module_utils.paranal_checks import failures, run_checks  # noqa: TID252
from ..module_utils.paranal_leaves import probe_certificates  # noqa: TID252
from ..module_utils.paranal_nft import probe_firewall  # noqa: TID252
from ..module_utils.paranal_node import (  # noqa: TID252
    Node,
    Refused,
    read_json,
    refusals,
    release_lock,
    run_command,
    take_lock,
    write_history,
)
from ..module_utils.paranal_probe import (  # noqa: TID252
    probe_host,
    probe_owners,
    probe_packages,
    probe_settings,
    probe_suspended,
    probe_units,
)
from ..module_utils.paranal_vici import probe_tunnels  # noqa: TID252

# A further part of the house adds its own line: a name, and a function of the member's view that
# returns plain data, never fails, and says {"absent": reason} where its tool is missing.
PROBERS: dict[str, Callable[[Node, dict[str, Any]], Any]] = {
    "owners": lambda node, view: probe_owners(node),
    "packages": lambda node, view: probe_packages(run_command),
    "units": lambda node, view: probe_units(node, run_command),
    "settings": lambda node, view: probe_settings(node),
    "host": lambda node, view: probe_host(node, run_command),
    "firewall": lambda node, view: probe_firewall(node, run_command),
    "tunnels": lambda node, view: probe_tunnels(node),
    "certificates": lambda node, view: probe_certificates(node),
    "suspended": lambda node, view: probe_suspended(node),
}


def open_node(node: Node, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Take the lock, unless only checking, and probe.

    Raises PAR-0301 when another run holds it, PAR-0154 or PAR-0155 for an agreement that does not
    follow the node's; then nobody holds it.
    """
    session, taken = params["session"], ""
    if not check:
        taken = take_lock(node, session, params["lease_seconds"], params["take_over"] or "")
    try:
        refuse_unagreed(node, params["trusted"], params["view"]["member"]["code"])
    except Refused:
        if not check:
            release_lock(node, session["id"])
        raise
    # Side by side: most of them wait for another process (systemd, dpkg, charon, nft).
    with ThreadPoolExecutor(max_workers=len(PROBERS)) as pool:
        running = {name: pool.submit(ask, name, node, params["view"]) for name in PROBERS}
        probe = {name: future.result() for name, future in running.items()}
    return {"probe": probe, "taken_over": taken}


def ask(name: str, node: Node, view: dict[str, Any]) -> Any:  # noqa: ANN401 - plain data
    """Ask one prober; what breaks it is what it saw, since the run may be what repairs the node."""
    try:
        return PROBERS[name](node, view)
    except Exception as error:
        return {"absent": f"{type(error).__name__}: {error}"}


def close_node(node: Node, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Verify, write the history when something changed or failed, and give the node back.

    Raises PAR-0317 when the node does not answer as it should; the lock is released all the same.
    """
    checks = params["checks"] or []
    if check:
        reason = {"es": "modo de comprobación (--check)", "en": "check mode"}
        unrun = {"result": "not run", "reason": reason, "fix": ""}
        return {"checks": [{"name": item["name"], **unrun} for item in checks]}
    results = run_checks(checks, run_command)
    es, en = failures(results, "es"), failures(results, "en")
    try:
        write_history(node, params["session"], f"{es} | {en}" if es else "")
    finally:
        release_lock(node, params["session"]["id"])
    if es:
        fixes = {item["fix"] for item in results if item["result"] == "failed" and item["fix"]}
        fix = "; ".join(sorted(fixes)) or "RB-007-aplicacion-rechazada"
        raise Refused("PAR-0317", reason_es=es, reason_en=en, fix=fix)
    return {"checks": results}


def abort_node(node: Node, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Write the failed task to the history and give the node back, if this run still holds it."""
    held = None if check else read_json(node.state / "lock")
    if held is not None and held["id"] == params["session"]["id"]:
        try:
            write_history(node, params["session"], params["reason"] or "failed")
        finally:
            release_lock(node, params["session"]["id"])
    return {}


def main() -> NoReturn:
    """Do one phase."""
    module = AnsibleModule(  # type: ignore[no-untyped-call]
        argument_spec={
            "phase": {"type": "str", "required": True, "choices": ["open", "close", "abort"]},
            "session": {"type": "dict", "required": True},
            "view": {"type": "dict", "default": {}},
            "trusted": {"type": "list", "elements": "dict", "default": []},
            "checks": {"type": "list", "elements": "dict", "default": []},
            "reason": {"type": "str", "default": ""},
            "take_over": {"type": "str", "default": ""},
            "lease_seconds": {"type": "int", "default": 900},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    phases = {"open": open_node, "close": close_node, "abort": abort_node}
    node, phase = Node(Path(module.params["root"])), module.params["phase"]
    with refusals(module.fail_json, "PAR-0313" if phase == "open" else "PAR-0325"):
        result = phases[phase](node, module.params, check=module.check_mode)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
