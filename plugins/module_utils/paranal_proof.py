"""See which leaf is really sent: what a TLS listener shows, and what charon can sign with.

TLS shows its leaf before it asks for ours. IKE hides it, so there the proof is by elimination:
every key that charon holds is the new leaf's, and no IKE_SA is left that authenticated before that.
A signing leaf is seen by an envelope: its service's account signs one, and it opens as ours.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .paranal_leaves import advance, load_leaves, save_leaves
from .paranal_node import Node, Refused, Run, note_change, run_command, sync_directory, until

SECONDS = 5.0
SIGNING_SECONDS = 20.0
REFUSAL = re.compile(r"PAR-\d{4}")
WAIT_SECONDS = 10.0
Leaf = dict[str, Any]
Proof = Callable[[x509.Certificate], str]
"""Says why a leaf is not the one that is sent; empty when it is."""


def prove(node: Node, leaves: Iterable[Leaf], proofs: Mapping[str, Proof]) -> list[dict[str, str]]:
    """Take each rotation under way to its end; return one {name, serial, replaces} for each.

    ``proofs`` gives the proof of each kind that a leaf may name. Raises PAR-0440 for a leaf that is
    in its files and not sent, PAR-0441 where something of the old pair cannot be retired. What was
    proven before stays so.
    """
    memory, done = load_leaves(node), []
    for leaf in leaves:
        name, rotation = leaf["name"], memory["rotations"].get(leaf["name"])
        if rotation is None or rotation["stage"] not in ("installed", "loaded", "proven"):
            continue
        certificate = x509.load_pem_x509_certificate(node.real(leaf["certificate"]).read_bytes())
        if f"{certificate.serial_number:x}" != rotation["serial"]:
            raise Refused("PAR-0440", name=name, reason="serial")
        if leaf["proof"]["by"] != "ike" and rotation["stage"] == "installed":
            advance(memory, name, "loaded")  # what HAProxy owes was done with the installation
            save_leaves(node, memory)
        proof = proofs[leaf["proof"]["by"]]
        reason = until(lambda: proof(certificate), lambda text: not text, WAIT_SECONDS)  # noqa: B023
        if reason:
            raise Refused("PAR-0440", name=name, reason=reason)
        advance(memory, name, "proven")
        save_leaves(node, memory)
        retire(node, leaf)
        told = {key: memory["rotations"][name][key] for key in ("serial", "replaces")}
        del memory["rotations"][name]
        save_leaves(node, memory)
        done.append({"name": name, **told})
    note_change(node, "pki", [f"retired {each['name']} {each['replaces']}" for each in done])
    return done


def retire(node: Node, leaf: Leaf) -> None:
    """See that nothing of the old pair is left: one key, and it is the leaf's (PAR-0441)."""
    (node.state / "requests" / f"{leaf['name']}.key").unlink(missing_ok=True)
    folder = node.real(leaf["key"]).parent
    stem, suffix = Path(leaf["key"]).stem, Path(leaf["key"]).suffix
    left = [path.name for path in folder.glob(f"{stem}.*{suffix}")]
    if left:
        raise Refused("PAR-0441", name=leaf["name"], path=str(folder / left[0]))
    sync_directory(folder)


def shown_by(address: str, port: int, names: Iterable[str]) -> Proof:
    """Return the proof that a listener shows the leaf under each of its names."""

    def proof(certificate: x509.Certificate) -> str:
        wanted = certificate.public_bytes(Encoding.DER)
        for name in names:
            try:
                if shown(address, port, name) != sha256(wanted).hexdigest():
                    return f"{address}:{port} {name}: another certificate"
            except OSError as error:
                return f"{address}:{port} {name}: {error}"
        return ""

    return proof


def shown(address: str, port: int, name: str) -> str:
    """Return the SHA-256 of the leaf that a TLS 1.3 listener shows under a name. ``OSError``."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    with (
        socket.create_connection((address, port), SECONDS) as plain,
        client.wrap_socket(plain, server_hostname=name) as line,
    ):
        return sha256(line.getpeercert(binary_form=True) or b"").hexdigest()


def read_from(path: Path) -> Proof:
    """Return the proof for a service that reads its file itself: the new pair is in it."""

    def proof(certificate: x509.Certificate) -> str:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path)
        except OSError as error:
            return f"{path}: {error}"
        held = x509.load_pem_x509_certificate(path.read_bytes())
        return "" if held == certificate else f"{path}: another certificate"

    return proof


def signed_by(account: str, path: str, run: Run = run_command) -> Proof:
    """Return the proof that ``account`` signs with the leaf in ``path``, and that it opens.

    Of a refusal only its code is told: its sentence in both languages would stand in another.
    """
    prove_it = ["python3", "-I", "-B", "-m", "paranal.signing.proof", path]

    def proof(certificate: x509.Certificate) -> str:
        done = run(["runuser", "-u", account, "--", *prove_it], SIGNING_SECONDS)
        if done.status != 0:
            code = REFUSAL.match(done.err)
            return f"{path}: {code[0] if code else done.tail}"
        wanted = certificate.fingerprint(hashes.SHA256()).hex()
        return "" if done.out.strip() == wanted else f"{path}: another certificate"

    return proof


def key_name(certificate: x509.Certificate) -> str:
    """Return the name under which charon lists the certificate's key: SHA-1 of its public key."""
    key = certificate.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return sha1(key).hexdigest()  # noqa: S324 - a name that charon chose, not a protection
