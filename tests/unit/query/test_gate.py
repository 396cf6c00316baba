"""Who is asking: certificate, TLS name and address name one member, or nobody gets in."""

from __future__ import annotations

import pytest

from paranal.messages import Refusal
from paranal.query.gate import asking_peer, asking_post
from paranal.serving import gate
from tests.unit.query.asking import certificate, view_of


def _headers(**changes: str) -> dict[str, str]:
    right = {
        gate.SERVER_NAME: "pe.q.co.paranal.example",
        gate.SOURCE: "10.51.1.1",
        gate.CERTIFICATE: certificate("q.pe.paranal.example", "co.q.pe.paranal.example"),
    }
    return right | {f"x-paranal-{key.replace('_', '-')}": text for key, text in changes.items()}


def test_the_peer_whose_three_marks_agree_is_known() -> None:
    assert asking_peer(_headers(), view_of()).code == "pe"


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
        ({"certificate": certificate()}, "SAN"),
        ({"certificate": certificate("q.mx.paranal.example")}, "SAN"),
        ({"certificate": certificate("post-lima.pe.paranal.example")}, "SAN"),
        ({"certificate": certificate("s.pe.paranal.example")}, "SAN"),
    ],
)
def test_one_mark_that_disagrees_is_enough(change: dict[str, str], reason: str) -> None:
    with pytest.raises(Refusal, match="PAR-0531") as refused:
        asking_peer(_headers(**change), view_of())
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
    headers = {gate.CERTIFICATE: certificate(*names)}
    if admitted:
        assert asking_post(headers, view_of()) == names[0]
    else:
        with pytest.raises(Refusal, match="PAR-0532"):
            asking_post(headers, view_of())
