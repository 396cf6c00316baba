"""Own a role's files on a node: stage, validate, swap, activate, or leave everything as it was."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: Apply a role's whole tree of files to a node in one step
description:
  - An action plugin renders every file below the calling role's C(templates/) (target path = path
    below C(templates/), minus C(.j2); a file without C(.j2) is shipped as it is) and below
    C(files/) on the controller, and ships them in one module call. A name that begins with C(_) is
    a macro file and is not shipped. C({% import %}) also searches the repository's C(templates/).
  - On the node the module stages the tree, runs the validators on the staged tree, writes every new
    file beside its target, and only then renames them one by one under a journal. A run that was
    killed at any moment is undone or finished by the next one. Files that the role owned before and
    no longer does are removed. The previous generation is kept.
  - Then it enables services, runs the activations whose paths changed, and starts services. When
    one fails, the files are put back, the activations run again on the old content, and the task
    fails saying so.
  - When the probe of M(node_state) says that the node already holds exactly this, no module runs.
  - A template that renders to nothing but white space means that the file is absent.
options:
  owner:
    description: The key under which these files are owned. Two tasks of one role need two owners.
        Default the role's name.
    type: str
  tree:
    description: The directory that holds C(templates/) and C(files/). Default the role's directory.
    type: path
  modes:
    description: "Mode and owner by target path (shell pattern, C(*) also matches C(/)); the last
        match wins. Default 0644 root root."
    type: list
    elements: dict
    suboptions:
      path: {type: str, required: true, description: "Shell pattern over target paths."}
      mode: {type: str, description: "Octal, quoted, as in C('0600')."}
      owner: {type: str, description: "Account name; it may be created by an earlier role."}
      group: {type: str, description: "Group name."}
  directories:
    description: Directories that must exist with a certain mode. Other missing parents are made
        0755 root root.
    type: list
    elements: dict
    suboptions:
      path: {type: path, required: true, description: "Absolute path."}
      mode: {type: str, description: "Octal, default 0755."}
      owner: {type: str, description: "Account name, default root."}
      group: {type: str, description: "Group name, default root."}
  moved:
    description: "Directories below C(templates/) whose name depends on the node, path there to path
        on the node; the other options name the latter."
    type: dict
  links:
    description: "Symbolic links, target path to what it points at. They are owned and removed
        like files."
    type: dict
  absent:
    description: Files of others, such as the installer's, that must not stand beside ours. They are
        removed in the same swap, after the validators, and put back when an activation fails.
    type: list
    elements: path
  extra:
    description: "Further files, such as a package the controller built or one file per peer."
    type: list
    elements: dict
    suboptions:
      dest: {type: path, required: true, description: "Target path."}
      src: {type: path, description: "A file on the controller. Either this or O(extra[].content)."}
      content: {type: str, description: "The text itself. White space alone means absent."}
  secret:
    description: Shell patterns of target paths whose content never appears in a diff or a message.
    type: list
    elements: str
  validate:
    description: Commands that must succeed on the staged tree when a file they match changed.
    type: list
    elements: dict
    suboptions:
      paths: {type: list, elements: str, required: true, description: "Shell patterns of target
          paths."}
      command:
        description: The argument vector. C({staged}) is the staged file (one run for each changed
            file), C({root}) the
          root of the whole staged tree (one run).
        type: list
        elements: str
        required: true
      needs:
        description: Paths on the node that the command needs. In check mode, when one does not
            exist yet, the validator is
          reported as "not run". A program that is not installed yet counts the same way.
        type: list
        elements: path
  activate:
    description: "Commands run in this order after the swap, each when a path it matches was
        written or removed."
    type: list
    elements: dict
    suboptions:
      paths: {type: list, elements: str, required: true, description: "Shell patterns of target
          paths."}
      command: {type: list, elements: str, required: true, description: "The argument vector, such
          as C([systemctl, reload, x])."}
      check: {type: list, elements: str, description: "The argument vector that proves it took;
          tried for 15 seconds at most."}
      seconds: {type: int, description: "How long the command may take. Default 30."}
      due:
        description: Run it although no file changed, because the probe shows that the node does not
            run with what its files say. Reported as a change. Default false.
        type: bool
  services:
    description: "systemd units that must be so. C(daemon-reload) is run whenever a unit file
        changed, before anything else."
    type: list
    elements: dict
    suboptions:
      name: {type: str, required: true, description: "With its suffix: C(chrony.service)."}
      state: {type: str, choices: [started, stopped, masked], description: "Default started.
          C(masked) also stops it."}
      enabled: {type: bool, description: "Started at boot. Left alone when not given."}
  roots:
    description: Targets outside these directories are refused. A link in the way of a target is
        refused too.
    type: list
    elements: path
    default: [/etc, /usr/lib/systemd, /usr/lib/sysusers.d, /usr/lib/tmpfiles.d, /usr/local,
        /var/lib/paranal]
  payload:
    description: "The desired entries, filled in by the action plugin."
    type: str
  session:
    description: "The run that holds the node's lock, filled in by the action plugin from
        C(node_session)."
    type: str
  root:
    description: Where the node's C(/) is; for tests and images only.
    type: path
    default: /
attributes:
  check_mode: {support: full, description: "Exact; nothing is written but a private temporary
      directory for the validators."}
  diff_mode: {support: full, description: "One entry per file, with its mode and owner; secrets
      and binaries by name only."}
"""

