"""Three countries' query servers for a test: real PostgreSQL, HAProxy and services of Debian 13.

Each node is a container of the lab's image. All share one network namespace without a way out, in
which 127.51/16 is Peru, 127.57/16 Colombia and 127.52/16 Mexico: who binds an address of a country
is in its tunnel, and nothing leaves loopback. Peru asks, the other two answer. Nothing is
privileged, and nothing here is systemd's: the mesh tests have that.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import (
    CertificateSigningRequestBuilder,
    DNSName,
    Name,
    SubjectAlternativeName,
)

import paranal.agreement
from paranal import package
from paranal.lab import lowering, names, people
from paranal.lab.containers import Maker
from paranal.lab.docker import Docker
from paranal.lab.engine import STATE, ensure
from paranal.lab.image import RECIPES
from paranal.lab.image import ensure as ensure_image
from paranal.lab.lab import Lab
from paranal.lab.owner import owner
from paranal.pki import peers
from paranal.pki.authority import CertificateAuthority, Issued

ROOT = Path(__file__).parents[2]
AGREEMENT = ROOT / "agreement" / "pacific-alliance.yml"
COUNTRIES = ("pe", "co", "mx")
RECORDS = 500
TLS = "/etc/haproxy/paranal"
PASSPHRASE = b"a lab's passphrase"

CALLER = Path(__file__).with_name("caller.py").read_text(encoding="utf-8")
PERSON = {
    "surnames": "Peña Restrepo",
    "given_names": "Andrés Felipe",
    "date_of_birth": "1984-07-19",
    "sex": "M",
    "nationality": "COL",
    "document_type": "P",
    "document_number": "AV123456",
    "document_issuer": "COL",
}
"""The wanted person of the demonstration, as seven fields."""

SET_UP = """
set -e
groupadd --system paranal
for account in paranal-national paranal-alliance paranal-source; do
    useradd --system --gid paranal --no-create-home "$account"
    mkdir -p "/run/paranal/${account#paranal-}"
    chown "$account:haproxy" "/run/paranal/${account#paranal-}"
    chmod 0750 "/run/paranal/${account#paranal-}"
done
chown paranal-national /etc/paranal/tls/asker.pem
chown -R postgres:postgres /etc/postgresql
dpkg --install /root/paranal.deb >/dev/null
mkdir -p /run/haproxy
pg_ctlcluster 17 main start &  # it looks twice a second, and three times more
until pg_isready --quiet; do sleep 0.05; done
runuser -u postgres -- python3 -P -B -m paranal.query.migrate
runuser -u paranal-source -- \\
    paranal source import - --format jsonl --source national </root/people.jsonl
