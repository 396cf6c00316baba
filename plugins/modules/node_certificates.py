"""Give a node its keys and certificates: the key is made there and never leaves it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_certificates
short_description: A node's keys and certificates, and its country's revocation lists
description:
  - An action plugin compares the declared leaves with the probe of M(node_state). What is missing,
    altered, revoked, issued by another authority, or has less than O(renew_at_fraction) of its life
    left is issued anew, in two module runs for all leaves together - the keys and their requests
    are made on the node, the certificates are signed on the controller by the country's own
    authority, and installed. When nothing is missing, no module runs at all.
  - It also signs the revocation lists that are due and publishes them, so that a run of the
    playbook keeps them fresh.
  - A crash or a restart at any moment finds a key that fits its certificate;
    C(plugins/module_utils/paranal_x509.py) says how.
options:
  leaves:
    description: The certificates this node must have. Those that it had before and that are no
      longer declared are removed.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {type: str, required: true, description: A word for the leaf on this node.}
      profile: {type: str, required: true, description: "One of C(paranal.pki.profiles): ike, tls,
          post, signing, desk."}
      names: {type: list, elements: str, required: true, description: "DNS names; the first is the
          subject's too."}
      key: {type: path, required: true, description: Where the private key stands.}
      certificate: {type: path, description: "Where the certificate stands. Default the key's path:
          one file with key, leaf and issuing CA."}
      chain: {type: bool, description: "Add the issuing CA to a certificate that stands alone.
          Default false."}
      owner: {type: str, description: "Owner of the key's file, default root."}
      group: {type: str, description: "Group of the key's file, default root."}
      mode: {type: str, description: "Mode of the key's file, default 0600."}
      reload: {type: list, elements: str, description: "Units to reload, where they run, when the
          leaf changed; HAProxy takes it at run time where it can."}
      proof: {type: dict, description: "How it is seen that the leaf is sent: C({by: ike}), C({by:
          tls, address, port, names}), C({by: signature, account}), or C({by: file}) for a service
          that reads the file itself."}
  authority:
    description: The directory of the country's own certificate authority, on the controller.
    type: path
    required: true
  passphrase_file:
    description: The file with its passphrase, mode 0600; read only when something is signed.
    type: path
    required: true
  published:
    description: Where the country publishes its CAs and lists, on the controller.
    type: path
    required: true
  leaf_minutes:
    description: How long a leaf that is issued lives, from 2 minutes to 90 days.
    type: float
    default: 129600
  renew_at_fraction:
    description: A leaf with less than this part of its life left is issued anew.
    type: float
    default: 0.33
  issued_before:
    description: Leaves of O(rotate) that were issued before this moment (RFC 3339, or C(now)) are
      issued anew. Who asks with the same moment again asks for nothing more.
    type: str
  rotate:
    description: Names of the leaves that O(issued_before) concerns, default all of them.
    type: list
    elements: str
  confirmed:
    description: The peers that said that they trust the newest generation of O(authority), which
      stands beside it (C(pe-g2)); while the agreement names both, it issues once all have said so.
    type: list
    elements: str
  prove:
    description: Issue nothing; take every rotation that is under way to its end - see that the new
      leaf is the one that is sent, and that nothing of the old pair is left.
    type: bool
    default: false
  at_once:
    description: Take every rotation under way to its end in the run that installs, instead of by a
      task with O(prove) - where all that sends the leaves runs already (rotate_certificates.yml).
    type: bool
    default: false
  prove_too:
    description: Leaves to prove once all is installed, filled in by the action plugin.
    type: list
    elements: dict
    default: []
  phase:
    description: Which of the module runs this is, filled in by the action plugin.
    type: str
    choices: [request, install, prove]
  remove:
    description: Leaves to remove, filled in by the action plugin.
    type: list
    elements: str
    default: []
  session:
    description: The run that holds the node's lock, filled in by the action plugin.
    type: str
  root:
    description: Where the node's C(/) is; for tests and images only.
    type: path
    default: /
attributes:
  check_mode: {support: full, description: "No module runs; says what would be issued, also for a
      node never touched."}
  diff_mode: {support: full, description: "Names, serial and dates of each leaf; never a key."}
"""

