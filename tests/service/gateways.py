"""Two gateways with a real charon each and a line between them, without the rest of a node."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateSigningRequestBuilder, DNSName, Name
from cryptography.x509 import SubjectAlternativeName as Names

from paranal import package
from paranal.agreement import Agreement, load, member_view
from paranal.agreement.connections import anchor_digest, connections, to_swanctl
from paranal.lab import lowering, names
from paranal.lab.containers import Maker
from paranal.lab.engine import STATE, ensure
from paranal.lab.image import RECIPES
from paranal.lab.image import ensure as ensure_image
from paranal.lab.lab import Lab
from paranal.lab.owner import owner
from paranal.pki import lab as pki
from paranal.pki.authority import CertificateAuthority
from paranal.pki.storage import read_passphrase
from paranal.ppk import lab as ppk
from paranal.rendering import render
from tests.service.nodes import Node, pem_of, rendered, until

ROOT = Path(__file__).parents[2]
PAIR = ("co", "pe")
LOG = "/var/log/charon.log"
RIGHTS = ("NET_ADMIN", "NET_RAW")
SCRIPTS = ROOT / "tests" / "mesh" / "on_node"
SET_UP = """
set -e
ip address add "$1/32" dev wan
ip link set wan up
ip link set lo up
ip route add "$2" dev wan
ip address add "$3/32" dev lo
ip address add "$4/32" dev lo
dpkg --install /root/paranal.deb >/dev/null
install --directory --mode=0700 /etc/swanctl/ppk
"""
"""Given: the own address on the wide area, the peer's, and the two inner ones."""
APPLY = """
import json, sys
from paranal.tunnels.charon import Charon
from paranal.tunnels.reconcile import reconcile, swanctl_load_credentials
from paranal.tunnels.record import Paths
given, paths = json.load(sys.stdin), Paths()
with paths.alone(wait=True), Charon() as charon:
    done = reconcile(charon, given["declared"], paths, given["keys"], wait_seconds=given["seconds"],
                     load_credentials=swanctl_load_credentials)
print(json.dumps({"states": done.states, "file": done.file_after}))
"""


def declared(profile: str, generation: int | None) -> Agreement:
    """Return all-live with one profile, and generation of the key, for the pair co-pe."""
    agreement = load(ROOT / "agreement" / "all-live.yml")
    own = {"crypto_profile": profile, **({"ppk": {"generation": generation}} if generation else {})}
    pairs = [
        pair | (own if pair["members"] == list(PAIR) else {})
        for pair in agreement.document["pairs"]
    ]
    return replace(agreement, document={**agreement.document, "pairs": pairs})


@dataclass(frozen=True)
class Gateways:
    """The two, and the folder that holds what their ministries hold."""

    nodes: Mapping[str, Node]
    folder: Path

    def keys(self, code: str, agreement: Agreement) -> dict[str, str]:
        """Return the keys that a member's connection with the other names."""
        ppk.ensure(self.folder, agreement)
        store, view = ppk.store(self.folder, code), member_view(agreement, code)
        declared = {peer["pair"]["ppk"] for peer in view["peers"]} - {None}
        return {name: store.key(name).hex() for name in declared}

    def connection(self, code: str, agreement: Agreement) -> dict[str, Any]:
        """Return what a member declares for the pair: the connection and its text."""
        view = member_view(agreement, code)
        peers = {peer["code"]: peer for peer in view["peers"]}
        published = self.folder / "agreement" / "ca"
        anchors = {
            one: anchor_digest((published / f"{one}-root.pem").read_bytes()) for one in peers
        }
        (found,) = (one for one in connections(view, anchors) if one["peer"] in PAIR)
        values = {"connection": found, "peer": peers[found["peer"]], "section": to_swanctl(found)}
        text = render(ROOT / "templates", "swanctl/connection.conf.j2", values)
        return {"connection": found, "text": text}

    def apply(self, code: str, agreement: Agreement, seconds: float = 15, **keys: str) -> Any:  # noqa: ANN401
        """Apply the agreement at one end; ``keys`` replace the true ones.

        ``seconds``: how long it waits for the tunnels, not at all where the other end comes later.
        """
        given = {
            "declared": [self.connection(code, agreement)],
            "keys": self.keys(code, agreement) | {k.replace("_", "-"): v for k, v in keys.items()},
            "seconds": seconds,
        }
        said = self.nodes[code].must(
            "python3", "-P", "-B", "-c", APPLY, given=json.dumps(given).encode()
        )
        return json.loads(said)

    def sas(self, code: str) -> list[dict[str, Any]]:
        """Return the IKE_SAs of one end, as charon tells them."""
        source = (SCRIPTS / "charon.py").read_text(encoding="utf-8")
        said = self.nodes[code].must("python3", "-I", "-c", source, '{"ask": "sas"}')
        return [{"name": name, **sa} for name, sa in json.loads(said)]

    def script(self, code: str, script: str, **given: Any) -> Any:  # noqa: ANN401
        """Run one of the mesh's scripts at one end."""
        source = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
        return json.loads(self.nodes[code].must("python3", "-I", "-c", source, json.dumps(given)))

    def log(self, code: str) -> str:
        """Return what charon wrote at one end."""
        return self.nodes[code].must("cat", LOG)


