"""The controller's half of ``node_certificates``: compare, sign, publish.

The module documents the options. Everything that can be refused without the node (a name outside
the country's domain, a wrong passphrase) is refused before the node makes a key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from paranal.messages import Refusal, refusal_in
from paranal.pki import certificates
from paranal.pki.authority import MINUTE, CertificateAuthority, Issued
from paranal.pki.certificates import authority_stem
from paranal.pki.profiles import LEAF_LIFE, checked_names, profile_named
from paranal.pki.renewal import REASONS, Leaf, needs_repair, reason_to_issue
from paranal.pki.rollover import (
    Generation,
    directories,
    in_use,
    must_trust,
    not_trusting,
    passphrase_file,
)
from paranal.pki.rotation import moment, wants_proof
from paranal.pki.storage import read_passphrase
from paranal.pki.vault import opener

RENEW_AT_FRACTION = 0.33
PARITY = "/usr/bin/paranal control parity --json"
LEAF_OPTIONS = (
    "name",
    "profile",
    "names",
    "key",
    "certificate",
    "chain",
    "owner",
    "group",
    "mode",
    "reload",
    "proof",
)
REQUIRED = ("name", "profile", "names", "key")
Held = Mapping[str, Mapping[str, Any]]


class ActionModule(ActionBase):
    """Issue what the node lacks; keep the country's revocation lists fresh and published."""

    _VALID_ARGS = frozenset(
        {
            *("leaves", "authority", "passphrase_file", "published", "renew_at_fraction", "root"),
            *("leaf_minutes", "issued_before", "rotate", "prove", "at_once", "issue_next"),
        }
    )

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Do the whole task in two module runs, one, or none."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            work = self._prove if self._task.args.get("prove") else self._converge
            return {**result, **work(task_vars or {})}
        except Refusal as refusal:
            return {**result, "failed": True, "msg": str(refusal)}

    def _converge(self, variables: dict[str, Any]) -> dict[str, Any]:
        arguments = self._task.args
        for option in ("leaves", "authority", "passphrase_file", "published"):
            if not arguments.get(option):
                known = ", ".join(sorted(self._VALID_ARGS))
                raise Refusal("PAR-0315", option="node_certificates", key=option, known=known)
        probe = (variables.get("node_session") or {}).get("probe", {}).get("certificates", {})
        held: Held = probe.get("leaves", {})
        leaves = [declared_leaf(item) for item in arguments["leaves"]]
        published, secret = Path(arguments["published"]), Path(arguments["passphrase_file"])
        here = [CertificateAuthority(one) for one in directories(Path(arguments["authority"]))]
        view = (variables.get("node_session") or {}).get("view", {})
        is_asked = self._is_set("issue_next")
        authority = chosen(here, view, held, is_asked, lambda root: self._lacking(view, root))
        for leaf in leaves:
            checked_names(leaf.names, authority.domain, profile_named(leaf.profile))
        fraction = float(arguments.get("renew_at_fraction", RENEW_AT_FRACTION))
        life = float(arguments.get("leaf_minutes", LEAF_LIFE / MINUTE)) * MINUTE
        asked = asked_of(leaves, arguments.get("rotate"), arguments.get("issued_before"))
        rotations = probe.get("rotations", {})
        now = datetime.now(UTC)
        wanted = wanted_leaves(leaves, held, authority, here, fraction, now, rotations, asked)
        repaired = [
            leaf
            for leaf in leaves
            if leaf.name not in wanted and needs_repair(leaf, held[leaf.name])
        ]
        removed = sorted(held.keys() - {leaf.name for leaf in leaves})
        proving = under_way(leaves, wanted, rotations) if self._is_set("at_once") else []
        due = {one.directory: one.due_lists() for one in here}
        issued: dict[str, Issued] = {}
        report: dict[str, Any] = {}
        if self._task.check_mode:
            published_files = [path for one in here for path in one.publish(published, dry=True)]
            published_files += [
                f"crl/{authority_stem(one.member, one.generation)}-{name}.crl"
                for one in here
                for name in due[one.directory]
            ]
        else:
            opened = [
                self._opened(one, secret)
                if due[one.directory] or (wanted and one is authority)
                else one
                for one in here
            ]
            authority = opened[here.index(authority)]
            due = {one.directory: one.crl() for one in opened}
            published_files = [path for one in opened for path in one.publish(published)]
            if wanted:
                requests = self._call("request", [wanted[name][0] for name in wanted], variables)
                for name, (leaf, _) in wanted.items():
                    csr = requests["requests"][name].encode()
                    issued[name] = authority.issue(csr, leaf.profile, leaf.names, life)
            if wanted or repaired or removed or probe.get("owed"):
                install = [installable(leaf, issued[leaf.name]) for leaf, _ in wanted.values()]
                install += [leaf.as_request() for leaf in repaired]
                too = [leaf.as_request() for leaf in proving]
                report = self._call("install", install, variables, remove=removed, prove_too=too)
            elif proving:
                report = self._call("prove", proving, variables)
        lists = sorted({name for names in due.values() for name in names})
        changed = bool(wanted or repaired or removed or lists or published_files or proving)
        return {
            "changed": changed or bool(report.get("changed")),
            "issued": [told(leaf, why, issued.get(leaf.name)) for leaf, why in wanted.values()],
            "removed": removed,
            "repaired": [leaf.name for leaf in repaired],
            "lists": lists,
            "published": sorted(set(published_files)),
            "paths": report.get("paths", []),
            "retired": report.get("retired", []),
            "diff": diffs(wanted.values(), removed, held, issued),
        }

    def _lacking(self, view: Mapping[str, Any], root: str) -> list[str]:
        """Return the peers that do not trust a root of ours where they run, asked by our node.

        Raises ``Refusal`` PAR-0478 while one of them, or our node, does not say.
        """
        wanted = must_trust(view)
        if not wanted:
            return []
        done = self._low_level_execute_command(PARITY)  # type: ignore[no-untyped-call] # Ansible's
        try:
            pairs = json.loads(done["stdout"])["pairs"]
        except (ValueError, KeyError):
            pairs = {}
        return not_trusting(pairs, wanted, root)

    def _opened(self, authority: CertificateAuthority, secret: Path) -> CertificateAuthority:
        """Return an authority able to sign."""
        file = passphrase_file(secret, authority.directory)
        passphrase = read_passphrase(file, opener(self._loader))
        opened = CertificateAuthority(authority.directory, passphrase)
        opened.unlock()
        return opened

    def _prove(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Take to its end what the probe of this run, or an issuance of it, left under way."""
        probe = variables["node_session"]["probe"].get("certificates", {})
        issued = (variables.get("pki_certificates_result") or {}).get("issued", [])
        leaves = [declared_leaf(item) for item in self._task.args["leaves"]]
        names = {entry["name"] for entry in issued}
        mine = under_way(leaves, names, probe.get("rotations", {}))
        if not mine or self._task.check_mode:
            return {"changed": bool(mine), "retired": []}
        answer = self._call("prove", mine, variables)
        return {"changed": answer["changed"], "retired": answer["retired"]}

    def _is_set(self, option: str) -> bool:
        return bool(boolean(self._task.args.get(option, False)))  # type: ignore[no-untyped-call] # Ansible's

    def _call(
        self,
        phase: str,
        leaves: Iterable[Leaf | dict[str, Any]],
        variables: dict[str, Any],
        **more: list[Any],
    ) -> dict[str, Any]:
        """Run the module once; refuse in the catalogue's words what it refused."""
        arguments = {
            "phase": phase,
            "leaves": [x.as_request() if isinstance(x, Leaf) else x for x in leaves],
            **more,
            "session": variables["node_session"]["session"]["id"],
            "root": self._task.args.get("root", "/"),
        }
        answer: dict[str, Any] = self._execute_module(
            "node_certificates", module_args=arguments, task_vars=variables
        )
        if answer.get("failed"):
            raise refusal_in(answer) or Refusal("PAR-0425", reason=answer.get("msg"))
        return answer


# --- pure ---------------------------------------------------------------------------------------


def declared_leaf(item: Mapping[str, Any]) -> Leaf:
    """Return one declared leaf with its defaults; refuse (PAR-0315) a missing or unknown key."""
    wrong = [key for key in item if key not in LEAF_OPTIONS]
    wrong += [key for key in REQUIRED if not item.get(key)]
    if wrong:
        raise Refusal("PAR-0315", option="leaves", key=wrong[0], known=", ".join(LEAF_OPTIONS))
    settings = {**item, "certificate": item.get("certificate") or item["key"]}
    settings["names"] = tuple(str(name) for name in item["names"])
    settings["reload"] = tuple(item.get("reload") or ())
    return Leaf(**settings)


def wanted_leaves(
    leaves: Iterable[Leaf],
    held: Held,
    authority: CertificateAuthority,
    here: Iterable[CertificateAuthority],
    fraction: float,
    now: datetime,
    rotations: Mapping[str, Mapping[str, str]],
    asked: Mapping[str, datetime],
) -> dict[str, tuple[Leaf, str]]:
    """Return name -> (leaf, reason) of what must be issued; ``asked`` is ``asked_of``'s.

    ``authority`` issues; a leaf of any of the country's, ``here``, may have been revoked.
    """
    issuer = certificates.fingerprint(authority.issuing)
    revoked = {entry["serial"] for one in here for entry in one.issued() if entry["revoked"]}
    found = {}
    for leaf in leaves:
        reason = reason_to_issue(
            leaf,
            held.get(leaf.name),
            issuer,
            revoked,
            fraction,
            now,
            rotations.get(leaf.name),
            asked.get(leaf.name),
        )
        if reason:
            found[leaf.name] = (leaf, reason)
    return found


def under_way(
    leaves: Iterable[Leaf], issued: Container[str], rotations: Mapping[str, Mapping[str, str]]
) -> list[Leaf]:
    """Return the leaves whose new pair this run issues, or whose rotation an earlier one left."""
    return [leaf for leaf in leaves if leaf.name in issued or wants_proof(rotations.get(leaf.name))]


def chosen(
    here: list[CertificateAuthority],
    view: Mapping[str, Any],
    held: Held,
    is_asked: bool,
    lacking: Callable[[str], list[str]],
) -> CertificateAuthority:
    """Return which of the country's authorities issues; refusals are ``rollover.in_use``'s."""
    digest = certificates.fingerprint
    found = [Generation(one.directory, digest(one.root), digest(one.issuing)) for one in here]
    used = in_use(
        found,
        view.get("member", {}).get("roots", []),
        {leaf["issuer_sha256"] for leaf in held.values() if "issuer_sha256" in leaf},
        is_asked,
        lacking,
    )
    return here[found.index(used)]


def asked_of(
    leaves: Iterable[Leaf], names: str | list[str] | None, before: str | None
) -> dict[str, datetime]:
    """Return name -> the moment before which a leaf must not have been issued; empty: none asked.

    Refuses (PAR-0442) a moment that is none and (PAR-0443) a leaf that the node does not have.
    """
    if not before:
        return {}
    try:
        asked = moment(before)
    except ValueError as error:
        raise Refusal("PAR-0442", moment=before, reason=error) from None
    known = [leaf.name for leaf in leaves]
    chosen = [name for name in names.split(",") if name] if isinstance(names, str) else names
    for name in chosen or []:
        if name not in known:
            raise Refusal("PAR-0443", name=name, known=", ".join(known))
    return dict.fromkeys(chosen or known, asked)


def installable(leaf: Leaf, issued: Issued) -> dict[str, Any]:
    """Return a leaf with its certificate, as it travels to the node."""
    chain = issued.chain_pem.decode()
    pem = issued.pem.decode()
    return {**leaf.as_request(), "pem": pem, "issuer": chain.removeprefix(pem)}


def told(leaf: Leaf, reason: str, issued: Issued | None) -> dict[str, Any]:
    """Return what the task reports of one new leaf."""
    told_of: dict[str, Any] = {"name": leaf.name, "reason": REASONS[reason]}
    told_of["names"] = list(leaf.names)
    if issued is not None:
        facts = certificates.facts(issued.certificate)
        told_of |= {"serial": facts["serial"], "not_after": facts["not_after"]}
    return told_of


def diffs(
    wanted: Iterable[tuple[Leaf, str]],
    removed: Iterable[str],
    held: Held,
    issued: Mapping[str, Issued],
) -> list[dict[str, str]]:
    """Return Ansible's diff: names, serial and end of each leaf before and after."""
    found = []
    for leaf, reason in wanted:
        after: dict[str, Any] = {"names": list(leaf.names), "profile": leaf.profile}
        after |= {"serial": "?", "not_after": "?"}
        if leaf.name in issued:
            after.update(certificates.facts(issued[leaf.name].certificate))
        found.append(
            {
                "before_header": leaf.certificate,
                "after_header": f"{leaf.certificate} ({REASONS[reason]})",
                "before": described(held.get(leaf.name)),
                "after": described(after),
            }
        )
    for name in removed:
        found.append({"before_header": name, "after_header": name, "after": ""})
        found[-1]["before"] = described(held[name])
    return found


def described(facts: Mapping[str, Any] | None) -> str:
    """Return a leaf as lines of text; empty for none, or for one that a crash left half-way."""
    if facts is None or "serial" not in facts:
        return ""
    lines = [f"name: {name}" for name in facts["names"]]
    lines += [f"{key}: {facts[key]}" for key in ("profile", "serial", "not_after") if key in facts]
    return "\n".join(lines) + "\n"
