"""Replace our one nft table in a single transaction, and go back unless the controller returns."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nft_ruleset
short_description: Own one nft table on a node, and never lock the operator out
description:
  - The action plugin renders the template on the controller. The module has C(nft) check it, loads
    it into a network namespace of its own, lists it there, and compares that listing with the
    running table's. Handles, counters and the elements of dynamic sets are not compared.
  - When they differ, it arms a timer that restores the old rules, loads the new ones in one
    transaction, and returns. The action plugin then drops its SSH connection, makes a new one, and
    confirms over it. Only then is the file of the next boot replaced and the timer disarmed. When
    no new connection can be made, the timer restores the old rules and the task fails saying so.
  - When the probe of M(node_state) says that exactly this runs, no module runs at all.
options:
  template:
    description: Path of the template below the repository's C(templates/).
    type: str
    default: nft/firewall.nft.j2
  values:
    description: What the template needs beside the member's view (C(view)).
    type: dict
  confirm_seconds:
    description: How long the new rules run unconfirmed.
    type: int
    default: 30
  after:
    description: Results of earlier tasks; when one of them changed something, the probe is not
      believed.
    type: list
    elements: dict
  phase:
    description: Filled in by the action plugin.
    type: str
    choices: [apply, confirm]
  text:
    description: The rendered rules, filled in by the action plugin.
    type: str
  session:
    description: The run that holds the node's lock, filled in by the action plugin.
    type: str
  root:
    description: Where the node's C(/) is; for tests and images only.
    type: path
    default: /
attributes:
  check_mode: {support: full, description: Checks and compares; loads nothing.}
  diff_mode: {support: full, description: "The rule file, and the rules of the running table that
    are not declared or are missing."}
"""

EXAMPLES = r"""
- name: configure | Apply the firewall
  nft_ruleset:
    values: {management_sources: ["fe80::/10"], services: [], log_rate: 10/minute, tunnel_mss: 1160}
    confirm_seconds: "{{ firewall_confirm_seconds }}"
"""

RETURN = r"""
drift: {type: dict, returned: always, description: "{missing, unexpected}: rules of the running
    table that are declared and not there, or there and not declared, in nft's JSON."}
confirmed: {type: bool, returned: changed, description: A new SSH connection was made under the new
    rules.}
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

# Relative, because AnsiballZ, mypy and the tests each mount this tree under another package name.
from ..module_utils.paranal_nft import FILE, Firewall, Ruleset  # noqa: TID252
from ..module_utils.paranal_node import (  # noqa: TID252
    Node,
    note_change,
    refusals,
    require_lock,
    run_command,
)


def apply(firewall: Firewall, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Compare, and load when different; raises ``Refused`` when nothing could be changed."""
    text, before = params["text"], firewall.text()
    if check and firewall.absent():
        # A run installs it first; until then nothing says what the kernel would make of the text.
        nothing: dict[str, list[str]] = {"missing": [], "unexpected": []}
        told = differences(before, text, nothing)
        return {"changed": True, "drift": nothing, "diff": told, "unconfirmed": False}
    declared, live = firewall.declared(text), firewall.live()
    drift, reload = difference(live, declared), live != declared
    result = {
        "changed": reload or before != text,
        "drift": drift,
        "diff": differences(before, text, drift),
        "unconfirmed": reload and not check,
    }
    if check:
        return result
    if reload:
        firewall.load(params["confirm_seconds"])
    elif before != text:
        firewall.confirm(text)
    else:
        firewall.remember(text, declared)
    return result


def differences(before: str, text: str, drift: dict[str, list[str]]) -> list[dict[str, str]]:
    """Return Ansible's diff: the file, and the running table where it is not what is declared."""
    unexpected, missing = (
        "".join(f"{rule}\n" for rule in drift[key]) for key in ("unexpected", "missing")
    )
    entries = [(FILE, before, text), ("nft list table inet paranal", unexpected, missing)]
    return [
        {"before_header": name, "after_header": name, "before": old, "after": new}
        for name, old, new in entries
        if old != new
    ]


def difference(live: Ruleset | None, declared: Ruleset) -> dict[str, list[str]]:
    """Return what the running table lacks and what it has too much."""
    running = live.lines if live else ()
    return {
        "missing": [line for line in declared.lines if line not in running],
        "unexpected": [line for line in running if line not in declared.lines],
    }


def main() -> NoReturn:
    """Do one phase."""
    module = AnsibleModule(  # type: ignore[no-untyped-call]
        # The rules and connections are long; who applied what is in the history.
        no_log=True,
        argument_spec={
            "phase": {"type": "str", "required": True, "choices": ["apply", "confirm"]},
            "text": {"type": "str", "required": True},
            "confirm_seconds": {"type": "int", "default": 30},
            "session": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    node, params = Node(Path(module.params["root"])), module.params
    with refusals(module.fail_json, "PAR-0325"):
        if not module.check_mode:
            require_lock(node, params["session"])
        with TemporaryDirectory(prefix="paranal-nft-") as scratch:
            firewall = Firewall(node, run_command, Path(scratch))
            if params["phase"] == "confirm":
                # This very run came in over a connection that was made under the new rules.
                firewall.confirm(params["text"])
                result: dict[str, Any] = {"changed": True, "confirmed": True}
            else:
                result = apply(firewall, params, check=module.check_mode)
            if result["changed"] and not module.check_mode and not result.get("unconfirmed"):
                note_change(node, "firewall", [FILE])
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
