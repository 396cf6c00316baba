"""What the node's own `paranal.tunnels` says, for the probe and the module.

The work is done by the package, because the node heals and verifies itself without a controller;
``paranal.deb`` brings it together with the VICI library.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from typing import Any

from .paranal_leaves import read_trust
from .paranal_node import Node, Refused, note_change

TAKE_UP_SECONDS = 20
"""How long the pairs may take to authenticate anew, as role ``ipsec`` waits."""

ABSENT = "paranal.deb is not installed yet"


def probe_tunnels(node: Node) -> dict[str, Any]:
    """Return ``{"planes": [data planes this node can carry], **loaded}``.

    ``loaded`` is ``{"texts": {NAME: SHA-256 of its section}, "ppks": {NAME: SHA-256 of its file},
    "clean": bool, "chains": {PEER: [SHA-256 of the roots that its IKE_SAs stand on]}, "issuers":
    {PEER: [SHA-256 of the CAs of its leaves, as each peer of several roots says]}}``. Clean is:
    charon provably holds exactly what was applied last, the file says the same, no credential is
    newer, and no superseded generation is left. It is ``{"absent": reason}`` where nobody can be
    asked.
    """
    return {"planes": data_planes(node), **_loaded(node)}


def data_planes(node: Node) -> list[str]:
    """Return which data planes the node offers; never chosen by this, only verified."""
    modules = node.real(f"/lib/modules/{platform.release()}")
    known = [modules / "modules.builtin", modules / "modules.dep", node.real("/proc/modules")]
    offered = {"userspace": node.real("/dev/net/tun").exists()}
    offered["kernel"] = any(path.exists() and "esp4" in path.read_text() for path in known)
    return sorted(name for name, there in offered.items() if there)


def take_up_credentials(node: Node) -> None:
    """Have charon read the credentials that changed, and the pairs they concern authenticate anew.

    By what it holds, not by a declaration: a rotation changes no connection. Nothing is done where
    it has read them (role ``ipsec`` did). Raises PAR-0702 to PAR-0704.
    """
    from paranal.messages import Refusal
    from paranal.tunnels.charon import Charon, CharonError
    from paranal.tunnels.reconcile import reconcile, swanctl_load_credentials
    from paranal.tunnels.record import Paths, read_record

    paths = Paths(node.real("/etc/swanctl"), node.state)
    try:
        with paths.alone(wait=True), Charon() as charon:
            record = read_record(paths)
            held = [one for name, one in record.held.items() if name not in record.superseded]
            done = reconcile(
                charon,
                held,
                paths,
                {},
                wait_seconds=TAKE_UP_SECONDS,
                load_credentials=swanctl_load_credentials,
            )
    except Refusal as refusal:
        raise Refused(refusal.code, **refusal.params) from refusal
    except CharonError as error:
        raise Refused("PAR-0704", reason=str(error)) from error
    note_change(node, "ipsec", [f"{step.action} {step.name}" for step in done.plan.steps])


def ike_proof(node: Node) -> Callable[[Any], str]:
    """Return the proof that charon can sign with a leaf's key alone, and that every pair did."""

    def proof(certificate: Any) -> str:  # noqa: ANN401 - cryptography is not everywhere we are
        from paranal.tunnels.charon import Charon, CharonError
        from paranal.tunnels.reconcile import signs_only_with
        from paranal.tunnels.record import Paths

        from .paranal_proof import key_name

        try:
            with Charon() as charon:
                paths = Paths(node.real("/etc/swanctl"), node.state)
                return signs_only_with(charon, paths, key_name(certificate))
        except CharonError as error:
            return str(error)

    return proof


def _loaded(node: Node) -> dict[str, Any]:
    try:
        from paranal.tunnels import chains, ppk
        from paranal.tunnels.charon import Charon, CharonError
        from paranal.tunnels.reconcile import survey
        from paranal.tunnels.record import Paths, read_record
    except ImportError:
        return {"absent": ABSENT}
    paths = Paths(node.real("/etc/swanctl"), node.state)
    try:
        record = read_record(paths)
        held = {name: one for name, one in record.held.items() if name not in record.superseded}
        with Charon() as charon:
            _, plan = survey(charon, list(held.values()), paths)
            connections = [one["connection"] for one in record.held.values()]
            files = (name for one in connections for name in one["config"]["remote"]["cacerts"])
            standing = chains.chains(
                connections,
                charon.ike_sas(),
                chains.pinned(files, paths.certificate),
                lambda: chains.sent_leaves(charon.certificates()),
                time.time(),
            )
    except CharonError as error:
        return {"absent": str(error)}
    except Exception as error:
        # A broken package or record is what this run may be there to repair.
        return {"absent": f"{type(error).__name__}: {error}"}
    texts = {name: hashlib.sha256(one["text"].encode()).hexdigest() for name, one in held.items()}
    clean = not plan.changes and not record.superseded
    told = {"chains": standing, "issuers": told_issuers(node)}
    return {"texts": texts, "ppks": ppk.delivered(paths), "clean": clean, **told}


def told_issuers(node: Node) -> dict[str, list[str]]:
    """Ask, over ``control``, each peer whose authority is being relieved whose leaves it uses."""
    trust = read_trust(node)
    relieved = {code for code in trust if sum(name.endswith("root") for name in trust[code]) > 1}
    if not relieved:
        return {}
    import msgspec

    from paranal.agreement.suspension import RECORD
    from paranal.control import parity
    from paranal.messages import Refusal
    from paranal.serving.view import View
    from paranal.tunnels.gateway import VIEW, read_view

    try:
        view = msgspec.convert(read_view(node.real(str(VIEW)), node.real(str(RECORD))), View)
    except (Refusal, msgspec.ValidationError):  # the view is lost: nobody is asked, nothing goes
        return {}
    return parity.issuers(view, relieved)
