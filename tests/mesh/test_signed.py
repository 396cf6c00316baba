"""What is not signed as needed touches no node; each refusal names its reason and its runbook."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from paranal.agreement import bundle as bundles
from paranal.lab.lab import Lab
from paranal.pki.authority import CertificateAuthority
from tests.mesh import signing
from tests.mesh.signing import Agreement, propose
from tests.mesh.support import changed_by, played

pytestmark = pytest.mark.req("B2", "D5")


@pytest.fixture
def published(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """What the lab's members signed and published, to be spoilt; afterwards it is as it was."""
    folder = lab.home.agreement.parent
    shutil.copytree(folder, tmp_path / "kept")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)


def refused(lab: Lab, node: Host) -> str:
    """Apply to PE, which must be refused and leave the node as it was; return what was said."""
    return signing.refused(lab, [node], "--limit", "pe")


def a_later_phone(document: Agreement) -> None:
    document["members"]["co"]["contact"]["phone"] += "9"


def an_open_door(document: Agreement) -> None:
    (pair,) = (one for one in document["pairs"] if one["members"] == ["co", "pe"])
    direction = pair["directions"]["co>pe"]
    direction["services"]["document"] = "live"


def test_a_text_that_nobody_signed_is_refused(
    lab: Lab, nodes: dict[str, Host], published: Path
) -> None:
    path = published / "agreement.yml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("catalogue: 1", "catalogue: 2"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    said = refused(lab, nodes["pe"])
    assert "PAR-0151" in said
    assert "RB-011" in said


@pytest.mark.req("R12")
@pytest.mark.usefixtures("published")
def test_what_widens_needs_everybody(lab: Lab, nodes: dict[str, Host]) -> None:
    propose(lab, an_open_door, "co", "mx", "pe")
    said = refused(lab, nodes["pe"])
    assert "PAR-0152" in said
    assert "SE ABRE: co podrá preguntar a pe por «document»" in " ".join(said.split())


def test_a_change_that_its_owner_alone_signed_is_applied_and_there_is_no_way_back(
    lab: Lab, nodes: dict[str, Host], tmp_path: Path
) -> None:
    agreement, pe = lab.agreement(), nodes["pe"]
    files = (agreement.path, bundles.beside(agreement.path))
    for file in files:
        shutil.copy(file, tmp_path)
    propose(lab, a_later_phone, "co")
    try:
        assert set(changed_by(played(lab, "--limit", "pe"))) == {"pe"}
        view = json.loads(pe.check_output("cat /etc/paranal/view.json"))
        (co,) = (peer for peer in view["peers"] if peer["code"] == "co")
        assert co["contact"]["phone"].endswith("9")
        newer = [file.read_bytes() for file in files]
        for file in files:
            shutil.copy(tmp_path / file.name, file)
        assert "PAR-0154" in refused(lab, pe)
        for file, content in zip(files, newer, strict=True):
            file.write_bytes(content)
    finally:
        lab.declare(agreement.document)
        played(lab)


def test_an_authority_that_the_agreement_does_not_name_is_refused(
    lab: Lab, nodes: dict[str, Host], published: Path, tmp_path: Path
) -> None:
    """Colombia's own name and domain, all that a publication is checked for, but another key."""
    domain = "co." + lab.agreement().document["domain"]
    other = CertificateAuthority.create(tmp_path / "ca" / "co", "co", domain, b"of nobody")
    assert other.publish(published)
    said = refused(lab, nodes["pe"])
    assert "PAR-0436" in said
    assert "RB-011" in said
