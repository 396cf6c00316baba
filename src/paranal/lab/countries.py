"""A lab whose countries are apart: each makes its own half, signs, and provisions by its own user.

The commands are the ones that RB-014 and RB-011 give a ministry. This machine's part is the
courier's: it carries what a country hands over (``public/``, the agreement, its bundle) and keeps
no secret of anyone, so that afterwards no one but a country's own user can reach its node.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from paranal.lab import connections
from paranal.lab.controllers import Controller
from paranal.lab.docker import attempt
from paranal.lab.lab import Lab
from paranal.lab.playbook import Played, finished
from paranal.lab.progress import step

PUBLIC = "public"
AGREED = ("agreement.yml", "agreement.bundle.json")
SECRETS = ("ca", "ppk", "signers", "ssh/id_ed25519")
"""What ``lab up`` made for all countries in one place, below ``.lab/NAME``."""


def found(lab: Lab) -> list[Controller]:
    """Set every country of the lab up by itself, and the agreement, signed by all of them.

    Raises ``Refusal`` PAR-0222 with what the command of a country said, or PAR-0212.
    """
    document = lab.agreement().document
    with step(f"controllers of {lab.name}: users, halves, agents"):
        made = [make(lab, code, document) for code in sorted(lab.facts()["members"])]
    with step("the agreement: roots, signatures, authorities"):
        exchange(made)
        agree(made, rooted(document, made))
        for one in made:
            furnish(lab, one)
            hand_over(lab, one)
    forget(lab, made[0])
    return made


def make(lab: Lab, code: str, document: Mapping[str, Any]) -> Controller:
    """Make one country's controller and its half, by ``paranal member init``."""
    one = Controller(lab.name, code)
    one.make()
    facts = {key: value for key, value in document["members"][code].items() if key != "roots"}
    one.write(one.home / "facts.yml", _yaml({**facts, "status": "pending"}))
    init(one, document["domain"])
    return one


def init(one: Controller, domain: str) -> None:
    """Make a country's half out of the facts in its home, and put its passphrases into a vault."""
    words = ["member", "init", one.member, "--domain", domain, "--json"]
    words += ["--facts", str(one.home / "facts.yml"), "--directory", str(one.half)]
    one.paranal(*words)
    one.run("sh", "-c", "umask 077; head -c 30 /dev/urandom | base64 >vault.pass")
    files = [str(one.half / kind / f"{one.member}.passphrase") for kind in ("ca", "ppk")]
    one.ansible("vault", "encrypt", *vault(one), *files)
    one.run("chmod", "600", *files)


def vault(one: Controller) -> list[str]:
    """Return the options that open what a country encrypted, under its own vault id."""
    return ["--vault-id", f"{one.member}@{one.home / 'vault.pass'}"]


def exchange(made: Sequence[Controller]) -> None:
    """Hand every country's public directory to every other, and pin the signers of all."""
    cards = {one.member: card(one) for one in made}
    for one in made:
        receive(one, [other for other in made if other is not one])
        listed = [signed_by(code, card["signer"]) for code, card in sorted(cards.items())]
        one.write(one.half / "inventory" / "allowed_signers", "".join(listed))


def receive(one: Controller, givers: Sequence[Controller]) -> None:
    """Take the public directories of other countries as files."""
    for giver in givers:
        one.receive(giver.half / PUBLIC, giver.member)


def signed_by(code: str, key: str) -> str:
    """Return a signer's line, once its fingerprint was compared by telephone."""
    from paranal.agreement import signatures  # its checks take time that `exec` need not spend

    return signatures.listed(code, key)


def card(one: Controller) -> dict[str, Any]:
    """Return the card that a country hands over."""
    path = one.half / PUBLIC / f"{one.member}.yml"
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


def rooted(document: Mapping[str, Any], made: Sequence[Controller]) -> dict[str, Any]:
    """Return the document of the alliance's first epoch, each member's root from its card."""
    roots = {one.member: card(one)["member"]["roots"] for one in made}
    members = {
        code: {**member, "roots": roots.get(code, member.get("roots"))}
        for code, member in document["members"].items()
    }
    return {**document, "epoch": 1, "members": members}


def agree(made: Sequence[Controller], document: Mapping[str, Any]) -> None:
    """Let the text go round: each country signs it in its turn, then all take the whole bundle."""
    for one in made:
        one.write(agreement(one), _yaml(dict(document)))
    sign(made)
    for one in made:
        accept(one, [other.member for other in made if other is not one])


