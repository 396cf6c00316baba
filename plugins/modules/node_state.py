"""Open and close a run on a node: take the lock and probe; verify, write the history, unlock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_state
short_description: The two module runs that frame every change of a node
description:
  - Role C(node) calls it; other roles only use C(phase=expect) and read C(node_view) and C(node_probe).
  - C(open) checks the agreement on the controller, derives the member's view, takes the node's lock and probes the node. Register
    its result as C(node_session). In check mode it takes no lock and writes nothing.
  - C(expect) runs on the controller only (no module run); it adds checks that C(close) will run on the node, all in one go.
  - C(close) runs those checks, appends to the history when something changed or failed, and releases the lock.
  - C(abort) is for a C(rescue); it writes the failed task to the history, releases the lock, and fails.
options:
  phase:
    description: What to do.
    type: str
    choices: [open, expect, close, abort]
    required: true
  agreement:
    description: Path of the agreement on the controller. Needed by C(open).
    type: path
  member:
    description: The member whose node this is. Default the inventory's host name.
    type: str
  take_over:
    description: The run whose lock is taken over by decision of the operator, as the refusal PAR-0301 names it.
    type: str
  lease_seconds:
    description: How long a lock holds without a sign of life. Every module run of the same run renews it.
    type: int
    default: 900
  checks:
    description: What the node must answer once everything is applied.
    type: list
    elements: dict
    suboptions:
      name: {type: str, required: true, description: "What is checked, in words an operator knows."}
      argv: {type: list, elements: str, required: true, description: The command.}
      exit: {type: int, description: "Expected exit status, default 0."}
      expect: {type: str, description: A regular expression that the standard output must contain (re.search, multi-line).}
      refuse: {type: str, description: A regular expression that the standard output must not contain.}
      seconds: {type: int, description: "Tried again until it holds or these are over. Default 10."}
      fix: {type: str, description: "What to do when it fails: a runbook or a sentence."}
  session:
    description: The run's identity and the operator, filled in by the action plugin.
    type: dict
  view:
    description: The member's view, filled in by the action plugin.
    type: dict
  root:
    description: Where the node's C(/) is; for tests and images only.
    type: path
    default: /
attributes:
  check_mode: {support: full, description: No lock is taken, nothing is written, checks are not run.}
  diff_mode: {support: none, description: It changes nothing that an operator owns.}
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
      - name: charon answers
        argv: [swanctl, --version, --daemon]
        expect: strongSwan
        fix: RB-001-tunel-caido
"""

RETURN = r"""
session: {type: dict, returned: open, description: "{id, operator, controller, commit, dirty, agreement_digest, epoch}."}
view: {type: dict, returned: open, description: The member's view (docs/architecture.md).}
probe:
  description: >-
    What the node holds: {"owners": {OWNER: {"entries": {PATH: {kind, sha256, mode, owner, group} or null}, "pending": [PATH], "interrupted": bool}},
    "packages": {NAME: version}, "units": {NAME: {"active", "enabled"}}, "host": {os, python, disk, interfaces, accounts, container},
    and one key for each prober: "tunnels", "firewall", "certificates"}. A missing tool is {"absent": reason}, never an error.
  type: dict
  returned: open
checks: {type: list, returned: close, description: "One {name, result: ok|failed|not run, reason} for each check."}
"""
