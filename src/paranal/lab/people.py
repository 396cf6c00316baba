"""Synthetic people for a lab's sources: no real person, the same ones for the same seed.

Names come from Faker's Chilean, Colombian and Mexican locales and, for Peru, from lists of our own
(Quechua and Aymara surnames are missing there). A few known persons stand in every lab, so that a
demonstration and the tests can ask about them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from faker import Faker

COUNT = 3000
SEED = 2018
NATIONALITIES = {"cl": "CHL", "co": "COL", "mx": "MEX", "pe": "PER"}
LOCALES = {"cl": "es_CL", "co": "es_CO", "mx": "es_MX"}

DEMO_WANTED_MRZ = (
    "P<COLPENA<RESTREPO<<ANDRES<FELIPE<<<<<<<<<<<",
    "AV123456<4COL8407199M3009152<<<<<<<<<<<<<<08",
)
"""Wanted (RQ) in Colombia, whose record spells the surname ``Peña``."""

DEMO_RECORD_MRZ = (
    "P<MEXMUNOZ<ARRIAGA<<MARIA<GUADALUPE<<<<<<<<<",
    "G123456786MEX7911026F3105205<<<<<<<<<<<<<<04",
)
"""With a criminal record (ANT) in Mexico."""

DEMO_CLEAN_MRZ = (
    "P<PERQUISPE<MAMANI<<ROSA<LUZ<<<<<<<<<<<<<<<<",
    "1187654329PER9102284F2912316<<<<<<<<<<<<<<06",
)
"""Nowhere on record; Colombia and Mexico hold a homonym born on another day."""

DEMO_CLEAN_FIELDS = {
    "surnames": "Quispe Mamani",
    "given_names": "Rosa Luz",
    "date_of_birth": "1991-02-28",
    "sex": "F",
    "nationality": "PER",
    "document_type": "P",
    "document_number": "118765432",
    "document_issuer": "PER",
}
"""The same person as an officer types it."""

DEMO_TEST_MRZ = (
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
)
"""ICAO's own specimen: a test identity, the only kind that a direction on trial answers."""

_PERUVIAN_SURNAMES = """
Quispe Mamani Flores Huamán Condori Chávez Ñahui Yupanqui Ccori Huanca Apaza Choque Vilca Ticona
Poma Cusi Sulca Ayala Paredes Rojas Castañeda Núñez Ibáñez Acuña Peña Bazán Cárdenas Zegarra
Villanueva Salazar Tello Ore O'Phelan Ugarte Mayta Chumpitaz Inga Llacsa Rímac Saavedra
"""
_PERUVIAN_NAMES = {
    "F": """
Rosa María Luz Flor Nélida Yéssica Milagros Juana Sonia Edith Carmen Julia Ruth Ángela Micaela
Sumaq Killa Nayaraq Teófila Begoña Lucía Inés Maribel Zoila Pilar
""",
    "M": """
José Luis Juan Carlos Wilber Percy Edwin Raúl Moisés Hernán César Julio Amaru Túpac Inti Rumi
Ángel Iván Óscar Rubén Efraín Nicolás Martín Jesús Marcelino Segundo Sayri
""",
}
_OFFENCES = {
    "RQ": (("H-01", "HOMICIDE"), ("T-07", "TRAFFICKING-PERSONS"), ("D-11", "DRUG-TRAFFICKING")),
    "ANT": (("R-03", "ROBBERY"), ("F-09", "FRAUD"), ("D-11", "DRUG-TRAFFICKING"), ("N-99", None)),
}
"""Kind -> (national code, shared class); N-99 maps to no shared class and never answers."""


def records(country: str, count: int = COUNT, seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Yield ``count`` records of a country's source as ``paranal source import`` reads them.

    The known persons come first and count; ``country`` is a member code.
    """
    chance = random.Random(f"{seed}/{country}")  # noqa: S311 - nothing secret, only repeatable
    names = _namer(country, chance)
    known = list(_known(country))
    yield from known
    for number in range(len(known) + 1, count + 1):
        kind = chance.choices(("RQ", "ANT"), (1, 4))[0]
        code, shared = chance.choice(_OFFENCES[kind])
        sex = chance.choice("FM")
        given, surnames = names(sex)
        born = date(1940, 1, 1) + timedelta(days=chance.randrange(24000))
        yield _record(
            f"{country.upper()}-{number:06}",
            kind=kind,
            offence_code=code,
            offence_class=shared,
            surnames=surnames,
            given_names=given,
            date_of_birth=born.isoformat(),
            sex=sex,
            nationality=NATIONALITIES[country],
            document_number=f"{chance.choice('ABCDEFGH')}{chance.randrange(10**8):08}",
        )


def write(path: Path, country: str, count: int = COUNT, seed: int = SEED) -> int:
    """Write the records as JSON lines and return how many there are."""
    lines = [json.dumps(each, ensure_ascii=False) for each in records(country, count, seed)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def _namer(country: str, chance: random.Random) -> Any:  # noqa: ANN401 - a function of the sex
    """Return a function from a sex to given names and two surnames."""
    if country == "pe":

        def peruvian(sex: str) -> tuple[str, str]:
            given = chance.sample(_PERUVIAN_NAMES[sex].split(), 2)
            return " ".join(given), " ".join(chance.choices(_PERUVIAN_SURNAMES.split(), k=2))

        return peruvian
    fake = Faker(LOCALES[country])
    fake.seed_instance(chance.randrange(2**32))

    def faked(sex: str) -> tuple[str, str]:
        given = fake.first_name_female() if sex == "F" else fake.first_name_male()
        return given, f"{fake.last_name()} {fake.last_name()}"

    return faked


def _known(country: str) -> Iterator[dict[str, Any]]:
    homonym = {
        "surnames": "Quispe Mamani",
        "given_names": "Rosa Luz",
        "date_of_birth": "1978-05-06",
        "sex": "F",
        "nationality": "PER",
        "document_number": "100000001",
    }
    if country == "co":
        yield _record(
            "CO-000001",
            kind="RQ",
            offence_code="H-01",
            offence_class="HOMICIDE",
            surnames="Peña Restrepo",
            given_names="Andrés Felipe",
            date_of_birth="1984-07-19",
            sex="M",
            nationality="COL",
            document_number="AV123456",
        )
        yield _record("CO-000002", kind="ANT", offence_code="R-03", **homonym)
    elif country == "mx":
        yield _record(
            "MX-000001",
            kind="ANT",
            offence_code="F-09",
            offence_class="FRAUD",
            surnames="Muñoz Arriaga",
            given_names="María Guadalupe",
            date_of_birth="1979-11-02",
            sex="F",
            nationality="MEX",
            document_number="G12345678",
        )
        yield _record("MX-000002", kind="RQ", offence_code="T-07", **homonym)


def _record(
    record: str, *, nationality: str, offence_class: str | None = "ROBBERY", **fields: str
) -> dict[str, Any]:
    """Return one record; the document is a passport of the person's own state."""
    own = {"document_type": "P", "document_issuer": nationality}
    return {
        "record": record,
        "offence_class": offence_class,
        "nationality": nationality,
        **own,
        **fields,
    }