def sign(signers: Sequence[Controller], takers: Sequence[Controller] | None = None) -> None:
    """Let some countries sign the text that they have, one after the other; all take the bundle."""
    before: Controller | None = None
    for one in signers:
        if before is not None:
            take(one, before)
        key = one.half / "signer" / one.member
        words = ["--agreement", str(agreement(one)), "--member", one.member, "--key", str(key)]
        one.paranal("agreement", "sign", *words)
        before = one
    for one in takers or signers:
        if before is not None and one is not before:
            take(one, before)


def take(one: Controller, giver: Controller) -> None:
    """Take a text and its bundle from another country, each signature checked (RB-011)."""
    text, bundle = (one.receive(giver.half / "agreement" / name, name) for name in AGREED)
    one.write(agreement(one), text.read_text(encoding="utf-8"))
    words = ["--agreement", str(agreement(one)), "--allowed-signers", str(signers(one))]
    one.paranal("agreement", "merge", *words, str(bundle))


def accept(one: Controller, members: Sequence[str]) -> None:
    """Take the authorities that other countries handed over; only the agreement's roots count."""
    for member in members:
        words = ["--agreement", str(agreement(one)), "--published", str(agreement(one).parent)]
        source = one.home / "received" / member
        one.paranal("pki", "accept", *words, "--member", member, str(source))


def agreement(one: Controller) -> Path:
    """Return the agreement as a country has it."""
    return one.half / "agreement" / AGREED[0]


def signers(one: Controller) -> Path:
    """Return the keys that a country has pinned."""
    return one.half / "inventory" / "allowed_signers"


def furnish(lab: Lab, one: Controller) -> None:
    """Replace in a country's inventory what ``member init`` left as an example (RB-014, step 3)."""
    node = lab.facts()["members"][one.member]
    pinned = lab.home.known_hosts.read_text(encoding="ascii").splitlines()
    own = [line for line in pinned if line.split()[0] == one.member]
    files = {
        "known_hosts": "".join(f"{line}\n" for line in own),
        f"host_vars/{one.member}/ansible.yml": _yaml({"ansible_host": node["ssh_host"]}),
        f"host_vars/{one.member}/base.yml": _yaml({"base_debian": node["suite"]}),
        f"host_vars/{one.member}/firewall.yml": _yaml({"firewall_national_services": []}),
        "group_vars/alliance/base.yml": _yaml({"base_operator_keys": [one.operator_key]}),
    }
    for name, text in files.items():
        one.write(one.half / "inventory" / name, text)


def hand_over(lab: Lab, one: Controller) -> None:
    """Let nobody but a country's operators log in to its node, as its installer left it."""
    file = "/home/ops/.ssh/authorized_keys"
    lab.exec(one.member, "dd", f"of={file}", "status=none", given=f"{one.operator_key}\n".encode())


def forget(lab: Lab, any_one: Controller) -> None:
    """Remove from the lab every secret that ``up`` made, and keep what all have published."""
    connections.end(lab.name)
    for name in SECRETS:
        path = lab.home.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # no pair of this agreement may have a preshared key
    shutil.rmtree(lab.home.agreement.parent)
    shutil.copytree(agreement(any_one).parent, lab.home.agreement.parent)


def apply(lab: Lab, one: Controller, *options: str) -> Played:
    """Play site.yml as a country's own user with its own inventory and vault.

    Raises ``Refusal`` PAR-0221 with the first error that Ansible printed.
    """
    lab.home.log.mkdir(parents=True, exist_ok=True)
    log = lab.home.log / f"site-{one.member}.log"
    words = ["-i", str(one.half / "inventory"), *vault(one), "playbooks/site.yml", *options]
    started = time.monotonic()
    done = attempt(one.command("sh", "-c", _PLAY, *words), b"", None)
    log.write_bytes(done.stdout + done.stderr)
    return finished("site", done.returncode, time.monotonic() - started, log)


_PLAY = 'cd ~/paranal && exec .venv/bin/python -m ansible playbook "$0" "$@"'


def opened(one: Controller, authority: Path, *words: str, given: bytes = b"") -> dict[str, Any]:
    """Run ``paranal pki WORDS`` with an authority's passphrase, in clear for that long."""
    secret = authority.with_suffix(".passphrase")
    view = shlex.join(["ansible", "vault", "view", *vault(one), str(secret)])
    which = ["--directory", str(authority), "--passphrase-file", str(one.home / "phrase")]
    command = shlex.join([*words, *which, "--json"])
    script = f"""umask 077; trap 'rm -f ~/phrase' EXIT
    python -m {view} >~/phrase && python -m paranal pki {command}"""
    answer: dict[str, Any] = json.loads(one.run("sh", "-c", script, given=given).stdout)
    return answer


def _yaml(data: Any) -> str:  # noqa: ANN401 - whatever a file holds
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=200)
