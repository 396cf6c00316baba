"""Who is asking: certificate, TLS name and address name one member, or nobody gets in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

import paranal.agreement
from paranal.messages import Refusal
from paranal.query import gate
from paranal.query.settings import View

AGREEMENT = Path(__file__).parents[3] / "agreement" / "pacific-alliance.yml"


@cache
def _view(code: str = "co") -> View:
    view = paranal.agreement.member_view(paranal.agreement.load(AGREEMENT), code)
    return msgspec.json.decode(json.dumps(view), type=View)


@cache
def _certificate(*names: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([])
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, now, now + timedelta(1)
    )
    if names:
        extension = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(extension, critical=True)
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return base64.b64encode(der).decode()


def _headers(**changes: str) -> dict[str, str]:
    right = {
        gate.SERVER_NAME: "pe.q.co.paranal.example",
        gate.SOURCE: "10.51.1.1",
        gate.CERTIFICATE: _certificate("q.pe.paranal.example", "co.q.pe.paranal.example"),
    }
    return right | {f"x-paranal-{key.replace('_', '-')}": text for key, text in changes.items()}


def test_the_peer_whose_three_marks_agree_is_known() -> None:
    assert gate.asking_peer(_headers(), _view()).code == "pe"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"server_name": "mx.q.co.paranal.example"}, "IP"),
        ({"server_name": "q.co.paranal.example"}, "SNI"),
        ({"server_name": ""}, "SNI"),
        ({"source": "10.52.1.1"}, "IP"),
        ({"source": "10.51.0.1"}, "IP"),
        ({"source": ""}, "IP"),
        ({"certificate": ""}, "SAN"),
        ({"certificate": "AAAA"}, "SAN"),
        ({"certificate": "%%%"}, "SAN"),
        ({"certificate": _certificate()}, "SAN"),
        ({"certificate": _certificate("q.mx.paranal.example")}, "SAN"),
        ({"certificate": _certificate("post-lima.pe.paranal.example")}, "SAN"),
        ({"certificate": _certificate("s.pe.paranal.example")}, "SAN"),
    ],
)
def test_one_mark_that_disagrees_is_enough(change: dict[str, str], reason: str) -> None:
    with pytest.raises(Refusal, match="PAR-0531") as refused:
        gate.asking_peer(_headers(**change), _view())
    assert refused.value.params["reason"] == reason


@pytest.mark.parametrize(
    ("names", "admitted"),
    [
        (("post-lima.co.paranal.example",), True),
        (("q.co.paranal.example",), False),
        (("post-lima.pe.paranal.example",), False),
        (("post-.co.paranal.example",), False),
        (("post-a.b.co.paranal.example",), False),
        (("xpost-a.co.paranal.example",), False),
        ((), False),
    ],
)
def test_only_a_post_of_this_country_asks(names: tuple[str, ...], admitted: bool) -> None:
    headers = {gate.CERTIFICATE: _certificate(*names)}
    if admitted:
        assert gate.asking_post(headers, _view()) == names[0]
    else:
        with pytest.raises(Refusal, match="PAR-0532"):
            gate.asking_post(headers, _view())
