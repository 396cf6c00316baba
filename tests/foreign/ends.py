"""A gateway of ours and one of libreswan on one link, each in a container; IKE is all for real.

What is not: the ESP of libreswan's end, where the host's kernel has none. It then takes back each
CHILD_SA at once, after charon has negotiated and installed its own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from paranal.agreement import Agreement, load, member_view
from paranal.agreement.connections import connections, to_swanctl
from paranal.agreement.sheet import pair_name, published, sheet
from paranal.lab import engine, image, lowering, names
from paranal.lab.containers import Maker
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.owner import owner
from paranal.pki import lab as authorities
from tests.foreign.libreswan import CERTIFICATE, ipsec_conf
from tests.mesh import support
from tests.mesh.forgery import forge
from tests.service.nodes import Node, rendered

OURS, FOREIGN = "ours", "foreign"
LOG = "/run/charon.log"
PLUTO_LOG = "/run/pluto.log"
NSS = "sql:/var/lib/ipsec/nss"
PASSWORD = "import"  # noqa: S105 - of a file that lives for one import
ENOUGH_SECONDS = 10.0
CHARON = "/usr/sbin/charon-systemd >/dev/null 2>&1"
PLUTO = "mkdir -p /run/pluto && exec /usr/libexec/ipsec/pluto --nofork --config /etc/ipsec.conf"
IMPORT = f"""
set -e
cd /import
mkdir -p /var/lib/ipsec/nss
certutil -N -d {NSS} --empty-password
pk12util -i own.p12 -d {NSS} -W {PASSWORD} -K ''
for ca in *.der; do certutil -A -d {NSS} -n "$ca" -t CT,, -i "$ca"; done
for crl in *.crl; do crlutil -I -B -d {NSS} -i "$crl"; done
"""


def agreed(foreign: str, folder: Path) -> Agreement:
    """Return the agreement in which ``foreign`` has another make of gateway, with all published."""
    document = yaml.safe_load((ROOT / "agreement" / "all-live.yml").read_text(encoding="utf-8"))
    document["members"][foreign]["gateway"] = "foreign"
    path = folder / "agreement" / "agreement.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    agreement = load(path)
    authorities.ensure(folder, agreement)
    return agreement


@dataclass
class Ends:
    """Both ends of the pair of Colombia and Peru; one of them is libreswan's."""

    folder: Path
    agreement: Agreement
    ours: Node
    foreign: Node
    code: str
    """Member of our end."""
    other: str
    """Member of the foreign end."""
    lab: Lab
    """Where the authorities are: nothing else of a lab."""
    authority: str = ""
    """Whose authority certifies the foreign end's leaf; by default its own country's."""

    def start_ours(self, **changes: str) -> None:
        """Start charon with the connection that the agreement makes, or one with ``changes``."""
        view = member_view(self.agreement, self.code)
        anchors = {peer["code"]: "" for peer in view["peers"]}
        (own,) = (one for one in connections(view, anchors) if one["peer"] == self.other)
        own["config"] |= changes
        key, issued = leaf(self.lab, self.code, self.code)
        files = {
            f"/etc/swanctl/x509{kind}/{path.name}": path.read_bytes()
            for kind in ("ca", "crl")
            for path in (self.folder / "agreement" / kind).iterdir()
        }
        self.ours.put(
            {
                **files,
                "/etc/strongswan.conf": settings(view),
                "/etc/swanctl/private/ike.key": key,
                "/etc/swanctl/x509/ike.pem": issued,
                "/etc/swanctl/conf.d/paranal.conf": f"connections {{\n{to_swanctl(own)}\n}}\n",
            }
        )
        self.ours.must("sh", "-c", f"{CHARON} &")
        assert eventually(lambda: self.ours.run("swanctl", "--stats").returncode == 0)
        loaded = self.ours.must("swanctl", "--load-all")
        assert "successfully loaded 1 connections" in loaded

    def start_foreign(self, secret: str = "", **changes: str) -> None:
        """Start pluto with what its operator typed in from the sheet, or with ``changes``."""
        self.foreign.put(
            {
                **typed_in(self.lab, self.other, [self.code], self.authority, **changes),
                "/etc/ipsec.secrets": secret,
            }
        )
        self.foreign.must("sh", "-c", IMPORT)
        self.foreign.must("sh", "-c", f"({PLUTO}) >/dev/null 2>&1 &")
        assert eventually(lambda: self.foreign.run("ipsec", "whack", "--status").returncode == 0)

    def said(self) -> str:
        """Return what charon has said so far."""
        return self.ours.must("cat", LOG)

    def sas(self) -> str:
        """Return the IKE_SAs of our end as swanctl lists them."""
        return self.ours.must("swanctl", "--list-sas")

    def stop(self) -> None:
        """End both daemons and forget what they held."""
        for end, daemon in ((self.ours, "charon-systemd"), (self.foreign, "pluto")):
            end.run("pkill", "-KILL", "-x", daemon)
            assert eventually(partial(gone, end, daemon))
            end.run("sh", "-c", "rm -rf /run/charon.* /run/pluto* /import /var/lib/ipsec/nss/*")


