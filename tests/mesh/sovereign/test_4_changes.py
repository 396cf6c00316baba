"""A country leaves, comes back by its card, and another loses its authority's key (RB-014, RB-015).

Each step is what the runbook says, by the users of the countries; the seconds go to the reports.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

from paranal.agreement.connections import anchor_digest
from paranal.lab import countries, people
from paranal.lab.controllers import Controller
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from tests.mesh.sovereign.support import ask, enrol
from tests.mesh.support import eventually, sas_with, spis, tunnels_up

pytestmark = pytest.mark.req("B1", "B2")
Own = dict[str, Controller]
Note = Callable[[str, float], None]
FIGURES = ROOT / ".build" / "reports" / "sovereign.json"
LEAVES, STAY, LOSES = "cl", ["co", "mx", "pe"], "pe"
WAIT_SECONDS = 60
OF_LEAVER = (
    "ls /etc/swanctl/x509ca /etc/swanctl/x509crl /etc/haproxy/paranal; nft list table inet paranal;"
    " cat /etc/swanctl/conf.d/paranal.conf /etc/paranal/view.json"
)


@pytest.fixture(scope="module")
def note() -> Iterator[Note]:
    """Keep how many seconds a step took."""
    figures: dict[str, float] = {}

    def keep(step: str, begun: float) -> None:
        figures[step] = round(time.monotonic() - begun, 1)

    yield keep
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def words(one: Controller) -> list[str]:
    return ["--agreement", str(countries.agreement(one))]


def traces(node: Host) -> bool:
    """Tell whether a node has a tunnel, a rule or trust for the country that leaves."""
    return any(mark in node.check_output(OF_LEAVER) for mark in (f"{LEAVES}-", f".{LEAVES}."))


def test_a_country_leaves_and_the_others_serve_on(
    lab: Lab, own: Own, nodes: dict[str, Host], whole: dict[str, str], note: Note
) -> None:
    assert all(traces(nodes[code]) and sas_with(nodes[code], LEAVES) for code in STAY)
    before = spis(nodes["pe"], "co")
    begun = time.monotonic()
    leaver = own[LEAVES]
    leaver.paranal("agreement", "remove-member", LEAVES, *words(leaver))
    countries.sign([leaver], [own[code] for code in STAY])
    note("leaving: proposed, signed, taken by all", begun)
    for code in STAY:
        countries.apply(lab, own[code])
    note("leaving: applied by all, one after the other", begun)
    for code in STAY:
        assert not traces(nodes[code])
        assert not sas_with(nodes[code], LEAVES)
    assert spis(nodes["pe"], "co") == before
    answer = ask(lab, "pe", ["co", "mx"], people.DEMO_CLEAN_MRZ, "officer-pe")
    assert {each["answer"] for each in answer["answers"].values()} == {"OK"}, answer


def test_it_comes_back_by_its_card_with_nothing_open(
    lab: Lab, own: Own, nodes: dict[str, Host], whole: dict[str, str], note: Note
) -> None:
    begun = time.monotonic()
    comer, stay = own[LEAVES], [own[code] for code in STAY]
    former = countries.signers(comer).read_text(encoding="utf-8")
    comer.run("sh", "-c", "rm -r half received")
    countries.init(comer, "paranal.example")
    new = countries.signed_by(LEAVES, countries.card(comer)["signer"])
    countries.receive(comer, stay)
    for one in (*stay, comer):
        # The epochs that it signed with its former key stay in the bundle, so that key stays too.
        countries.receive(one, [comer] if one is not comer else [])
        one.write(countries.signers(one), former + new)
        for old in [*countries.agreement(one).parent.glob(f"c*/{LEAVES}-*")]:
            if one is not comer:
                old.unlink()
    proposer = stay[1]
    card = proposer.home / "received" / LEAVES / f"{LEAVES}.yml"
    proposer.paranal("agreement", "add-member", str(card), *words(proposer))
    said = proposer.paranal("agreement", "diff", *words(proposer)).stdout.decode()
    assert "entra en la alianza" in said
    everyone = [proposer, *(one for one in (*stay, comer) if one is not proposer)]
    countries.sign(everyone)
    for one in everyone:
        countries.accept(one, [other.member for other in everyone if other is not one])
    countries.furnish(lab, comer)
    note("joining: half made, proposed, signed by all, authorities accepted", begun)
    for one in everyone:
        countries.apply(lab, one)
    note("joining: applied by all, one after the other", begun)
    nodes[LEAVES].check_output("paranal line-check")
    status = json.loads(nodes[LEAVES].run("paranal status --json").stdout)
    assert {pair["name"] for pair in status["pairs"]} == {f"{LEAVES}-{code}" for code in STAY}
    assert all(pair["line_check"]["ok"] for pair in status["pairs"]), status["pairs"]
    answer = ask(lab, "pe", [LEAVES], people.DEMO_CLEAN_MRZ, "officer-pe")
    assert answer["answers"][LEAVES]["answer"] == "NOT_AUTHORISED"


def test_a_country_that_lost_its_authority_serves_under_another(
    lab: Lab, own: Own, nodes: dict[str, Host], whole: dict[str, str], note: Note
) -> None:
    begun = time.monotonic()
    loser, rest = own[LOSES], [own[code] for code in STAY if code != LOSES] + [own[LEAVES]]
    peers = [code for code in STAY if code != LOSES]
    for code in peers:
        suspend(nodes[code], LOSES)
        suspend(nodes[LOSES], code)
    note("authority lost: suspended by all", begun)
    old = loser.receive(loser.half / "public", "old")
    root = replace_authority(loser)
    rewrite_roots(loser, root)
    countries.sign([loser], rest)
    for one in rest:
        countries.receive(one, [loser])
        countries.accept(one, [LOSES])
        published = ["--published", str(countries.agreement(one).parent), "--member", LOSES]
        theirs = one.receive(old, "old")
        said = one.paranal("pki", "accept", *words(one), *published, str(theirs), check=False)
        assert b"PAR-0436" in said.stderr
    note("authority lost: new one made, signed, accepted by all", begun)
    cut = time.monotonic()
    for one in (*rest, loser):
        countries.apply(lab, one)
    note("authority lost: applied by all, one after the other", begun)
    enrol(lab, loser, f"{LOSES}-2")
    answer = ask(lab, peers[0], [LOSES], people.DEMO_CLEAN_MRZ, f"officer-{peers[0]}")
    assert answer["answers"][LOSES]["answer"] == "NOT_AUTHORISED", "suspended until both lift it"
    for code in peers:
        nodes[code].check_output("paranal suspend %s --lift", LOSES)
        nodes[LOSES].check_output("paranal suspend %s --lift", code)
    for one in (*rest, loser):
        countries.apply(lab, one)
    note("authority lost: lifted and applied by all", begun)
    assert eventually(lambda: tunnels_up(nodes[LOSES], peers), WAIT_SECONDS)
    for code in peers:
        held = nodes[code].file(f"/etc/swanctl/x509ca/{LOSES}-g2-root.pem").content
        assert anchor_digest(held) == root
        assert not nodes[code].file(f"/etc/swanctl/x509ca/{LOSES}-root.pem").exists
        answer = ask(lab, code, [LOSES], people.DEMO_CLEAN_MRZ, f"officer-{code}")
        assert answer["answers"][LOSES]["answer"] == "OK", answer
        answer = ask(lab, LOSES, [code], people.DEMO_CLEAN_MRZ, f"officer-{LOSES}")
        assert answer["answers"][code]["answer"] == "OK", answer
    note("authority lost: from the first apply until all serve", cut)


def suspend(node: Host, peer: str) -> None:
    node.check_output("paranal suspend %s --reason %s", peer, "the authority's key was seen")


def replace_authority(one: Controller) -> str:
    """Make another authority in a new folder, publish it, and put it into the inventory."""
    code = one.member
    folder, phrase = one.half / "ca" / f"{code}-2", one.half / "ca" / f"{code}-2.passphrase"
    made = ["--directory", str(folder), "--passphrase-file", str(phrase), "--generation", "2"]
    made += ["--member", code, "--domain", f"{code}.paranal.example"]
    one.paranal("pki", "init", *made, "--published", str(countries.agreement(one).parent))
    copy = 'for kind in ca crl; do cp half/agreement/$kind/"$1"-* half/public/$kind/; done'
    one.run("sh", "-c", copy, "sh", code)
    one.ansible("vault", "encrypt", *countries.vault(one), str(phrase))
    one.run("chmod", "600", str(phrase))
    settings = one.half / "inventory" / "group_vars" / "alliance" / "node.yml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace(f"ca/{code}\n", f"ca/{code}-2\n"), encoding="utf-8")
    public: Path = one.half / "public" / "ca" / f"{code}-g2-root.pem"
    return anchor_digest(public.read_bytes())


def rewrite_roots(one: Controller, root: str) -> None:
    """Put the new root alone into the text, as its owner may, under the next epoch."""
    path = countries.agreement(one)
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["epoch"] += 1
    document["members"][one.member]["roots"] = [root]
    one.write(path, yaml.safe_dump(document, allow_unicode=True, sort_keys=False))
