"""The filter pki_trust: a node's trust as node_files takes it, refused or warned of in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display

from paranal.agreement import load, member_view
from paranal.pki import lab
from plugins.filter.pki import FilterModule

AGREEMENT = Path(__file__).parents[3] / "agreement" / "pacific-alliance.yml"
VIEW = member_view(load(AGREEMENT), "pe")
ORDER = ("pe", "cl", "co", "mx")
pki_trust = FilterModule().filters()["pki_trust"]
pki_problems = FilterModule().filters()["pki_problems"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("lab")
    lab.ensure(folder, load(AGREEMENT))
    return str(folder / "agreement")


def probe(number: int) -> dict[str, Any]:
    return {"certificates": {"trust": {"co": {"issuing": {"number": number}}}}}


def test_the_files_come_as_node_files_takes_them(published: str) -> None:
    extra = pki_trust(VIEW, "swanctl", published)
    assert {frozenset(item) for item in extra} == {frozenset({"dest", "content"})}
    targets = [item["dest"] for item in extra]
    assert targets == sorted(targets)
    assert "/etc/swanctl/x509crl/cl-root.crl" in targets
    haproxy = [item["dest"] for item in pki_trust(VIEW, "haproxy", published)]
    assert "/etc/haproxy/paranal/co-ca.pem" in haproxy
    assert "/etc/haproxy/paranal/cl-ca.pem" not in haproxy


def test_a_list_older_than_the_nodes_is_refused(published: str) -> None:
    assert pki_trust(VIEW, "swanctl", published, probe(1))
    with pytest.raises(AnsibleFilterError, match="PAR-0420"):
        pki_trust(VIEW, "swanctl", published, probe(2**40))


def test_a_member_that_published_nothing_is_refused(published: str, tmp_path: Path) -> None:
    with pytest.raises(AnsibleFilterError, match="PAR-0418"):
        pki_trust(VIEW, "swanctl", str(tmp_path))


def test_what_everybody_published_is_no_problem(published: str) -> None:
    assert pki_problems(VIEW, published, {}) == []
    assert pki_problems(VIEW, published, probe(1)) == []


def test_each_member_that_cannot_be_trusted_is_named_at_once(
    published: str, tmp_path: Path
) -> None:
    (older,) = pki_problems(VIEW, published, probe(2**40))
    assert older.startswith("PAR-0420: ")
    absent = pki_problems(VIEW, str(tmp_path), {})
    assert [text[:8] for text in absent] == ["PAR-0418"] * 4
    assert [f"{code}-root.pem" in text for code, text in zip(ORDER, absent, strict=True)] == (
        [True] * 4
    )


def test_a_list_past_its_end_is_a_warning_and_the_others_converge(
    published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _, text: said.append(text))
    assert pki_trust(VIEW, "haproxy", published)
    assert pki_problems(VIEW, published, {}) == []
    assert said == []

    later = datetime.now(UTC) + timedelta(days=8)
    monkeypatch.setattr("plugins.filter.pki.datetime", SimpleNamespace(now=lambda _: later))
    assert len(pki_trust(VIEW, "haproxy", published)) == 6
    assert [text[:8] for text in said] == ["PAR-0421"] * 3
    assert pki_problems(VIEW, published, {}) == []
    assert [text[:8] for text in said[3:]] == ["PAR-0421"] * 4