wait %1
"""


@dataclass(frozen=True)
class Leaf:
    """A certificate with its key; ``pem`` is both and the issuing CA, as a node keeps them."""

    issued: Issued
    key_pem: bytes

    @property
    def pem(self) -> bytes:
        """Key, leaf, issuing CA in one file."""
        return self.key_pem + self.issued.chain_pem


class Node:
    """One country's container."""

    def __init__(self, docker: Docker, container: str, code: str) -> None:
        """Name it; :func:`mesh` makes it."""
        self.docker = docker
        self.container = container
        self.code = code

    def run(
        self, *argv: str, user: str = "root", given: bytes = b"", seconds: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command inside and return how it went."""
        words = ("exec", "--interactive", "--user", user, self.container, *argv)
        return self.docker.attempt(*words, given=given, seconds=seconds)

    def must(self, *argv: str, user: str = "root", given: bytes = b"") -> str:
        """Run one command inside that has to succeed; return what it printed."""
        done = self.run(*argv, user=user, given=given)
        assert done.returncode == 0, (argv, done.stdout.decode(), done.stderr.decode())
        return done.stdout.decode()

    def put(self, files: Mapping[str, bytes | str]) -> None:
        """Write files as root; a key or a leaf's file is 0600, everything else 0644."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, content in files.items():
                data = content.encode() if isinstance(content, str) else content
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size = len(data)
                member.mode = 0o600 if b"PRIVATE KEY" in data else 0o644
                member.mtime = int(time.time())
                tar.addfile(member, io.BytesIO(data))
        self.docker.call("cp", "-", f"{self.container}:/", given=archive.getvalue())

    def start(self, listener: str) -> None:
        """Start one service and wait until it answers on its socket."""
        account, socket = f"paranal-{listener}", f"/run/paranal/{listener}/http.sock"
        log = f"/var/log/paranal-{listener}.log"
        serve = (
            f"umask 0; exec setpriv --reuid {account} --regid paranal --clear-groups "
            f"python3 -P -B -m paranal.query.serve {listener} --socket {socket} >>{log} 2>&1"
        )
        self.docker.call("exec", "--detach", self.container, "sh", "-c", serve)
        until(lambda: self.health(listener) is not None, f"{self.code} {listener}")

    def stop(self, listener: str, signal: str = "TERM") -> None:
        """Send a service a signal."""
        self.must("pkill", f"-{signal}", "-f", f"paranal.query.serve {listener}")

    def health(self, listener: str) -> bool | None:
        """Return what the service says of its database; None while it does not answer."""
        socket = f"/run/paranal/{listener}/http.sock"
        done = self.run(
            "curl", "-s", "--max-time", "4", "--unix-socket", socket, "http://localhost/health"
        )
        return bool(json.loads(done.stdout)["database"]) if done.stdout else None

    def journal(self, listener: str) -> str:
        """Return what a service wrote."""
        return self.must("cat", f"/var/log/paranal-{listener}.log")

    def logged(self, answer: Mapping[str, Any], columns: str) -> str:
        """Return columns of the row that this node's log holds for an answer."""
        request = answer["request_id"]
        where = f"request_id = '{request}'"
        return self.value(f"SELECT {columns} FROM exchange.query WHERE {where}")  # noqa: S608 - ours

    def sql(self, query: str, user: str = "postgres") -> subprocess.CompletedProcess[bytes]:
        """Run a query as an account, peer-authenticated."""
        psql = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "paranal", "-c", query)
        return self.run(*psql, user=user)

    def value(self, query: str) -> str:
        """Return what a query prints for the cluster's owner; it has to succeed."""
        done = self.sql(query)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