def _files(folder: Path, agreement: Agreement, code: str) -> dict[str, bytes | str]:
    view = member_view(agreement, code)
    passphrase = read_passphrase(folder / "ca" / f"{code}.passphrase")
    authority, key = (
        CertificateAuthority(folder / "ca" / code, passphrase),
        ec.generate_private_key(ec.SECP384R1()),
    )
    name = view["member"]["identities"]["ike"]
    request = CertificateSigningRequestBuilder().subject_name(Name([]))
    request = request.add_extension(Names([DNSName(name)]), critical=False)
    leaf = authority.issue(request.sign(key, SHA384()).public_bytes(Encoding.PEM), "ike", [name])
    settings = rendered("ipsec", "/etc/strongswan.conf", node_view=view, ansible_managed="test")
    logged = f"  filelog {{\n    log {{\n      path = {LOG}\n      default = 1\n"
    logged += "      flush_line = yes\n    }\n  }\n"
    swanctl = rendered("ipsec", "/etc/swanctl/swanctl.conf", ansible_managed="test")
    files: dict[str, bytes | str] = {
        "/etc/strongswan.conf": settings.replace("  journal {", f"{logged}  journal {{"),
        "/etc/swanctl/swanctl.conf": swanctl,
        "/etc/swanctl/private/ike.key": pem_of(key),
        "/etc/swanctl/x509/ike.pem": leaf.pem,
        "/root/paranal.deb": package.build().read_bytes(),
    }
    for kind, suffix in (("ca", "pem"), ("crl", "crl")):
        for path in (folder / "agreement" / kind).glob(f"*.{suffix}"):
            files[f"/etc/swanctl/x509{kind}/{path.name}"] = path.read_bytes()
    return files


@contextmanager
def gateways(name: str, folder: Path, suite: str = "trixie") -> Iterator[Gateways]:
    """Bring the two up with charon running and nothing loaded, yield them, and leave nothing."""
    docker, agreement = ensure(), declared("classic", None)
    ensure_image(docker, RECIPES[suite], STATE / "build")
    lab = Lab(f"svc-{name}-{os.getpid()}")
    maker = Maker(lab.name, RECIPES[suite].tag, lab.home.root, owner(os.getpid()))
    pki.ensure(folder, agreement)
    nodes = {code: Node(docker, names.container(lab.name, code), code) for code in PAIR}
    rights = [f"--cap-add={right}" for right in RIGHTS]
    try:
        for code, node in nodes.items():
            docker.call(
                *maker.bare(code, "service", "--network=none", "--device=/dev/net/tun", *rights)
            )
            docker.call("start", node.container)
            node.put(_files(folder, agreement, code))
        _wire(docker.containers(lab.name), {code: node.container for code, node in nodes.items()})
        for code, far in (PAIR, PAIR[::-1]):
            own, peer = agreement.members[code], agreement.members[far]
            inner = [own["addresses"][channel] for channel in ("operational", "strategic")]
            words = (own["wan_address"], peer["wan_address"], *inner)
            nodes[code].must("sh", "-c", SET_UP, "sh", *words)
            docker.call("exec", "--detach", nodes[code].container, "/usr/sbin/charon-systemd")
        for code, node in nodes.items():
            until(
                lambda node=node: node.run("swanctl", "--stats").returncode == 0, f"{code} charon"
            )
            node.must("swanctl", "--load-creds", "--noprompt")
        yield Gateways(nodes, folder)
    finally:
        lowering.down(lab)


def _wire(containers: Mapping[str, Any], ends: Mapping[str, str]) -> None:
    """Lay one cable between the two."""
    one, other = (str(containers[ends[code]].pid) for code in PAIR)
    command = ["ip", "link", "add", "wan", "netns", one, "type", "veth"]
    subprocess.run([*command, "peer", "name", "wan", "netns", other], check=True)  # noqa: S603
