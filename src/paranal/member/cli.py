"""``paranal member``: what a state does before it joins (runbook RB-014). It prints no secret."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from paranal.member.facts import read_facts
from paranal.member.half import make
from paranal.messages import LANGUAGES

NEXT = {
    "es": """Hecho: la mitad de {code} está en {directory}. Nada de ello sale de aquí salvo public/.
Sigue (RB-014):
  1. Guarde copia de las frases (ca/, ppk/) y lleve ca/{code}/root/key.pem fuera de línea.
  2. La clave de firma, si se creó aquí (signer/), póngale frase (ssh-keygen -p -f) o use un token.
  3. Entregue {directory}/public/ a un miembro por un canal seguro, y léale por teléfono:
       clave de firma {signer}
       raíz {root}
  4. En inventory/ sustituya lo que es de ejemplo: claves de operadores, 192.0.2.x, servicios.
  5. Añada a inventory/allowed_signers la clave de cada miembro, entregada en mano.
  6. Con el anexo propuesto y su expediente en agreement/: paranal agreement diff, y firme.
""",
    "en": """Done: the half of {code} is in {directory}. Nothing of it leaves but public/.
Next (RB-014):
  1. Keep a copy of the passphrases (ca/, ppk/) and take ca/{code}/root/key.pem offline.
  2. The signing key, if it was made here (signer/): give it a passphrase (ssh-keygen -p -f) or use
     a token.
  3. Hand {directory}/public/ to a member by a safe channel, and read out by telephone:
       signing key {signer}
       root {root}
  4. In inventory/ replace what is an example: operators' keys, 192.0.2.x, services.
  5. Add each member's key to inventory/allowed_signers, as it was handed over.
  6. With the proposed agreement and its bundle in agreement/: paranal agreement diff, and sign.
""",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of ``paranal member``."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    summary = "make a country's inventory, authority, passphrases and signing key, and its card"
    word = words.add_parser("init", help=summary, description=summary)
    word.add_argument("code", metavar="CODE", help="two-letter code, for example ec")
    word.add_argument("--domain", required=True, help="the alliance's, as the agreement says it")
    word.add_argument("--facts", type=Path, required=True, help="the member's facts, without roots")
    word.add_argument("--directory", type=Path, required=True, help="a new one, of this country's")
    word.add_argument("--signing-key", type=Path, metavar="PUB", help="default: one is made")
    word.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Make the half and say what comes next; refusals are PAR-100x, PAR-01xx and PAR-04xx."""
    facts = read_facts(args.facts, args.code, args.domain)
    told = make(args.directory, args.code, args.domain, facts, args.signing_key)
    if args.json:
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(NEXT[language].format(**told) for language in LANGUAGES))
    return 0
