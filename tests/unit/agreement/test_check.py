"""Wrong agreements are refused with file, line and reason before anything is rendered (IAC-001)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from paranal.agreement import load
from paranal.agreement.check import problems
from paranal.agreement.source import read
from paranal.cli import main
from paranal.messages import Refusal

REPOSITORY = Path(__file__).parents[3]
SHIPPED = REPOSITORY / "agreement" / "pacific-alliance.yml"

PE_MX_LESS = "pe>mx:\n        services: {person: live"
"""One direction of the pair without one of the services that the other has."""

Edit = Callable[[str], str]


def refusal(tmp_path: Path, text: str) -> Refusal:
    path = tmp_path / "agreement.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Refusal) as caught:
        load(path)
    return caught.value


def line_of(text: str, needle: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if needle in line)


def replaced(old: str, new: str, count: int = -1) -> Edit:
    def edit(text: str) -> str:
        assert old in text, f"the shipped agreement has no {old!r}"
        return text.replace(old, new, count)

    return edit


@pytest.mark.parametrize("path", sorted((REPOSITORY / "agreement").glob("*.yml")))
def test_shipped_agreements_are_sound(path: Path) -> None:
    agreement = load(path)
    assert sorted(agreement.members) == ["cl", "co", "mx", "pe"]


@pytest.mark.req("R12")
@pytest.mark.parametrize(
    ("edit", "code", "needle"),
    [
        pytest.param(
            replaced("inner_prefix: 10.51.0.0/16", "inner_prefix: 10.48.0.0/12"),
            "PAR-0104",
            "10.48.0.0/12",
            id="overlapping-prefixes",
        ),
        pytest.param(
            replaced("ike: gw.pe.paranal.example", "ike: gw.mx.paranal.example"),
            "PAR-0105",
            None,
            id="duplicate-identity",
        ),
        pytest.param(
            replaced("operational: q.pe.paranal.example", "operational: q.pe.paranal.example.org"),
            "PAR-0110",
            "paranal.example.org",
            id="identity-outside-own-domain",
        ),
        pytest.param(
            replaced("members: [mx, pe]", "members: [mx, ve]"),
            "PAR-0106",
            "members: [mx, ve]",
            id="unknown-member",
        ),
        pytest.param(
            replaced("      pe>mx:", "      pe>co:"), "PAR-0107", "mx>pe", id="wrong-direction"
        ),
        pytest.param(
            replaced("members: [mx, pe]", "members: [pe, mx]"),
            "PAR-0118",
            "members: [pe, mx]",
            id="pair-out-of-order",
        ),
        pytest.param(
            replaced("members: [mx, pe]", "members: [co, pe]"), "PAR-0119", None, id="pair-twice"
        ),
        pytest.param(
            replaced("inner_prefix: 10.51.0.0/16", "inner_prefix: 0.0.0.0/0"),
            "PAR-0114",
            "0.0.0.0/0",
            id="everything-as-prefix",
        ),
        pytest.param(
            replaced("inner_prefix: 10.51.0.0/16", "inner_prefix: 10.51.0.1/16"),
            "PAR-0108",
            "10.51.0.1/16",
            id="host-bits",
        ),
        pytest.param(
            replaced("wan_address: 203.0.113.34", "wan_address: 127.0.0.1"),
            "PAR-0115",
            "127.0.0.1",
            id="loopback-wan",
        ),
        pytest.param(
            replaced("wan_address: 203.0.113.34", "wan_address: 10.51.0.9"),
            "PAR-0117",
            "10.51.0.9",
            id="wan-inside-inner",
        ),
        pytest.param(
            replaced("operational: 10.51.1.1", "operational: 10.99.1.1"),
            "PAR-0116",
            "10.99.1.1",
            id="address-outside-own-prefix",
        ),
        pytest.param(
            replaced(
                "pe>mx:\n        services: {person: live, document: pending, ",
                "pe>mx:\n        services: {person: live, ",
            ),
            "PAR-0121",
            None,
            id="services-differ",
        ),
        pytest.param(
            replaced("crypto_profile: classic", "crypto_profile: ppk"),
            "PAR-0130",
            None,
            id="key-without-generation",
        ),
        pytest.param(
            replaced("crypto_profile: classic", "crypto_profile: hybrid\n    ppk: {generation: 1}"),
            "PAR-0131",
            None,
            id="generation-without-key",
        ),
        pytest.param(
            replaced("wan_address: 203.0.113.34", "wan_address: 203.0.113.334"),
            "PAR-0108",
            "203.0.113.334",
            id="no-address",
        ),
        pytest.param(
            replaced("operator: Migración Colombia", 'operator: "Migración } Colombia"'),
            "PAR-0102",
            "Migración }",
            id="brace-in-name",
        ),
        pytest.param(
            replaced("operator: Migración Colombia", 'operator: "Migración Colombia\\n"'),
            "PAR-0102",
            "Migración Colombia",
            id="newline-in-name",
        ),
        pytest.param(
            replaced("ike: gw.pe.paranal.example", 'ike: "gw.pe.paranal.example\\n"'),
            "PAR-0102",
            "gw.pe",
            id="newline-in-identity",
        ),
        pytest.param(
            replaced("epoch: 1", "epoch: 1\nepoch: 2"), "PAR-0103", "epoch: 2", id="key-twice"
        ),
        pytest.param(replaced("epoch: 1", "epoch: one"), "PAR-0102", "epoch: one", id="wrong-type"),
        pytest.param(replaced("epoch: 1", "epoch: 1\nhub: pe"), "PAR-0102", None, id="unknown-key"),
        pytest.param(replaced("epoch: 1", "epoch: [1"), "PAR-0101", None, id="not-yaml"),
        pytest.param(
            replaced("{person: live, document", "{persons: live, document"),
            "PAR-0111",
            "persons: live",
            id="unknown-service",
        ),
        pytest.param(
            replaced("port: 7446", "port: +7445"), "PAR-0112", "port: +7445", id="port-twice"
        ),
        pytest.param(
            replaced("date: 2018-03-01", "date: 2018-13-01", 1),
            "PAR-0102",
            "2018-13-01",
            id="impossible-date",
        ),
        pytest.param(
            replaced("wan_address: 203.0.113.34", "wan_address: 10.52.9.9"),
            "PAR-0117",
            "10.52.9.9",
            id="wan-inside-another-members-inner",
        ),
        pytest.param(
            replaced("wan_address: 203.0.113.34", "wan_address: 255.255.255.255"),
            "PAR-0115",
            "255.255.255.255",
            id="broadcast-wan",
        ),
        pytest.param(
            replaced("10.51.", "0.51."), "PAR-0115", "0.51.0.0/16", id="this-network-as-prefix"
        ),
        pytest.param(
            replaced("epoch: 1", "epoch: &x [*x]"), "PAR-0122", "&x", id="alias-of-itself"
        ),
        pytest.param(
            replaced("epoch: 1", "epoch: !!int one"),
            "PAR-0122",
            "!!int",
            id="tag-that-does-not-fit",
        ),
        pytest.param(
            replaced("operator: Migración Colombia", "operator: !!binary aGVsbG8="),
            "PAR-0122",
            "!!binary",
            id="tag-that-hides-a-value",
        ),
        pytest.param(
            replaced("epoch: 1", f"epoch: {'[' * 5000}{']' * 5000}"),
            "PAR-0122",
            "[[",
            id="too-deep",
        ),
        pytest.param(
            replaced("epoch: 1", "epoch: 1\n<<: {alliance: x}"), "PAR-0102", None, id="merged-keys"
        ),
        pytest.param(replaced("port: 7443", "port: 07443"), "PAR-0102", "07443", id="octal-port"),
        pytest.param(
            replaced("port: 7443", "port: 7443.0"), "PAR-0102", "7443.0", id="fractional-port"
        ),
        pytest.param(
            replaced("port: 7443", "port: 2:04:03"), "PAR-0102", "2:04:03", id="sexagesimal-port"
        ),
        pytest.param(replaced("cl>co:\n", "1:\n"), "PAR-0102", None, id="number-as-direction"),
    ],
)
def test_refusal_names_code_and_line(
    tmp_path: Path, edit: Edit, code: str, needle: str | None
) -> None:
    text = edit(SHIPPED.read_text(encoding="utf-8"))
    refused = refusal(tmp_path, text)
    assert refused.code == code, str(refused)
    where = refused.params["where"]
    assert where.startswith(str(tmp_path / "agreement.yml:"))
    if needle is not None:
        line = int(where.rsplit(":", 1)[1])
        wanted = line_of(text, needle)
        assert abs(line - wanted) <= 1, f"{where}, but {needle!r} stands on line {wanted}"


@pytest.mark.req("R6", "R12")
@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        pytest.param("wan_address: 2001:db8:51::2", f"wan_address: {address}", code, id=address)
        for address, code in {
            "fe80::51": "PAR-0115",
            "ff02::1": "PAR-0115",
            "::1": "PAR-0115",
            '"::"': "PAR-0115",
            "::ffff:203.0.113.34": "PAR-0115",
            "64:ff9b::cb00:7122": "PAR-0115",
            "2002:cb00:7122::1": "PAR-0115",
            "2001:0:1::1": "PAR-0115",
            "fec0::51": "PAR-0115",
            "2001:db8:51::2%wan": "PAR-0102",
            "2001:db8:51:0::2": "PAR-0136",
            "2001:DB8:51::2": "PAR-0136",
            "2001:db8:51:::2": "PAR-0108",
            "203.0.113.34": "PAR-0135",
            "3fff:57::9": "PAR-0117",
            "2001:db8:57::2": "PAR-0105",
        }.items()
    ]
    + [
        pytest.param("inner_prefix: 3fff:51::/48", f"inner_prefix: {prefix}", code, id=prefix)
        for prefix, code in {
            "3fff::/20": "PAR-0114",
            "::/0": "PAR-0114",
            "fe80::/48": "PAR-0115",
            "ff3e::/48": "PAR-0115",
            "3fff:51::1/48": "PAR-0108",
            "3fff:51:0::/48": "PAR-0136",
            "3fff:56::/48": "PAR-0104",
            "10.51.0.0/16": "PAR-0135",
        }.items()
    ]
    + [
        pytest.param("operational: 3fff:51:0:1::1", f"operational: {address}", code, id=address)
        for address, code in {
            "10.51.1.1": "PAR-0135",
            "3fff:99:0:1::1": "PAR-0116",
            "3fff:51:0:1:0::1": "PAR-0136",
        }.items()
    ],
)
def test_an_ipv6_address_that_nobody_could_use_is_refused_at_its_line(
    tmp_path: Path, old: str, new: str, code: str
) -> None:
    text = replaced(old, new)((REPOSITORY / "agreement" / "ipv6.yml").read_text(encoding="utf-8"))
    path = tmp_path / "agreement.yml"
    path.write_text(text, encoding="utf-8")
    line = max(n for n, line in enumerate(text.splitlines(), 1) if new in line)
    found = {(one.code, one.params["where"]) for one in problems(read(path))}
    assert (code, f"{path}:{line}") in found


@pytest.mark.req("R6")
@pytest.mark.parametrize(
    ("outside", "inside"), [("ipv6", "all-live"), ("all-live", "ipv6"), ("ipv6", "ipv6")]
)
def test_outside_and_inside_may_differ_in_family_and_each_is_one_for_all(
    tmp_path: Path, outside: str, inside: str
) -> None:
    gateways, document = (
        yaml.safe_load((REPOSITORY / "agreement" / f"{name}.yml").read_text(encoding="utf-8"))
        for name in (outside, inside)
    )
    path = tmp_path / "mixed.yml"
    for code, member in document["members"].items():
        member["wan_address"] = gateways["members"][code]["wan_address"]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert list(problems(read(path))) == []
    document["members"]["pe"]["wan_address"] = {"ipv6": "203.0.113.34"}.get(outside, "2001:db8::9")
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    (refused,) = problems(read(path))
    assert (refused.code, refused.params["other"]) == ("PAR-0135", "members.cl.wan_address")


def test_every_pair_is_declared(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    undeclared = text[: text.index("  - members: [mx, pe]")]
    assert refusal(tmp_path, undeclared).code == "PAR-0120"


def test_open_direction_needs_a_legal_instrument(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    legal = next(
        line for line in text.splitlines(keepends=True) if line.lstrip().startswith("legal:")
    )
    assert refusal(tmp_path, text.replace(legal, "", 1)).code == "PAR-0109"


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        load(tmp_path / "none.yml")
    assert caught.value.code == "PAR-0113"
    assert "none.yml" in str(caught.value)


def test_a_value_of_the_wrong_type_has_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "agreement.yml"
    text = SHIPPED.read_text(encoding="utf-8")
    path.write_text(text.replace("operator: Migración Colombia", "operator: 5"), encoding="utf-8")
    (only,) = problems(read(path))
    assert "5 is not of type 'string'" in str(only)


def test_every_file_is_checked_whatever_is_wrong_with_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent, broken = tmp_path / "absent.yml", tmp_path / "broken.yml"
    broken.write_text("a: [", encoding="utf-8")
    files = [str(file) for file in (absent, broken, SHIPPED)]
    assert main(["agreement", "check", *files]) == 3
    said = capsys.readouterr()
    assert [line[:8] for line in said.err.splitlines()] == ["PAR-0113", "PAR-0101"]
    assert f"{SHIPPED}: correcto" in said.out
    assert main(["agreement", "check", "--json", *files]) == 3
    data = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[each["code"] for each in one["problems"]] for one in data] == [
        ["PAR-0113"],
        ["PAR-0101"],
        [],
    ]


def test_country_code_no_stays_text(tmp_path: Path) -> None:
    """YAML 1.1 reads the code of Norway as false; the agreement must not."""
    text = SHIPPED.read_text(encoding="utf-8").replace("epoch: 1", "epoch: no")
    assert "'no' is not of type 'integer'" in str(refusal(tmp_path, text))