@dataclass
class Mesh:
    """The three nodes, every country's authority, and the views that the nodes work by."""

    nodes: dict[str, Node]
    authorities: dict[str, CertificateAuthority]
    views: dict[str, dict[str, Any]]

    def ask(self, *words: str, at: str = "pe") -> tuple[int, dict[str, Any]]:
        """Ask from a post of a country; return the exit status and the JSON that it printed."""
        done = self.nodes[at].run("paranal", "query", "--from", at, *words, "--json")
        assert done.stdout, done.stderr.decode()
        return done.returncode, json.loads(done.stdout)

    def ask_mrz(self, lines: Sequence[str], to: str | None = None) -> tuple[int, dict[str, Any]]:
        """Ask about a machine-readable zone from Peru."""
        return self.ask(*(("--to", to) if to else ()), "--mrz", *lines)

    def leaf(self, code: str, profile: str, names: Sequence[str]) -> Leaf:
        """Have a country's authority issue a leaf for a new key."""
        key = ec.generate_private_key(ec.SECP384R1())
        wanted = SubjectAlternativeName([DNSName(name) for name in names])
        builder = CertificateSigningRequestBuilder().subject_name(Name([]))
        builder = builder.add_extension(wanted, critical=False)
        request = builder.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM)
        issued = self.authorities[code].issue(request, profile, names)
        return Leaf(issued, pem_of(key))

    def call(self, at: str, caller: Leaf | None, **words: Any) -> dict[str, Any]:  # noqa: ANN401
        """Call a listener from node ``at`` as :mod:`tests.service.caller` does.

        By default Peru's operational service asks Colombia's about the demonstration's wanted
        person; ``words`` change what is not as it should be.
        """
        question = {
            "request_id": str(uuid4()),
            "purpose": "border_entry",
            "person": PERSON,
        }
        asked = {
            "from": self.views["pe"]["member"]["addresses"]["operational"],
            "to": self.views["co"]["member"]["addresses"]["operational"],
            "port": 7443,
            "name": "pe.q.co.paranal.example",
            "pem": caller.pem.decode() if caller else None,
            "tls": "TLSv1_3",
            "method": "POST",
            "path": "/v1/person",
            "headers": {},
            "body": json.dumps(question),
            **words,
        }
        told = self.nodes[at].must("python3", "-c", CALLER, given=json.dumps(asked).encode())
        found: dict[str, Any] = json.loads(told)
        return found

    def operational(self, code: str) -> Leaf:
        """Return a new operational leaf of a country, with the names that its peers call."""
        return self.called(code, "operational")

    def called(self, code: str, channel: str) -> Leaf:
        """Return a new leaf for a channel of a country, with the names that its peers call."""
        view = self.views[code]
        names = [peer["answer_names"][channel] for peer in view["peers"]]
        return self.leaf(code, "tls", [view["member"]["identities"][channel], *names])

    def trust(self, of: str) -> dict[str, str]:
        """Return a country's CA and lists as every node keeps them."""
        authority = self.authorities[of]
        published = authority.directory.parent / "published"
        authority.publish(published)
        return peers.trust_files("haproxy", [peers.read(published, of, authority.domain)])

    def show(self, code: str, view: dict[str, Any]) -> None:
        """Give a node another view; its services follow by themselves."""
        self.nodes[code].put({"/etc/paranal/view.json": json.dumps(view)})

    @contextmanager
    def changed(self, code: str, peer: str, way: str, status: str) -> Iterator[None]:
        """Let a node hold another status for one direction: ``way`` is ``asks`` or ``answers``."""
        view = json.loads(json.dumps(self.views[code]))
        for each in view["peers"]:
            if each["code"] == peer:
                each[way]["person"] = status
        self.show(code, view)
        try:
            yield
        finally:
            self.show(code, self.views[code])


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key in PEM, unencrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def until(holds: Any, what: str, seconds: float = 60) -> None:  # noqa: ANN401 - a predicate
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def view_of(code: str) -> dict[str, Any]:
    """Return a member's view with every inner address moved to loopback."""
    view = paranal.agreement.member_view(paranal.agreement.load(AGREEMENT), code)
    moved: dict[str, Any] = json.loads(json.dumps(view).replace('"10.', '"127.'))
    return moved


def rendered(role: str, target: str, **variables: Any) -> str:  # noqa: ANN401 - template variables
    """Return one file of a role, rendered by Ansible with the role's own variables."""
    tree = ROOT / "roles" / role
    loader = DataLoader()  # type: ignore[no-untyped-call]
    scope: dict[str, Any] = {"role_path": str(tree)}
    for part in ("defaults", "vars"):
        scope |= loader.load_from_file(str(tree / part / "main.yml"), trusted_as_template=True)
    templar = Templar(loader, {**scope, **variables}).copy_with_new_env(
        searchpath=[str(tree / "templates"), str(ROOT / "templates")],
        available_variables={**scope, **variables},
    )
    source = tree / "templates" / f"{target.lstrip('/').replace('/17/', '/MAJOR/')}.j2"
    text = trust_as_template(source.read_text(encoding="utf-8"))
    return str(templar.template(text, overrides={"trim_blocks": True}) or "")