EXAMPLES = r"""
- name: Apply the base files
  node_files:
    modes:
      - {path: /etc/sudoers.d/*, mode: "0440"}
    validate:
      - {paths: [/etc/sudoers.d/*], command: [visudo, -c, -f, "{staged}"]}
      - paths: [/etc/ssh/*]
        command: [sshd, -t, -f, "{staged}"]
        needs: [/etc/ssh/ssh_host_ed25519_key]
    activate:
      - paths: [/etc/ssh/*]
        command: [systemctl, reload, ssh.service]
        check: [systemctl, is-active, ssh.service]
    services:
      - {name: chrony.service, enabled: true}
      - {name: nftables.service, state: masked}

- name: Install the package that the controller built
  node_files:
    owner: base-package
    extra:
      - {dest: /var/lib/paranal/packages/paranal.deb, src: "{{ lookup('paranal_package') }}"}
    activate:
      - paths: [/var/lib/paranal/packages/paranal.deb]
        command: [dpkg, --install, /var/lib/paranal/packages/paranal.deb]
        check: [python3, -c, import paranal]
"""

RETURN = r"""
created: {type: list, returned: always, description: "Target paths that did not exist."}
replaced: {type: list, returned: always, description: "Target paths whose content, mode or owner
    changed."}
removed: {type: list, returned: always, description: "Target paths removed because the role no
    longer owns them."}
activated: {type: list, returned: always, description: "The commands run after the swap, as
    strings; in check mode those that would run."}
services: {type: list, returned: always, description: "What was done to services, such as
    C(started chrony.service)."}
validators: {type: list, returned: always, description: "One {command, result: ok|not run, reason}
    for each validator that had work."}
recovered: {type: str, returned: always, description: "What was done about an interrupted run, or
    an empty string."}
"""

from pathlib import Path
from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

# Relative, because AnsiballZ, mypy and the tests each mount this tree under another package name.
from ..module_utils.paranal_files import Application  # noqa: TID252
from ..module_utils.paranal_node import Node, refusals, require_lock  # noqa: TID252
from ..module_utils.paranal_tree import decode_payload  # noqa: TID252


def main() -> NoReturn:
    """Read the request the action plugin packed, apply it, and report."""
    module = AnsibleModule(  # type: ignore[no-untyped-call]
        argument_spec={
            "owner": {"type": "str", "required": True},
            "payload": {"type": "str", "required": True, "no_log": True},
            "session": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    node = Node(Path(module.params["root"]))
    with refusals(module.fail_json, "PAR-0325"):
        if not module.check_mode:
            require_lock(node, module.params["session"])
        request = decode_payload(module.params["payload"])
        report = Application(node, module.params["owner"], request).apply(check=module.check_mode)
    result = {
        "changed": report.changed,
        "created": report.plan.created,
        "replaced": report.plan.replaced,
        "removed": report.plan.removed,
        "activated": report.activated,
        "services": report.services,
        "validators": report.validators,
        "recovered": report.recovered,
    }
    if module._diff:
        effects = "".join(f"run: {item}\n" for item in report.activated)
        effects += "".join(f"unit: {item}\n" for item in report.services)
        result["diff"] = [*report.diff, *([{"prepared": effects}] if effects else [])]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
