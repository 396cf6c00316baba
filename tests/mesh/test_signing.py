"""What a country's service signs opens at a peer's, and nothing that another signs in its name."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from testinfra.host import Host

from paranal.lab.lab import Lab
from paranal.signing import envelope
from tests.mesh.envelopes import ACCOUNTS, ANSWERER, ASKER, TYP, opened, signed
from tests.mesh.forgery import forge, issuing_of
from tests.mesh.support import ASKER as TLS
from tests.mesh.support import Views

pytestmark = pytest.mark.req("B5", "D5")
SAID = "una consulta"


def forged(folder: Path, key: str, chain: str) -> str:
    """Return an envelope by a key and chain that no node of the alliance holds."""
    file = folder / "forged.pem"
    file.write_text(key + chain, encoding="ascii")
    return envelope.sign(SAID.encode(), TYP, envelope.read_signer(file))


@pytest.mark.parametrize(("file", "opener"), [(ASKER, ANSWERER), (ANSWERER, ASKER)])
def test_what_one_service_signs_opens_at_the_peers_other_service(
    nodes: dict[str, Host], file: str, opener: str
) -> None:
    text = signed(nodes["pe"], SAID, file)
    assert opened(nodes["co"], {"pe": (text, "pe")}, ACCOUNTS[opener]) == {"pe": SAID}


def test_only_perus_own_signing_leaf_signs_for_peru(
    lab: Lab, nodes: dict[str, Host], views: Views, tmp_path: Path
) -> None:
    own, name = views["pe"]["member"], views["pe"]["member"]["identities"]["signing"]
    trusted = {
        peer["code"]: bool(peer["pair"]["channels"])
        for peer in views["co"]["peers"]
        if peer["code"] in nodes and peer["code"] != "pe"
    }
    good, stranger = signed(nodes["pe"], SAID), next(iter(trusted))
    theirs = {code: signed(nodes[code], SAID) for code in trusted}
    head, _, signature = good.split(".")
    said = base64.urlsafe_b64encode(b"otra consulta").decode().rstrip("=")
    key, chain = forge(lab, stranger, "signing", name)
    leaf = "".join(chain.partition("-----END CERTIFICATE-----\n")[:2])
    cases = {
        "good": (good, "pe", SAID),
        **{
            f"{code} as itself": (text, code, SAID if trusted[code] else "PAR-0469")
            for code, text in theirs.items()
        },
        **{f"{code} as pe": (text, "pe", "PAR-0462") for code, text in theirs.items()},
        **{
            f"pe as {code}": (good, code, "PAR-0462" if is_open else "PAR-0469")
            for code, is_open in trusted.items()
        },
        "TLS leaf": (signed(nodes["pe"], SAID, TLS, "paranal-national"), "pe", "PAR-0463"),
        "tampered": (f"{head}.{said}.{signature}", "pe", "PAR-0467"),
        "its name by another": (forged(tmp_path, key, chain), "pe", "PAR-0462"),
        "and its CA beside it": (
            forged(tmp_path, key, leaf + issuing_pem(lab, "pe")),
            "pe",
            "PAR-0462",
        ),
        **{
            f"as {other}": (forged(tmp_path, *forge(lab, "pe", "signing", other)), "pe", "PAR-0463")
            for other in (f"other.{own['domain']}", name.replace("signer", "SIGNER"))
        },
    }
    found = opened(nodes["co"], {case: (text, code) for case, (text, code, _) in cases.items()})
    assert found == {case: expected for case, (_, _, expected) in cases.items()}


def issuing_pem(lab: Lab, member: str) -> str:
    certificate, _ = issuing_of(lab, member)
    return certificate.public_bytes(Encoding.PEM).decode()


def test_no_other_account_reads_a_signing_key(nodes: dict[str, Host]) -> None:
    pe = nodes["pe"]
    for file, owner in ACCOUNTS.items():
        for account in ("paranal-national", "paranal-alliance", "paranal-control", "nobody"):
            read = pe.run("runuser -u %s -- head --bytes=1 %s", account, file).succeeded
            assert read == (account == owner), (account, file)
    assert signed(pe, SAID, ASKER, "paranal-alliance") == "PAR-0468"