def files_of(mesh: Mesh, code: str) -> dict[str, bytes | str]:
    """Return all that a node holds before its daemons start, as the roles would write it."""
    view = mesh.views[code]
    member = view["member"]
    operational = mesh.operational(code)
    post = mesh.leaf(code, "post", [f"post-border.{member['domain']}"])
    national_name = f"n.{member['domain']}"
    settings = {
        "national_url": f"https://{member['addresses']['national']}:7440",
        "server_name": national_name,
        "ca": f"{TLS}/{code}-ca.pem",
        "certificate": "/etc/paranal/post/post.pem",
        "key": "/etc/paranal/post/post.key",
        "member": code,
        "post": "border",
    }
    roles = {
        "query_server": (
            "/etc/haproxy/haproxy.cfg",
            f"{TLS}/crt-list",
            f"{TLS}/crt-list-control",
            f"{TLS}/suspended",
            "/etc/paranal/national.json",
            "/etc/paranal/alliance.json",
        ),
        "database": (
            "/etc/postgresql/17/main/pg_hba.conf",
            "/etc/postgresql/17/main/conf.d/paranal.conf",
        ),
    }
    files: dict[str, bytes | str] = {
        path: rendered(role, path, node_view=view)
        for role, paths in roles.items()
        for path in paths
    }
    for each in COUNTRIES:
        files.update(mesh.trust(each))
    lines = (json.dumps(record) for record in people.records(code, RECORDS))
    return files | {
        "/etc/paranal/view.json": json.dumps(view),
        "/etc/paranal/post.json": json.dumps(settings),
        "/etc/paranal/post/post.pem": post.issued.chain_pem,
        "/etc/paranal/post/post.key": post.key_pem,
        "/etc/paranal/tls/asker.pem": mesh.operational(code).pem,
        f"{TLS}/operational.pem": operational.pem,
        f"{TLS}/strategic.pem": mesh.called(code, "strategic").pem,
        f"{TLS}/national.pem": mesh.leaf(code, "tls", [national_name]).pem,
        # Nothing here outlives the test; what is judged is what commits, not what survives a crash.
        "/etc/postgresql/17/main/conf.d/test.conf": "fsync = off\n",
        "/root/people.jsonl": "\n".join(lines) + "\n",
        "/root/paranal.deb": package.build().read_bytes(),
    }


@contextmanager
def mesh(name: str, folder: Path) -> Iterator[Mesh]:
    """Bring the three countries up, yield them, and leave nothing.

    They are a lab by their names and labels, so that ``gc`` finds what a killed run left.
    """
    docker = ensure()
    ensure_image(docker, RECIPES["trixie"], STATE / "build")
    lab = Lab(f"svc-{name}")
    maker = Maker(lab.name, RECIPES["trixie"].tag, lab.home.root, owner(os.getpid()))
    containers = {code: names.container(lab.name, code) for code in COUNTRIES}
    nodes = {code: Node(docker, container, code) for code, container in containers.items()}
    views = {code: view_of(code) for code in COUNTRIES}
    authorities = {
        code: CertificateAuthority.create(
            folder / code, code, views[code]["member"]["domain"], PASSPHRASE
        )
        for code in COUNTRIES
    }
    made = Mesh(nodes, authorities, views)
    try:
        first = containers[COUNTRIES[0]]
        for code, container in containers.items():
            network = "none" if container == first else f"container:{first}"
            docker.call(*maker.bare(code, "service", f"--network={network}"))
            docker.call("start", container)
            nodes[code].put(files_of(made, code))
        with ThreadPoolExecutor() as pool:
            list(pool.map(_set_up, nodes.values()))
        yield made
    finally:
        lowering.down(lab)


def _set_up(node: Node) -> None:
    node.must("sh", "-c", SET_UP)
    node.start("national" if node.code == "pe" else "alliance")
    # Last, so that its first look at a service finds it.
    node.must("haproxy", "-W", "-D", "-f", "/etc/haproxy/haproxy.cfg", "-p", "/run/haproxy.pid")
