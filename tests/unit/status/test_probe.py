"""The active try, against real TLS listeners on loopback: each way to fail has its own name."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from paranal.status import probe
from paranal.status.facts import Direction, Reach

SERVER_NAME = "pe.q.co.paranal.example"
NOW = datetime.now(UTC)
MEMBER = {"addresses": {"operational": "127.0.0.1"}}


class Country(NamedTuple):
    """A CA, its list, and a leaf: all as PEM files in one folder."""

    ca: Path
    crl: Path
    leaf: Path


def made(folder: Path, code: str, name: str, *, revoked: bool = False) -> Country:
    """Make a country's root, one leaf, and a revocation list with or without it."""
    root_key, key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{code} root")])

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(1 if ca else 2)
            .not_valid_before(NOW - timedelta(hours=1))
            .not_valid_after(NOW + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(root_key, hashes.SHA384()).public_bytes(Encoding.PEM)

    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer)
        .last_update(NOW - timedelta(hours=1))
        .next_update(NOW + timedelta(days=1))
    )
    if revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(2).revocation_date(NOW).build()
        crl = crl.add_revoked_certificate(entry)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    country = Country(folder / f"{code}-ca.pem", folder / f"{code}.crl", folder / f"{code}.pem")
    country.ca.write_bytes(signed(issuer, root_key.public_key(), ca=True))
    country.crl.write_bytes(crl.sign(root_key, hashes.SHA384()).public_bytes(Encoding.PEM))
    country.leaf.write_bytes(private + signed(subject, key.public_key(), ca=False))
    return country


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
    made(folder, "pe", "q.pe.paranal.example")
    made(folder, "co", SERVER_NAME)
    made(folder, "mx", SERVER_NAME)
    return folder


@contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one connection on loopback with ``handle``; yield the port."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            handle(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def haproxy(trust: Path, country: str, clients: str, answer: bytes) -> Callable[..., None]:
    """Return a TLS 1.3 server that wants a client of one country's CA and answers one thing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(trust / f"{country}.pem")
    context.load_verify_locations(cafile=trust / f"{clients}-ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    def handle(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                assert b"POST /v1/person" in secure.recv(4096)
                secure.sendall(answer)
        except OSError:
            return  # the client ended it: what it made of that is the test

    return handle


def tried(trust: Path, port: int, seconds: float = 5.0) -> Reach:
    peer: dict[str, Any] = {
        "code": "co",
        "addresses": {"operational": "127.0.0.1"},
        "ask_names": {"operational": SERVER_NAME},
    }
    direction = Direction("asks", peer, "person", "operational", port, "live")
    return probe.reach(MEMBER, direction, trust / "pe.pem", trust, seconds)


@pytest.mark.parametrize(
    ("status", "reach"),
    [
        (b"422 Unprocessable Content", Reach.ANSWERED),
        (b"429 Too Many Requests", Reach.ANSWERED),
        (b"403 Forbidden", Reach.NOT_AUTHORISED),
        (b"200 OK", Reach.HTTP_FAILED),
        (b"503 Service Unavailable", Reach.HTTP_FAILED),
    ],
)
def test_an_answer_is_judged_by_its_status(trust: Path, status: bytes, reach: Reach) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
    with serving(haproxy(trust, "co", "pe", answer)) as port:
        assert tried(trust, port) is reach


def test_a_server_of_another_country_is_not_trusted(trust: Path) -> None:
    with serving(haproxy(trust, "mx", "pe", b"")) as port:
        assert tried(trust, port) is Reach.TLS_UNTRUSTED


def test_a_revoked_server_is_not_trusted(trust: Path, tmp_path: Path) -> None:
    made(tmp_path, "co", SERVER_NAME, revoked=True)
    (tmp_path / "pe-ca.pem").write_bytes((trust / "pe-ca.pem").read_bytes())
    (tmp_path / "pe.pem").write_bytes((trust / "pe.pem").read_bytes())
    with serving(haproxy(tmp_path, "co", "pe", b"")) as port:
        assert tried(tmp_path, port) is Reach.TLS_UNTRUSTED


def test_a_server_that_does_not_take_our_certificate_refuses_tls(trust: Path) -> None:
    with serving(haproxy(trust, "co", "mx", b"")) as port:
        assert tried(trust, port) is Reach.TLS_REFUSED


def test_a_server_that_hangs_up_refuses_tls_and_a_silent_one_fails(trust: Path) -> None:
    with serving(lambda connection: None) as port:
        assert tried(trust, port) is Reach.TLS_REFUSED
    with serving(lambda connection: time.sleep(0.6)) as port:
        assert tried(trust, port, 0.2) is Reach.HTTP_FAILED
    with serving(haproxy(trust, "co", "pe", b"")) as port:
        assert tried(trust, port) is Reach.HTTP_FAILED


def test_a_closed_port_is_a_refusal_of_the_far_end(trust: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert tried(trust, port) is Reach.TCP_REFUSED


def test_a_full_backlog_is_a_timeout(trust: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        target = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(target)
        assert tried(trust, target[1], 0.3) is Reach.TCP_TIMEOUT
        for each in waiting:
            each.close()


@pytest.mark.parametrize("number", sorted(probe.NOT_SENT))
def test_a_packet_that_does_not_leave_is_our_own(
    trust: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object) -> socket.socket:
        raise OSError(number, "of the local kernel")

    monkeypatch.setattr(socket, "create_connection", refused)
    assert tried(trust, 7443) is Reach.NO_ROUTE