EXAMPLES = r"""
- name: Keep the node's keys and certificates
  node_certificates:
    authority: "{{ pki_authority }}"
    passphrase_file: "{{ pki_passphrase_file }}"
    published: "{{ pki_published }}"
    leaves:
      - name: ike
        profile: ike
        names: ["{{ node_view.member.identities.ike }}"]
        key: /etc/swanctl/private/ike.key
        certificate: /etc/swanctl/x509/ike.pem
"""

RETURN = r"""
issued: {type: list, returned: always, description: "One {name, reason, names, not_after, serial}
    for each new leaf; in check mode without serial."}
removed: {type: list, returned: always, description: "Leaves that are no longer declared."}
repaired: {type: list, returned: always, description: "Leaves whose modes were put right."}
lists: {type: list, returned: always, description: "The revocation lists signed: root, issuing."}
published: {type: list, returned: always, description: "The published files that changed."}
paths: {type: list, returned: always, description: "The files on the node that changed."}
retired: {type: list, returned: always, description: "One {name, serial, replaces} for each
    rotation that came to its end in this task."}
"""

from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

# Relative, because AnsiballZ, mypy and the tests each mount this tree under another package name.
from ..module_utils.paranal_node import Node, refusals, require_lock  # noqa: TID252

try:
    from ..module_utils.paranal_proof import Proof, prove, read_from, shown_by, signed_by  # noqa: TID252
    from ..module_utils.paranal_x509 import Installation, make_requests  # noqa: TID252
except ImportError:  # python3-cryptography comes with role base
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True


def perform(node: Node, params: dict[str, Any]) -> dict[str, Any]:
    """Do one phase: ``request`` answers ``{"changed", "requests"}``.

    The others answer ``{"changed", "paths", "retired"}``.
    """
    if params["phase"] == "request":
        return {"changed": False, "requests": make_requests(node, params["leaves"])}
    paths, to_prove = [], params["leaves"]
    if params["phase"] == "install":
        paths = Installation(node).apply(params["leaves"], params["remove"])
        to_prove = params["prove_too"]
    retired = taken_to_the_end(node, to_prove)
    return {"changed": bool(paths or retired), "paths": paths, "retired": retired}


def taken_to_the_end(node: Node, leaves: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Have charon take up its leaf, see that each is the one that is sent, and retire the old."""
    if any(leaf["proof"]["by"] == "ike" for leaf in leaves):
        from ..module_utils.paranal_vici import take_up_credentials  # noqa: TID252

        take_up_credentials(node)
    return [
        done
        for leaf in leaves
        for done in prove(node, [leaf], {leaf["proof"]["by"]: proof_of(node, leaf)})
    ]


def proof_of(node: Node, leaf: dict[str, Any]) -> Proof:
    """Return how it is seen that a leaf is the one that is sent."""
    how = leaf["proof"]
    if how["by"] == "tls":
        return shown_by(how["address"], int(how["port"]), how["names"])
    if how["by"] == "file":
        return read_from(node.real(leaf["certificate"]))
    if how["by"] == "signature":
        return signed_by(how["account"], leaf["certificate"])
    from ..module_utils.paranal_vici import ike_proof  # noqa: TID252

    return ike_proof(node)


def main() -> NoReturn:
    """Run one phase under the node's lock."""
    module = AnsibleModule(  # type: ignore[no-untyped-call]
        argument_spec={
            "phase": {"type": "str", "required": True, "choices": ["request", "install", "prove"]},
            "leaves": {"type": "list", "elements": "dict", "required": True},
            "remove": {"type": "list", "elements": "str", "default": []},
            "prove_too": {"type": "list", "elements": "dict", "default": []},
            "session": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/"},
        },
    )
    if not HAS_CRYPTOGRAPHY:
        module.fail_json(msg="python3-cryptography is not installed.")
    node = Node(Path(module.params["root"]))
    with refusals(module.fail_json, "PAR-0325"):
        require_lock(node, module.params["session"])
        result = perform(node, module.params)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
