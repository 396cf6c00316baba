"""A parameter sheet as one page of text: A4, ten points, to be printed, signed and typed in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from paranal.agreement.transforms import ADDKE1, KE, TYPE_NAMES

LINES, COLUMNS = 64, 88
"""What an A4 page holds at ten points with margins of twelve millimetres."""

_LABEL, _CELL = 16, 36
_AUTHENTICATION = {
    "ecdsa-384-sha384": "ECDSA P-384, SHA-384 (Digital Signature, 14; RFC 7427)",
}


def page(sheet: Mapping[str, Any], language: str) -> str:
    """Return the page in one language (``es`` or ``en``), at most ``LINES`` of ``COLUMNS``."""
    blocks = (_head, _ends, _authentication, _ike, _children, _foot)
    lines = (line for block in blocks for line in block(sheet, language))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _head(sheet: Mapping[str, Any], language: str) -> Iterator[str]:
    title = {"es": "HOJA DE PARÁMETROS · par", "en": "PARAMETER SHEET · pair"}[language]
    annex = {"es": "anexo técnico", "en": "agreement"}[language]
    epoch = {"es": "época", "en": "epoch"}[language]
    named = f"{annex} {sheet['alliance']}, {epoch} {sheet['epoch']}"
    yield from wrap(f"{title} {sheet['pair']} · {sheet['crypto_profile']} · {named}", COLUMNS)
    yield from _digest({"es": "Anexo", "en": "Agreement"}[language], sheet["agreement_digest"])
    yield from _digest({"es": "Paridad", "en": "Parity"}[language], sheet["parity"])


def _ends(sheet: Mapping[str, Any], language: str) -> Iterator[str]:
    spanish = language == "es"
    yes, no = ("sí", "no, espera") if spanish else ("yes", "no, waits")
    ends = [sheet["ends"][sheet[side]] for side in ("local", "remote")]
    codes = [sheet[side].upper() for side in ("local", "remote")]
    sides = ("LOCAL", "REMOTO" if spanish else "REMOTE")
    yield ""
    yield from _row(
        "",
        *(
            f"{side} {code} ({end['name'][language]})"
            for side, code, end in zip(sides, codes, ends, strict=True)
        ),
    )
    yield from _row("Pasarela" if spanish else "Gateway", *(end["wan_address"] for end in ends))
    yield from _row("ID_FQDN", *(end["identity"] for end in ends))
    yield from _row(
        "Inicia" if spanish else "Initiates", *(yes if e["initiates"] else no for e in ends)
    )
    yield from _row(
        "Plano de datos" if spanish else "Data plane", *(end["data_plane"] for end in ends)
    )
    for code, end in zip(codes, ends, strict=True):
        contact = end["contact"]
        told = f"{contact['name']}, {contact['phone']}, {contact['email']}"
        yield from _line(f"{code} 24/7", told)


def _authentication(sheet: Mapping[str, Any], language: str) -> Iterator[str]:
    spanish, ike = language == "es", sheet["ike"]
    yield ""
    title = "AUTENTICACIÓN" if spanish else "AUTHENTICATION"
    yield f"{title}  SHA-256 DER"
    way = _AUTHENTICATION[ike["authentication"]]
    yield from _line("Firma" if spanish else "Signature", way)
    strict = (
        f"{ike['revocation']}: CRL vigente de la raíz y de la emisora; sin ella no se admite"
        if spanish
        else f"{ike['revocation']}: a current CRL of root and issuing CA; refused without"
    )
    yield from _line("Revocación" if spanish else "Revocation", strict)
    words = (
        {"root": "raíz", "issuing": "emisora"}
        if spanish
        else {"root": "root", "issuing": "issuing"}
    )
    unpublished = "sin publicar todavía" if spanish else "not published yet"
    for side in ("local", "remote"):
        found, code = sheet["ends"][sheet[side]]["authorities"], sheet[side].upper()
        for generation in generations(found):
            for authority, word in words.items():
                digest = found.get(f"{generation}{authority}")
                label = f"{code} {generation[:-1]} {word}" if generation else f"CA {code} {word}"
                yield from _digest(label, digest) if digest else _line(label, unpublished)


def generations(authorities: Mapping[str, str]) -> list[str]:
    """Return how the names of each generation begin (``""``, ``"g2-"``), the oldest first.

    Where nothing is published it is the first that has yet to be.
    """
    found = {name.rpartition("-")[0] for name in authorities}
    return [f"{one}-" if one else "" for one in sorted(found, key=lambda one: (len(one), one))] or [
        ""
    ]


def _ike(sheet: Mapping[str, Any], language: str) -> Iterator[str]:
    spanish, ike = language == "es", sheet["ike"]
    ends = [sheet["ends"][sheet[side]] for side in ("local", "remote")]
    ports = "/".join(map(str, ike["udp_ports"]))
    yield ""
    yield f"IKE_SA  IKEv{ike['version']} (RFC 7296), UDP {ports}    {ike['proposal']}"
    yield from _transforms(ike["transforms"], language)
    label = "Renueva claves" if spanish else "Rekeys after"
    yield from _row(label, *(f"{end['rekey_seconds']} s" for end in ends))
    label = "Reautentica" if spanish else "Reauthenticates"
    yield from _row(label, *(f"{end['reauth_seconds']} s" for end in ends))
    yield from _row("Childless", *(f"{end['childless']} (RFC 6023)" for end in ends))
    parts = [
        f"DPD {ike['dpd_seconds']} s",
        f"{'fragmentación' if spanish else 'fragmentation'} {ike['fragmentation']} (RFC 7383)",
        f"MOBIKE {ike['mobike']}",
        f"PPK {ike['ppk_id'] or 'no'}" + (" (RFC 8784)" if ike["ppk_id"] else ""),
    ]
    yield from _line("Además" if spanish else "Also", "; ".join(parts))


def _children(sheet: Mapping[str, Any], language: str) -> Iterator[str]:
    spanish = language == "es"
    if not sheet["children"]:
        yield ""
        yield (
            "Nada abierto en el par: ninguna CHILD_SA, solo prueba de línea."
            if spanish
            else "Nothing is open in the pair: no CHILD_SA, line check only."
        )
    for child in sheet["children"]:
        yield ""
        yield f"CHILD_SA {child['name']}  ESP {child['mode']}    {child['proposal']}"
        yield from _transforms(child["transforms"], language, pfs=True)
        yield from _row(
            "Selectores" if spanish else "Selectors",
            *(", ".join(child["selectors"][sheet[side]]) for side in ("local", "remote")),
        )
        yield from _row(
            "Renueva claves" if spanish else "Rekeys after",
            *(f"{child['rekey_seconds'][sheet[side]]} s" for side in ("local", "remote")),
        )
        packets = "paquetes" if spanish else "packets"
        life = f"{child['life_seconds']} s, {child['life_bytes']} B, {child['life_packets']} "
        yield from _line("Límite" if spanish else "Hard limit", f"{life}{packets}")
        window = "ventana antirrepetición" if spanish else "replay window"
        services = ", ".join(f"{each['name']} {each['tcp_port']}" for each in child["services"])
        also = f"{window} {child['replay_window']}; TCP {services}"
        yield from _line("Además" if spanish else "Also", also)


def _foot(sheet: Mapping[str, Any], language: str) -> Iterator[str]:
    said = {
        "es": "Una sola propuesta por SA y los selectores exactos: lo que difiera se rechaza.",
        "en": "One proposal per SA and these very selectors: anything else is refused.",
    }
    yield ""
    yield said[language]


def _transforms(found: list[dict[str, Any]], language: str, *, pfs: bool = False) -> Iterator[str]:
    word = {"es": "tipo", "en": "type"}[language]
    for each in found:
        bits = f", {each['key_bits']} bits" if each["key_bits"] else ""
        forward = ", PFS" if pfs and each["type"] in (KE, ADDKE1) else ""
        numbers = f"({word} {each['type']}, {each['number']})"
        yield from _line(TYPE_NAMES[each["type"]], f"{each['name']} {numbers}{bits}{forward}")


def _digest(label: str, digest: str) -> Iterator[str]:
    groups = " ".join(digest[at : at + 8] for at in range(0, len(digest), 8))
    yield from _line(label, groups)


def _row(label: str, local: str, remote: str) -> Iterator[str]:
    """Set two values side by side, or one below the other where they are too long for that."""
    if max(len(local), len(remote)) < _CELL:
        yield f"{label:{_LABEL}}{local:{_CELL}}{remote}"
        return
    yield from _line(label, local)
    yield from _line("", remote)


def _line(label: str, value: str) -> Iterator[str]:
    for number, part in enumerate(wrap(value, COLUMNS - _LABEL)):
        yield f"{'' if number else label:{_LABEL}}{part}"
