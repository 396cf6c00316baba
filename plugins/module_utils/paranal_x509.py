"""Keys, requests and certificates on the node: a private key is made here and never leaves.

**Never a mismatched pair on disk.** HAProxy and the asking service read one file that holds key,
leaf and issuing CA: one rename replaces it. charon reads every file of ``private/`` and ``x509/``
and pairs them by their public key, so there the order does it: the new key is put *beside* the old
one (``ike.next.key``), then the certificate is replaced, then the new key takes the old one's name.
At each point in between, charon restarted finds a key for the certificate that is there. ``settle``
finishes what a crash left half-way before anything new begins. A key that waits for its certificate
stands in ``/var/lib/paranal/node/requests``, where no daemon looks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from .paranal_haproxy import SOCKET, replace_certificate
from .paranal_leaves import advance, load_leaves, save_leaves
from .paranal_node import (
    Node,
    Refused,
    Run,
    group_id,
    mode_of,
    note_change,
    run_command,
    sync_directory,
    user_id,
    write_atomic,
    write_beside,
)
from .paranal_proof import shown_by
from .paranal_tree import check_target

ROOTS = ("/etc",)
RELOAD_SECONDS = 30.0
Leaf = dict[str, Any]
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def make_requests(node: Node, leaves: Iterable[Leaf]) -> dict[str, str]:
    """Make a new key for each leaf, of its ``key_type``, and return its request (PEM) by name.

    Keys of an earlier run that never got their certificate are forgotten: a key is asked for once.
    Raises what ``check_places`` does, before any key is made.
    """
    leaves = list(leaves)
    check_places(node, leaves)
    folder = node.state / "requests"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    requests = {}
    for leaf in leaves:
        key, digest = new_key(leaf["key_type"])
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomic(folder / f"{leaf['name']}.key", pem)
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in leaf["names"]])
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(names, critical=False)
            .sign(key, digest)
        )
        requests[leaf["name"]] = request.public_bytes(Encoding.PEM).decode()
    memory = load_leaves(node)
    for leaf in leaves:
        advance(memory, leaf["name"], "requested")
    save_leaves(node, memory)
    return requests


def new_key(kind: str) -> tuple[Key, hashes.SHA384 | None]:
    """Return a new key and the digest it signs a request with, which Ed25519 brings itself.

    Raises ``KeyError`` for a kind that no profile takes.
    """
    made: dict[str, Callable[[], tuple[Key, hashes.SHA384 | None]]] = {
        "Ed25519": lambda: (ed25519.Ed25519PrivateKey.generate(), None),
        "P-384": lambda: (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
    }
    return made[kind]()


class Installation:
    """Puts leaves in their places. ``step`` is called after every effect (for tests)."""

    def __init__(
        self,
        node: Node,
        *,
        run: Run = run_command,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Read what the node remembers."""
        self.node = node
        self.run = run
        self.step = step
        self.memory = load_leaves(node)

    def apply(self, leaves: Iterable[Leaf], remove: Iterable[str]) -> list[str]:
        """Install, repair and remove; reload the units whose files changed; return the paths.

        A leaf with a ``pem`` is installed; one without has its modes and owners put right. Raises
        PAR-0422 to PAR-0424, PAR-0303, PAR-0304, PAR-0309. What was installed before a refusal
        stays: each leaf is whole by itself.
        """
        changed: list[str] = []
        leaves = list(leaves)
        check_places(self.node, leaves)
        for leaf in leaves:
            paths = self._install(leaf) if leaf.get("pem") else self._repair(leaf)
            changed += paths
        for name in remove:
            changed += self._remove(name)
        note_change(self.node, "pki", changed)
        self._reload([leaf for leaf in leaves if leaf.get("pem")])
        return changed

    def _install(self, leaf: Leaf) -> list[str]:
        key_file = self.node.state / "requests" / f"{leaf['name']}.key"
        if not key_file.exists():
            raise Refused("PAR-0422", name=leaf["name"])
        key_pem = key_file.read_bytes()
        certificate = x509.load_pem_x509_certificate(leaf["pem"].encode())
        check_pair(leaf["name"], key_pem, certificate)
        serial = f"{certificate.serial_number:x}"
        advance(self.memory, leaf["name"], "issued", serial=serial)
        contents = self._contents(leaf, key_pem)
        left = self._announce(leaf, contents)
        settle(self.node, leaf["key"], leaf["certificate"])
        for path in contents:
            self.node.real(path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        if leaf["key"] == leaf["certificate"]:
            self._write(leaf, leaf["key"], contents)
        else:
            following = next_key(leaf["key"])
            self._write(leaf, leaf["key"], contents, target=following)
            self._write(leaf, leaf["certificate"], contents)
            rename(self.node, following, leaf["key"])
            self.step("key renamed")
        for path in left:
            self.node.real(path).unlink(missing_ok=True)
        self.memory["leaves"][leaf["name"]] = record_of(leaf, certificate, contents)
        self.memory["owed"] = sorted({*self.memory["owed"], *leaf["reload"]})
        advance(self.memory, leaf["name"], "installed")
        if not self.memory["rotations"][leaf["name"]]["replaces"]:
            del self.memory["rotations"][leaf["name"]]  # the node's first: nothing to retire
        self._save()
        key_file.unlink()
        return [*contents, *left]

    def _announce(self, leaf: Leaf, contents: dict[str, bytes]) -> list[str]:
        """Write down which files are about to change; return those the leaf leaves behind.

        Their recorded digests are emptied first: after a crash the next run sees them as altered
        and issues anew, instead of trusting a record of other files.
        """
        known = self.memory["leaves"].get(leaf["name"], {"digests": {}})
        left = sorted(known["digests"].keys() - contents.keys())
        self.memory["leaves"][leaf["name"]] = {
            **known,
            "digests": dict.fromkeys([*contents, *left], ""),
        }
        self._save()
        return left

    def _save(self) -> None:
        save_leaves(self.node, self.memory)
        self.step("remembered")

    def _contents(self, leaf: Leaf, key_pem: bytes) -> dict[str, bytes]:
        """Return path -> content of the leaf's one or two files."""
        pem, issuer = leaf["pem"].encode(), leaf["issuer"].encode()
        if leaf["key"] == leaf["certificate"]:
            return {leaf["key"]: key_pem + pem + issuer}
        return {leaf["key"]: key_pem, leaf["certificate"]: pem + (issuer if leaf["chain"] else b"")}

    def _write(self, leaf: Leaf, path: str, contents: dict[str, bytes], target: str = "") -> None:
        mode, owner, group = leaf["permissions"][path]
        place = self.node.real(target or path)
        ids = user_id(owner), group_id(group)
        write_beside(place, contents[path], int(mode, 8), *ids).replace(place)
        sync_directory(place.parent)
        self.step(f"wrote {target or path}")

    def _repair(self, leaf: Leaf) -> list[str]:
        """Put modes and owners right where they differ; return those paths."""
        repaired = []
        for path, (mode, owner, group) in leaf["permissions"].items():
            place = self.node.real(path)
            status = place.stat()
            ids = user_id(owner), group_id(group)
            if (mode_of(status), status.st_uid, status.st_gid) != (mode, *ids):
                shutil.chown(place, *ids)
                place.chmod(int(mode, 8))
                repaired.append(path)
        return repaired

    def _remove(self, name: str) -> list[str]:
        record = self.memory["leaves"].pop(name)
        self.memory["rotations"].pop(name, None)
        for path in record["digests"]:
            check_target(self.node, path, ROOTS)
            self.node.real(path).unlink(missing_ok=True)
        self._save()
        return list(record["digests"])

    def _reload(self, installed: list[Leaf]) -> None:
        """Have running units take what changed; a failure is owed to the next run.

        HAProxy takes a new certificate at run time and ends no connection for it; where it does
        not, and where a crash came before it, it is reloaded.
        """
        for unit in list(self.memory["owed"]):
            mine = [leaf for leaf in installed if unit in leaf["reload"]]
            active = self.run(["systemctl", "is-active", "--quiet", unit], RELOAD_SECONDS)
            if active.status == 0 and not (mine and all(self._taken(leaf) for leaf in mine)):
                done = self.run(["systemctl", "reload-or-restart", unit], RELOAD_SECONDS)
                if done.status != 0:
                    raise Refused("PAR-0424", unit=unit, reason=done.tail)
            self.memory["owed"].remove(unit)
            self._save()

    def _taken(self, leaf: Leaf) -> bool:
        """Say whether HAProxy took the leaf's file at run time, and sends it under every name.

        HAProxy 3.0 takes it and goes on sending the old one where the entry's revocation list was
        loaded at run time before.
        """
        pem = self.node.real(leaf["key"]).read_text(encoding="ascii")
        if not replace_certificate(self.node.real(SOCKET), leaf["key"], pem):
            return False
        how = leaf["proof"]
        if how["by"] != "tls":
            return True
        sent = shown_by(how["address"], int(how["port"]), how["names"])
        return not sent(x509.load_pem_x509_certificate(leaf["pem"].encode()))


def check_places(node: Node, leaves: Iterable[Leaf]) -> None:
    """Refuse a place we may not write to (PAR-0303, PAR-0304) or an unknown account (PAR-0309)."""
    for leaf in leaves:
        for path, (_, owner, group) in leaf["permissions"].items():
            check_target(node, path, ROOTS)
            user_id(owner)
            group_id(group)


def check_pair(name: str, key_pem: bytes, certificate: x509.Certificate) -> None:
    """Refuse a certificate of another key (PAR-0422) or not in its life by our clock (PAR-0423)."""
    key = load_pem_private_key(key_pem, None)
    if public_bytes(key.public_key()) != public_bytes(certificate.public_key()):
        raise Refused("PAR-0422", name=name)
    now = datetime.now(UTC)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now < end:
        raise Refused("PAR-0423", name=name, start=str(start), end=str(end), now=str(now))


def settle(node: Node, key: str, certificate: str) -> None:
    """Finish or forget a key that a crash left beside the old one."""
    following = node.real(next_key(key))
    if not following.exists():
        return
    try:
        held = x509.load_pem_x509_certificate(node.real(certificate).read_bytes())
        fits = public_bytes(held.public_key()) == public_bytes(
            load_pem_private_key(following.read_bytes(), None).public_key()
        )
    except (OSError, ValueError, x509.InvalidVersion):
        fits = False
    if fits:
        rename(node, next_key(key), key)
    else:
        following.unlink()
        sync_directory(following.parent)


def next_key(key: str) -> str:
    """Return where a new key waits beside the one it will replace: ``ike.next.key``."""
    path = Path(key)
    return str(path.with_name(f"{path.stem}.next{path.suffix}"))


def rename(node: Node, source: str, target: str) -> None:
    """Move ``source`` over ``target``, durably."""
    node.real(source).replace(node.real(target))
    sync_directory(node.real(target).parent)


def record_of(
    leaf: Leaf, certificate: x509.Certificate, contents: dict[str, bytes]
) -> dict[str, Any]:
    """Return what the node remembers of an installed leaf; nothing in it is secret."""
    issuer = x509.load_pem_x509_certificate(leaf["issuer"].encode())
    return {
        "key": leaf["key"],
        "certificate": leaf["certificate"],
        "chain": leaf["chain"],
        "names": leaf["names"],
        "profile": leaf["profile"],
        "serial": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "issuer_sha256": issuer.fingerprint(hashes.SHA256()).hex(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "digests": {path: sha256(content).hexdigest() for path, content in contents.items()},
    }


def public_bytes(key: Any) -> bytes:  # noqa: ANN401 - any of the library's public keys
    """Return a public key in one form, for comparison."""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded
