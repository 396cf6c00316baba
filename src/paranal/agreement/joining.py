"""The work of ``paranal agreement add-member|remove-member``: a proposal, made in the file.

Both only write the text of the next epoch, which binds nobody until it is signed as every change
is (docs/adr/0015). Joining opens nothing: status ``pending``, and every service of every pair.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paranal.agreement import bundle as bundles
from paranal.agreement import signatures
from paranal.agreement.card import JOINS_AS, Card, as_members, read_card
from paranal.agreement.check import problems
from paranal.agreement.layout import rewrite
from paranal.agreement.load import Agreement, load
from paranal.agreement.source import Source
from paranal.messages import LANGUAGES, Refusal

Document = dict[str, Any]

NEXT = {
    "es": """{code} queda propuesto en {path}, época {epoch}: nada está abierto ni firmado.
Sigue:
  1. Compare por teléfono con {code} la huella de su clave de firma: {fingerprint}
  2. Cada país añade esta línea a su lista de firmantes (paranal_allowed_signers_file):
{listed}  3. Léalo en palabras: paranal agreement diff --agreement {path}
  4. Firme: paranal agreement sign --agreement {path} --member SU-CÓDIGO --key SU-CLAVE
  5. Envíe el anexo y su expediente a todos, también a {code}: firman todos (RB-014).
""",
    "en": """{code} is proposed in {path}, epoch {epoch}: nothing is open and nothing is signed.
Next:
  1. Compare the fingerprint of its signing key with {code} by telephone: {fingerprint}
  2. Each country adds this line to its list of signers (paranal_allowed_signers_file):
{listed}  3. Read it in words: paranal agreement diff --agreement {path}
  4. Sign: paranal agreement sign --agreement {path} --member YOUR-CODE --key YOUR-KEY
  5. Send the agreement and its bundle to everybody, to {code} too: all sign (RB-014).
""",
}
GOES = {
    "es": """Se propone en {path}, época {epoch}, que {code} deje la alianza: aún no está firmado.
Sigue:
  1. Léalo en palabras: paranal agreement diff --agreement {path}
  2. Firma {code}, o firman todos los demás: paranal agreement sign --agreement {path}
  3. Cuando todos hayan aplicado esa época, quite a {code} de su lista de firmantes (RB-015).
""",
    "en": """It is proposed in {path}, epoch {epoch}, that {code} leaves: it is not signed yet.
Next:
  1. Read it in words: paranal agreement diff --agreement {path}
  2. {code} signs, or all the others do: paranal agreement sign --agreement {path}
  3. When all have applied that epoch, take {code} out of your list of signers (RB-015).
""",
}


def add(args: argparse.Namespace) -> int:
    """Propose the card's member; the file is replaced only by what holds every check."""
    agreement, card = load(args.agreement), read_card(args.card)
    document = joined(agreement, card, args.crypto_profile)
    for problem in problems(as_members(card.source, ("member",), card.code, document)):
        raise problem
    rewrite(agreement, document)
    facts = {
        **_proposed(args.agreement, card.code, document),
        "fingerprint": card.fingerprint,
        "listed": signatures.listed(card.code, card.signer),
    }
    return _tell(facts, NEXT, as_json=args.json)


def remove(args: argparse.Namespace) -> int:
    """Propose that a member leaves."""
    agreement = load(args.agreement)
    document = left(agreement, args.code)
    for problem in problems(Source(agreement.path, document, {})):
        raise problem
    rewrite(agreement, document)
    return _tell(_proposed(args.agreement, args.code, document), GOES, as_json=args.json)


def joined(agreement: Agreement, card: Card, profile: str) -> Document:
    """Return the document with the card's member and its pair with each other, all ``pending``.

    Raises ``Refusal`` PAR-0161 for one that is a member already.
    """
    document, code = agreement.document, card.code
    if code in agreement.members:
        where = card.source.where(("code",))
        raise Refusal("PAR-0161", where=where, member=code, path=agreement.path)
    pairs = [
        _pair(sorted((code, other)), profile, document["services"]) for other in document["members"]
    ]
    return {
        **document,
        "epoch": _next_epoch(agreement),
        "members": {**document["members"], code: card.member},
        "pairs": [*document["pairs"], *pairs],
    }


def left(agreement: Agreement, code: str) -> Document:
    """Return the document without a member and its pairs; raises ``Refusal`` PAR-0106."""
    document = agreement.document
    if code not in document["members"]:
        known = ", ".join(document["members"])
        raise Refusal("PAR-0106", where=agreement.path, member=code, members=known)
    return {
        **document,
        "epoch": _next_epoch(agreement),
        "members": {key: value for key, value in document["members"].items() if key != code},
        "pairs": [pair for pair in document["pairs"] if code not in pair["members"]],
    }


def _pair(members: list[str], profile: str, services: Mapping[str, object]) -> Document:
    first, second = members
    closed = {"services": dict.fromkeys(services, JOINS_AS)}
    return {
        "members": members,
        "crypto_profile": profile,
        **({"ppk": {"generation": 1}} if profile == "ppk" else {}),
        "directions": {f"{first}>{second}": closed, f"{second}>{first}": closed},
    }


def _next_epoch(agreement: Agreement) -> int:
    """Return the number after the bundle's last; a text ahead of it is a proposal that grows."""
    epoch: int = agreement.document["epoch"]
    last = bundles.read(bundles.beside(agreement.path)).last
    return epoch if last is not None and epoch > last.epoch else epoch + 1


def _proposed(path: Path, code: str, document: Document) -> dict[str, Any]:
    return {"path": str(path), "code": code, "epoch": document["epoch"]}


def _tell(facts: dict[str, Any], words: Mapping[str, str], *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(words[language].format(**facts) for language in LANGUAGES))
    return 0
