"""No secret is in what a run prints at its most talkative, in a log, in a diff or in a backup."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from testinfra.host import Host

from paranal.lab.lab import Lab
from tests.mesh.applying.support import running

pytestmark = pytest.mark.req("B8", "D5")
KEYS = (
    "/etc/swanctl/private/ike.key",
    "/etc/haproxy/paranal/operational.pem",
    "/etc/haproxy/paranal/national.pem",
    "/etc/haproxy/paranal/strategic.pem",
    "/etc/paranal/tls/asker.pem",
    "/etc/paranal/tls/control.pem",
    "/etc/paranal/signing/asker.pem",
    "/etc/paranal/signing/answerer.pem",
)
PLACES = "/var/lib/paranal /var/log /tmp /var/tmp /root /home /run/paranal"
LEAST = 24
"""Characters of a line of a key that count as the key: 18 octets, no accident."""


def key_lines(pem: str) -> set[str]:
    """Return the lines of the private key in a PEM text."""
    body = pem.partition("PRIVATE KEY-----")[2].partition("-----END")[0]
    return {line for line in body.splitlines() if len(line) >= LEAST}


def found(text: str, secrets: Mapping[str, set[str]]) -> set[str]:
    """Return the names of the secrets that a text holds."""
    return {name for name, lines in secrets.items() if any(line in text for line in lines)}


def held(node: Host) -> dict[str, set[str]]:
    """Return the private keys of a node by their paths."""
    return {path: key_lines(node.check_output("cat %s", path)) for path in KEYS}


@pytest.mark.parametrize("code", ["pe", "co"])
def test_a_run_that_says_all_it_knows_says_no_secret(
    lab: Lab, nodes: dict[str, Host], code: str
) -> None:
    node = nodes[code]
    secrets = {f"old {path}": lines for path, lines in held(node).items()}
    options = ("-vvv", "--diff", "--limit", code, "--extra-vars", '{"pki_renew_at_fraction": 1.0}')
    since = node.check_output("date +@%s")
    with running(lab, "verbose", *options) as run:
        assert run.ended() == 0
        printed = run.said()
    secrets |= {f"new {path}": lines for path, lines in held(node).items()}
    authority = lab.home.folder / "ca"
    passphrase = (authority / f"{code}.passphrase").read_text(encoding="ascii").strip()
    secrets |= {"passphrase": {passphrase}}
    secrets |= {
        f"authority {name}": key_lines((authority / code / name / "key.pem").read_text())
        for name in ("root", "issuing")
    }
    assert all(secrets.values())
    assert len({line for lines in secrets.values() for line in lines}) > 2 * len(KEYS)
    assert "BEGIN CERTIFICATE" in printed + node.check_output("cat %s", KEYS[1])
    assert found(printed, secrets) == set()
    journal = node.check_output("journalctl --output=cat --since=%s", since)
    assert "COMMAND=" in journal, "the journal has what was run"
    assert found(journal, secrets) == set()
    # The control: the same look finds a key where it belongs, and a passphrase in its own file.
    assert found(node.check_output("cat %s", KEYS[0]), secrets) == {f"new {KEYS[0]}"}
    assert found((authority / f"{code}.passphrase").read_text(), secrets) == {"passphrase"}


def test_no_key_is_kept_where_nobody_looks_for_one(lab: Lab, nodes: dict[str, Host]) -> None:
    """Backups, generations, logs, temporary files: a search for any key, with its control."""
    search = "grep --recursive --files-with-matches --text -e 'PRIVATE [K]EY-----' "
    # The bracket: the journal keeps what sudo was asked to run, and would be found by itself.
    for code, node in nodes.items():
        assert node.run(search + PLACES).stdout.split() == [], code
        there = node.check_output(search + "/etc/swanctl /etc/haproxy/paranal")
        assert set(there.split()) >= {KEYS[0], KEYS[1], KEYS[2]}
    logs = [path for path in Path(lab.home.log).rglob("*") if path.is_file()]
    assert logs
    for path in logs:
        assert "PRIVATE KEY-----" not in path.read_text(encoding="utf-8", errors="replace"), path
