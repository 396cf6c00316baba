"""Render a role's whole tree on the controller and ship it in one module call, or in none.

The module ``node_files`` documents the options. Everything that can be refused without the node
(a template with an undefined variable, a pattern that matches nothing, a target declared twice) is
refused here, before anything is shipped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

from paranal.messages import Refusal, refusal_in

SHARED = Path(__file__).resolve().parents[2] / "templates"
ROOTS = [
    "/etc",
    "/usr/lib/systemd",
    "/usr/lib/sysusers.d",
    "/usr/lib/tmpfiles.d",
    "/usr/local",
    "/var/lib/paranal",
]
OPTIONS: dict[str, dict[str, Any]] = {
    "modes": {"path": None, "mode": "0644", "owner": "root", "group": "root"},
    "directories": {"path": None, "mode": "0755", "owner": "root", "group": "root"},
    "extra": {"dest": None, "src": "", "content": ""},
    "validate": {"paths": None, "command": None, "needs": []},
    "activate": {"paths": None, "command": None, "check": [], "seconds": 30, "due": False},
    "services": {"name": None, "state": "started", "enabled": ""},
}
# Which of systemd's states satisfy a declaration, and the verb that leads there.
STATES = {
    "started": (["active"], "start"),
    "stopped": (["inactive", "failed"], "stop"),
    "masked": (["inactive", "failed"], "stop"),
}
ENABLED = {
    True: (["enabled", "static", "alias", "indirect", "generated"], "enable"),
    False: (["disabled", "static", "indirect", "not-found"], "disable"),
    "masked": (["masked"], "mask"),
    "": ([], ""),
}

Entry = dict[str, Any]


class ActionModule(ActionBase):
    """The controller's half of ``node_files``."""

    _VALID_ARGS = frozenset(
        {"owner", "tree", "moved", "links", "absent", "secret", "roots", "root", *OPTIONS}
    )

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Render, compare with the probe, and run the module only where something differs."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        try:
            request = self._request(variables)
        except Refusal as refusal:
            return {**result, "failed": True, "msg": str(refusal)}
        owner = self._owner()
        session = variables.get("node_session") or {}
        if holds(session.get("probe"), owner, request):
            return {**result, "changed": False, "unchanged": len(request["entries"])}
        arguments = {
            "owner": owner,
            "payload": pack(request),
            "session": session.get("session", {}).get("id", ""),
            "root": self._task.args.get("root", "/"),
        }
        answer = self._execute_module("node_files", module_args=arguments, task_vars=variables)
        refusal_in(answer)
        return {**result, **answer}

    # --- what the role declares -----------------------------------------------------------------

    def _owner(self) -> str:
        role = self._task._role
        return str(self._task.args.get("owner") or (role.get_name() if role else "playbook"))

    def _options(self, name: str) -> list[dict[str, Any]]:
        """Return one list option with its defaults; refuse a missing or an unknown key."""
        known = OPTIONS[name]
        found = []
        for item in self._task.args.get(name) or []:
            wrong = [key for key in item if key not in known]
            wrong += [key for key, default in known.items() if default is None and key not in item]
            if wrong:
                raise Refusal("PAR-0315", option=name, key=wrong[0], known=", ".join(known))
            found.append({**known, **item})
        return found

    def _request(self, variables: dict[str, Any]) -> dict[str, Any]:
        tree = Path(self._task.args.get("tree") or self._task._role._role_path)
        rendered: dict[str, bytes] = {}
        for path, content in self._sources(tree, variables):
            if path in rendered:
                raise Refusal("PAR-0316", path=path, owner=self._owner())
            rendered[path] = content
        present = {path: text for path, text in rendered.items() if text.strip()}
        if not present:
            raise Refusal("PAR-0308", owner=self._owner())
        links = self._task.args.get("links") or {}
        absent = self._task.args.get("absent") or []
        directories = self._options("directories")
        known = [*rendered, *links, *absent, *(item["path"] for item in directories)]
        self._refuse_idle_patterns(known)
        modes, secret = self._options("modes"), self._task.args.get("secret") or []
        entries = {path: file_entry(path, present[path], modes, secret) for path in present}
        entries |= {path: entry("link", str(target).encode()) for path, target in links.items()}
        entries |= {
            item["path"]: entry("directory", b"", item["mode"], item["owner"], item["group"])
            for item in directories
        }
        return {
            "entries": entries,
            "absent": sorted(absent),
            "validate": self._options("validate"),
            "activate": self._options("activate"),
            "services": [service(item) for item in self._options("services")],
            "roots": self._task.args.get("roots") or ROOTS,
        }

    def _refuse_idle_patterns(self, known: list[str]) -> None:
        """Refuse a pattern that matches no target: a typing error would switch a validator off."""
        patterns = [("secret", pattern) for pattern in self._task.args.get("secret") or []]
        patterns += [("modes", item["path"]) for item in self._options("modes")]
        for name in ("validate", "activate"):
            patterns += [(name, p) for item in self._options(name) for p in item["paths"]]
        for option, pattern in patterns:
            if not any(fnmatchcase(path, pattern) for path in known):
                raise Refusal("PAR-0314", option=option, pattern=pattern, owner=self._owner())

    # --- rendering ------------------------------------------------------------------------------

    def _sources(self, tree: Path, variables: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield (target path, content) of every template, file and extra."""
        places = self._task.args.get("moved") or {}
        for source in shipped(tree / "templates"):
            target = moved("/" + str(source.relative_to(tree / "templates")), places)
            if target.endswith(".j2"):
                yield target[:-3], self._render(source, target[:-3], tree, variables)
            else:
                yield target, source.read_bytes()
        for source in shipped(tree / "files"):
            yield "/" + str(source.relative_to(tree / "files")), source.read_bytes()
        for item in self._options("extra"):
            if item["src"]:
                yield item["dest"], Path(item["src"]).read_bytes()
            else:
                yield item["dest"], str(item["content"]).encode()

    def _render(self, source: Path, target: str, tree: Path, variables: dict[str, Any]) -> bytes:
        """Render one template as ``ansible.builtin.template`` would, the house's macros at hand."""
        text = trust_as_template(source.read_text(encoding="utf-8"))
        place = f"{tree.name}/{source.relative_to(tree)}"
        managed = f"Managed by Paranal ({place}); the next run undoes changes by hand."
        scope = {"ansible_managed": managed, **variables, "template_destpath": target}
        templar = self._templar.copy_with_new_env(
            searchpath=[str(source.parent), str(tree / "templates"), str(SHARED)],
            available_variables=scope,
        )
        try:
            return str(templar.template(text, overrides={"trim_blocks": True}) or "").encode()
        except AnsibleError as error:
            raise Refusal("PAR-0306", template=place, reason=reason_of(error)) from error


# --- pure ---------------------------------------------------------------------------------------


def moved(path: str, places: Mapping[str, str]) -> str:
    """Return where a template goes whose directory is named only on the node (``moved``)."""
    for before, after in places.items():
        if path.startswith(f"{before}/"):
            return after + path.removeprefix(before)
    return path


def shipped(folder: Path) -> list[Path]:
    """Return the files below ``folder`` that have a target; a macro's name begins with _."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("_"))


def entry(
    kind: str,
    content: bytes,
    mode: str = "",
    owner: str = "",
    group: str = "",
    secret: bool = False,
) -> Entry:
    """Return one desired entry as it travels; the node's half is ``paranal_tree.Entry``."""
    coded = base64.b64encode(content).decode()
    return {
        "kind": kind,
        "content": coded,
        "mode": f"{int(mode, 8):04o}" if mode else "",
        "owner": owner,
        "group": group,
        "secret": secret,
    }


def file_entry(path: str, content: bytes, modes: list[dict[str, str]], secret: list[str]) -> Entry:
    """Return a file's entry; of the ``modes`` that match its path the last wins."""
    chosen = OPTIONS["modes"]
    for item in modes:
        if fnmatchcase(path, item["path"]):
            chosen = item
    hidden = any(fnmatchcase(path, pattern) for pattern in secret)
    return entry("file", content, chosen["mode"], chosen["owner"], chosen["group"], hidden)


def service(item: dict[str, Any]) -> dict[str, Any]:
    """Translate a declared service into the systemd states that satisfy it and the verbs to it."""
    active, active_verb = STATES[item["state"]]
    enabled, enabled_verb = ENABLED["masked" if item["state"] == "masked" else item["enabled"]]
    return {
        "name": item["name"],
        "active": active,
        "active_verb": active_verb,
        "enabled": enabled,
        "enabled_verb": enabled_verb,
    }


def pack(request: dict[str, Any]) -> str:
    """Pack a request for the module; its inverse is ``paranal_tree.decode_payload``."""
    return base64.b64encode(zlib.compress(json.dumps(request).encode())).decode()


def holds(probe: dict[str, Any] | None, owner: str, request: dict[str, Any]) -> bool:
    """Say whether the node, as probed in this run, already is what ``request`` asks for."""
    found = (probe or {}).get("owners", {}).get(owner)
    if found is None or found["pending"] or found["interrupted"]:
        return False
    if any(item["due"] for item in request["activate"]):
        return False
    desired: dict[str, Any] = dict.fromkeys(request["absent"])
    desired |= {path: facts(item) for path, item in request["entries"].items()}
    if found["entries"] != desired:
        return False
    units = (probe or {}).get("units", {})
    unknown = {"active": "inactive", "enabled": "not-found"}
    return all(
        (fact := units.get(item["name"], unknown))["active"] in item["active"]
        and (not item["enabled"] or fact["enabled"] in item["enabled"])
        for item in request["services"]
    )


def facts(item: Entry) -> dict[str, str]:
    """Return what the probe would report of an entry that is as desired."""
    content = base64.b64decode(item["content"])
    digest = "" if item["kind"] == "directory" else hashlib.sha256(content).hexdigest()
    return {"sha256": digest, **{key: item[key] for key in ("kind", "mode", "owner", "group")}}


def reason_of(error: BaseException) -> str:
    """Return the innermost reason of a template error: Ansible wraps it several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0]
