"""Make charon hold exactly the declared connections, and touch no pair that did not change."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipsec_connections
short_description: Own every IKE connection of a gateway
description:
  - The action plugin derives the connections from C(node_view) and the peers' published roots, and
    renders C(templates/swanctl/connection.conf.j2) for each. The swanctl file and the VICI messages
    are made from the same data, so a restarted charon loads what the running one was given.
  - I(add) loads a connection and, as initiator, brings it up. I(change) loads a new generation
    beside the old one, which is unloaded and terminated only when the new one carries what it
    carried; the other end may follow later. I(credentials) loads them and reauthenticates the pairs
    they concern. I(remove) unloads and terminates; a closed channel waits for nobody.
  - A pair that did not change keeps its SPIs. An empty declaration is refused. When charon refuses
    one connection, file and daemon are as before.
  - When the probe of M(node_state) says that exactly this is loaded, no module runs at all.
options:
  published:
    description: The directory with C(ca/CC-root.pem) of every peer.
    type: path
    required: true
  held:
    description: Declare only what stands on roots that the node has, as probed. A pair whose
      authority was replaced at once is taken away.
    type: bool
    default: false
  wait_seconds:
    description: How long to wait for what this run began. A silent peer fails nothing.
    type: int
    default: 20
  ppk_directory:
    description: The country's own preshared keys, which C(paranal ppk) made. Read only where a
      connection names one.
    type: path
  ppk_passphrase_file:
    description: What opens them.
    type: path
  keys:
    description: The preshared keys by name, filled in by the action plugin.
    type: dict
  after:
    description: Results of earlier tasks; when one of them changed something, the probe is not
      believed.
    type: list
    elements: dict
  declared:
    description: The connections with their text, filled in by the action plugin.
    type: list
    elements: dict
  session:
    description: The run that holds the node's lock, filled in by the action plugin.
    type: str
attributes:
  check_mode: {support: full, description: Asks charon and decides; changes nothing.}
  diff_mode: {support: full, description: The swanctl file and the list of connections.}
"""

EXAMPLES = r"""
- name: configure | Load the connections
  ipsec_connections:
    published: "{{ ipsec_published }}"
    wait_seconds: "{{ ipsec_wait_seconds }}"
    after: ["{{ __ipsec_files_result }}"]
"""

RETURN = r"""
steps: {type: list, returned: always, description: "One {name, peer, action, reason} for each thing
    done; action is add, change, credentials or remove."}
states: {type: dict, returned: always, description: "By connection: up, loaded (a line check or a
    pair nobody has started), or waiting for peer."}
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

# Relative, because AnsiballZ, mypy and the tests each mount this tree under another package name.
from ..module_utils.paranal_node import (  # noqa: TID252
    Node,
    Refused,
    note_change,
    refusals,
    require_lock,
)
from ..module_utils.paranal_vici import ABSENT  # noqa: TID252


def main() -> NoReturn:
    """Reconcile, or in check mode say what would be done."""
    module = AnsibleModule(  # type: ignore[no-untyped-call]
        # The rules and connections are long; who applied what is in the history.
        no_log=True,
        argument_spec={
            "declared": {"type": "list", "elements": "dict", "required": True},
            "keys": {"type": "dict", "default": {}, "no_log": True},
            "wait_seconds": {"type": "int", "default": 20},
            "session": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    node = Node(Path(module.params["root"]))
    with refusals(module.fail_json, "PAR-0325"):
        if not module.check_mode:
            require_lock(node, module.params["session"])
        result = work(node, module.params, check=module.check_mode)
    if not module._diff:
        result.pop("diff")
    module.exit_json(**result)


def work(node: Node, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Ask charon, decide, act; the node's own refusals travel to the controller as such."""
    try:
        from paranal.messages import Refusal
        from paranal.tunnels.charon import Charon, CharonError
        from paranal.tunnels.reconcile import (
            preview,
            reconcile,
            swanctl_load_credentials,
        )
        from paranal.tunnels.record import Paths
    except ImportError:
        if not check:
            raise Refused("PAR-0707", reason=ABSENT) from None
        return untouched(params["declared"])
    paths = Paths(node.real("/etc/swanctl"), node.state)
    try:
        if check:
            with Charon() as charon:
                done = preview(charon, params["declared"], paths, params["keys"])
        else:
            with paths.alone(wait=True), Charon() as charon:
                done = reconcile(
                    charon,
                    params["declared"],
                    paths,
                    params["keys"],
                    wait_seconds=params["wait_seconds"],
                    load_credentials=swanctl_load_credentials,
                )
    except Refusal as refusal:
        raise Refused(refusal.code, **refusal.params) from refusal
    except CharonError as error:
        if check:
            return untouched(params["declared"])
        raise Refused("PAR-0704", reason=str(error)) from error
    steps = [asdict(step) for step in done.plan.steps]
    if done.plan.changes and not check:
        note_change(node, "ipsec", [f"{step['action']} {step['name']}" for step in steps])
    header = str(paths.file)
    return {
        "changed": done.plan.changes,
        "steps": steps,
        "states": done.states,
        "diff": {
            "before_header": header,
            "after_header": header,
            "before": done.file_before,
            "after": done.file_after,
        },
    }


def untouched(declared: list[dict[str, Any]]) -> dict[str, Any]:
    """Say what would be done on a node that has no charon of ours yet."""
    steps = [
        {
            "name": entry["connection"]["name"],
            "peer": entry["connection"]["peer"],
            "action": "add",
            "reason": "not loaded",
        }
        for entry in declared
    ]
    after = "\n".join(entry["text"] for entry in declared)
    return {
        "changed": True,
        "steps": steps,
        "states": {},
        "diff": {"before": "", "after": after},
    }


if __name__ == "__main__":
    main()