def typed_in(
    lab: Lab, code: str, peers: Iterable[str], authority: str = "", **changes: str
) -> dict[str, bytes | str]:
    """Return all that the operator of a foreign gateway needs, as path -> content.

    Its own leaf, the certificates and lists that it and its peers have published, and one
    ``ipsec.conf`` from the parameter sheets. ``changes`` is ``ipsec_conf``'s.
    """
    agreement = lab.agreement()
    key, issued = leaf(lab, authority or code, code)
    bundle = serialize_key_and_certificates(
        CERTIFICATE.encode(),
        load_pem_private_key(key, None),  # type: ignore[arg-type] # our own kind
        x509.load_pem_x509_certificate(issued),
        None,
        BestAvailableEncryption(PASSWORD.encode()),
    )
    files: dict[str, bytes | str] = {"/import/own.p12": bundle}
    conf = f"config setup\n\tcrl-strict=yes\n\tlogfile={PLUTO_LOG}\n\n"
    folder = lab.home.agreement.parent
    for each in {code, authority or code, *peers}:
        for name in ("root", "issuing"):
            pem = (folder / f"ca/{each}-{name}.pem").read_bytes()
            certificate = x509.load_pem_x509_certificate(pem)
            files[f"/import/{each}-{name}.der"] = certificate.public_bytes(Encoding.DER)
            files[f"/import/{each}-{name}.crl"] = der(
                (folder / f"crl/{each}-{name}.crl").read_bytes()
            )
    for peer in peers:
        root = x509.load_pem_x509_certificate((folder / f"ca/{peer}-root.pem").read_bytes())
        # That notation puts the last part first.
        issuer = x509.Name(list(root.subject)[::-1]).rfc4514_string()
        pair = pair_name(agreement, f"{code}-{peer}")
        found = sheet(agreement, pair, code, published(folder / "ca", pair))
        conf += ipsec_conf(found, issuer, **changes)
    return {**files, "/etc/ipsec.conf": conf}


def leaf(lab: Lab, authority: str, code: str) -> tuple[bytes, bytes]:
    """Return key and certificate (PEM) for ``code``'s IKE identity, whoever certifies it."""
    name = lab.agreement().members[code]["identities"]["ike"]
    key, chain = forge(lab, authority, "ike", name)
    return key.encode(), chain.encode()


def gone(end: Node, daemon: str) -> bool:
    """Tell whether no process of this name runs in a container, where nobody reaps the dead."""
    return end.run("pgrep", "--runstates", "RSD", "-x", daemon).returncode != 0


def settings(view: Mapping[str, Any]) -> str:
    """Return our gateway's strongswan.conf, as the role renders it, with its log in a file."""
    text = rendered("ipsec", "/etc/strongswan.conf", node_view=view, ansible_managed="Paranal")
    log = f"filelog {{\n file {{\n path = {LOG}\n default = 1\n flush_line = yes\n }}\n }}\n"
    return text.replace("  journal {", f"  {log}  journal {{")


def der(crl: bytes) -> bytes:
    """Return a CRL as DER, whichever form its authority published it in."""
    read = x509.load_pem_x509_crl if crl.startswith(b"-----") else x509.load_der_x509_crl
    return read(crl).public_bytes(Encoding.DER)


def eventually(true: Callable[[], bool]) -> bool:
    """Tell whether something becomes true in time."""
    return support.eventually(true, ENOUGH_SECONDS)


@contextmanager
def two_ends(name: str) -> Iterator[dict[str, Node]]:
    """Make both containers with one link between them, and leave nothing."""
    docker = engine.ensure()
    lab = Lab(f"foreign-{name}")
    tags = {OURS: image.RECIPES["trixie"], FOREIGN: image.FOREIGN}
    nodes = {end: Node(docker, names.container(lab.name, end), end) for end in tags}
    mark = owner(os.getpid())
    try:
        for end, recipe in tags.items():
            image.ensure(docker, recipe, engine.STATE / "build")
            maker = Maker(lab.name, recipe.tag, lab.home.root, mark)
            rights = ("--network=none", "--cap-add=NET_ADMIN", "--device=/dev/net/tun")
            docker.call(*maker.bare(end, "service", *rights, "--security-opt=seccomp=unconfined"))
            docker.call("start", nodes[end].container)
        yield nodes
    finally:
        lowering.down(lab)


def wire(nodes: Mapping[str, Node], addresses: Mapping[str, list[str]]) -> None:
    """Join both ends by one link; the first address of each is its WAN's, the rest inner ones."""
    found = nodes[OURS].docker.containers()
    pids = {end: str(found[node.container].pid) for end, node in nodes.items()}
    link = ["ip", "link", "add", "wan", "netns", pids[OURS], "type", "veth"]
    subprocess.run([*link, "peer", "name", "wan", "netns", pids[FOREIGN]], check=True)  # noqa: S603 - fixed words
    for end, other in ((OURS, FOREIGN), (FOREIGN, OURS)):
        wan, *inner = addresses[end]
        lines = [f"link set wan up\naddr add {wan}/32 dev wan\nlink set lo up"]
        lines += [f"addr add {address}/32 dev lo" for address in inner]
        lines += [f"route add {addresses[other][0]}/32 dev wan"]
        nodes[end].must("ip", "-batch", "-", given="\n".join(lines).encode())


def unwire(nodes: Mapping[str, Node]) -> None:
    """Take the link away with its addresses."""
    nodes[OURS].must("ip", "link", "del", "wan")
    for node in nodes.values():
        node.must("ip", "addr", "flush", "dev", "lo", "scope", "global")
