"""The filter pki_trust: a node's trust as node_files takes it, refused or warned of in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from cryptography import x509

from paranal.agreement import load, member_view
from paranal.pki import lab
from paranal.pki.certificates import fingerprint
from plugins.filter.pki import FilterModule
from tests.unit.agreement.views import rooted

AGREEMENT = Path(__file__).parents[3] / "agreement" / "pacific-alliance.yml"
ORDER = ("pe", "cl", "co", "mx")
pki_trust = FilterModule().filters()["pki_trust"]
pki_withdrawn = FilterModule().filters()["pki_withdrawn"]
pki_problems = FilterModule().filters()["pki_problems"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("lab")
    lab.ensure(folder, load(AGREEMENT))
    return str(folder / "agreement")


@pytest.fixture(scope="module")
def view(published: str) -> dict[str, Any]:
    """Peru's half of an agreement that names what was published."""
    return rooted(member_view(load(AGREEMENT), "pe"), Path(published))


def probe(number: int) -> dict[str, Any]:
    return {"certificates": {"trust": {"co": {"issuing": {"number": number}}}}}


def test_the_files_come_as_node_files_takes_them(view: dict[str, Any], published: str) -> None:
    extra = pki_trust(view, "swanctl", published)
    assert {frozenset(item) for item in extra} == {frozenset({"dest", "content"})}
    targets = [item["dest"] for item in extra]
    assert targets == sorted(targets)
    assert "/etc/swanctl/x509crl/cl-root.crl" in targets
    haproxy = [item["dest"] for item in pki_trust(view, "haproxy", published)]
    assert "/etc/haproxy/paranal/co-ca.pem" in haproxy
    assert "/etc/haproxy/paranal/cl-ca.pem" not in haproxy


def test_a_list_older_than_the_nodes_is_refused(view: dict[str, Any], published: str) -> None:
    assert pki_trust(view, "swanctl", published, probe(1))
    with pytest.raises(AnsibleFilterError, match="PAR-0420"):
        pki_trust(view, "swanctl", published, probe(2**40))


def test_a_member_that_published_nothing_is_refused(
    view: dict[str, Any], published: str, tmp_path: Path
) -> None:
    with pytest.raises(AnsibleFilterError, match="PAR-0418"):
        pki_trust(view, "swanctl", str(tmp_path))


def test_what_everybody_published_is_no_problem(view: dict[str, Any], published: str) -> None:
    assert pki_problems(view, published, {}) == []
    assert pki_problems(view, published, probe(1)) == []


@pytest.mark.req("B2")
def test_a_root_that_the_agreement_does_not_name_is_refused_for_its_member_alone(
    view: dict[str, Any], published: str
) -> None:
    peers = [
        {**each, "roots": ["ab" * 32]} if each["code"] == "co" else each for each in view["peers"]
    ]
    (problem,) = pki_problems({**view, "peers": peers}, published, {})
    assert problem.startswith("PAR-0436: la raíz publicada de co")
    own = {**view["member"], "roots": []}
    with pytest.raises(AnsibleFilterError, match=r"PAR-0436.* pe .*\(-"):
        pki_trust({**view, "member": own}, "swanctl", published)


def test_each_member_that_cannot_be_trusted_is_named_at_once(
    view: dict[str, Any], published: str, tmp_path: Path
) -> None:
    (older,) = pki_problems(view, published, probe(2**40))
    assert older.startswith("PAR-0420: ")
    absent = pki_problems(view, str(tmp_path), {})
    assert [text[:8] for text in absent] == ["PAR-0418"] * 4
    assert [f"{code}-root.pem" in text for code, text in zip(ORDER, absent, strict=True)] == (
        [True] * 4
    )


def test_a_list_past_its_end_is_a_warning_and_the_others_converge(
    view: dict[str, Any], published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _, text: said.append(text))
    assert pki_trust(view, "haproxy", published)
    assert pki_problems(view, published, {}) == []
    assert said == []

    later = datetime.now(UTC) + timedelta(days=8)
    monkeypatch.setattr("plugins.filter.pki.datetime", SimpleNamespace(now=lambda _: later))
    assert len(pki_trust(view, "haproxy", published)) == 6
    assert [text[:8] for text in said] == ["PAR-0421"] * 3
    assert pki_problems(view, published, {}) == []
    assert [text[:8] for text in said[3:]] == ["PAR-0421"] * 4


@pytest.mark.req("B5")
def test_a_root_that_a_live_tunnel_chains_to_is_a_problem_of_its_member_alone(
    view: dict[str, Any], published: str
) -> None:
    gone = {"tunnels": {"chains": {"co": ["ab" * 32], "mx": view["peers"][2]["roots"]}}}
    (problem,) = pki_problems(view, published, gone)
    assert problem.startswith("PAR-0451: el anexo ya no nombra la raíz abababab")
    with pytest.raises(AnsibleFilterError, match="PAR-0451"):
        pki_trust(view, "swanctl", published, gone)
    closed = [{**each, "pair": {**each["pair"], "channels": []}} for each in view["peers"]]
    assert pki_problems({**view, "peers": closed}, published, gone) == [], "it proves the line only"


@pytest.mark.req("B5")
def test_a_root_stays_until_its_member_says_that_no_leaf_of_it_is_in_use(
    view: dict[str, Any], published: str
) -> None:
    co = next(each for each in view["peers"] if each["code"] == "co")
    pem = (Path(published) / "ca/co-issuing.pem").read_bytes()
    stays = fingerprint(x509.load_pem_x509_certificate(pem))
    roots: dict[str, Any] = {
        "root": {"sha256": "ab" * 32, "number": 1},
        "g2-root": {"sha256": co["roots"][0], "number": 1},
    }

    def problems(issuers: dict[str, list[str]], **changes: Any) -> list[str]:  # noqa: ANN401
        known = {"certificates": {"trust": {"co": roots}}}
        tunnels = {"chains": {"co": co["roots"]}, "issuers": issuers}
        found = pki_problems({**view, **changes}, published, {**known, "tunnels": tunnels})
        return [text[:8] for text in found]

    assert problems({"co": [stays]}) == []
    assert problems({"co": ["cd" * 32, stays]}) == ["PAR-0453"]
    assert problems({"mx": [stays]}) == ["PAR-0454"]
    closed = {**co, "pair": {**co["pair"], "channels": []}}
    others = [each for each in view["peers"] if each is not co]
    assert problems({}, peers=[*others, closed]) == [], "who has nothing open is not waited for"
    del roots["g2-root"]
    assert problems({}) == [], "an authority replaced at once: there is no relief to wait for"


def test_withdrawn_is_who_is_trusted_under_a_root_that_is_no_longer_agreed(
    view: dict[str, Any],
) -> None:
    agreed, gone = {"sha256": view["peers"][1]["roots"][0]}, {"sha256": "ab" * 32}
    trust = {"co": {"root": gone, "g2-root": agreed, "issuing": gone}, "mx": {"issuing": gone}}
    assert pki_withdrawn(view, {"certificates": {"trust": trust}}) == ["co"]
    assert pki_withdrawn(view, {}) == []
