"""The ceremony in a lab, where one machine stands in for both ministries and for the courier."""

from __future__ import annotations

import tempfile
from pathlib import Path

from paranal.agreement import Agreement, ppk_name
from paranal.ppk.store import Store


def store(lab: Path, member: str) -> Store:
    """Return a member's own keys in the lab's folder ``.lab/NAME``."""
    return Store(lab / "ppk" / member, lab / "ppk" / f"{member}.passphrase")


def ensure(lab: Path, agreement: Agreement) -> list[str]:
    """Make sure that both ends of every ppk pair hold the declared key; return what was made.

    A second call returns nothing.
    """
    made = []
    for pair in agreement.document["pairs"]:
        name = ppk_name(pair)
        maker, taker = (store(lab, member) for member in pair["members"])
        if name is None or name in taker.names():
            continue
        if name not in maker.names():
            maker.make(name)
        with tempfile.TemporaryDirectory(dir=lab) as bag:
            sealed, passphrase = Path(bag) / "sealed", Path(bag) / "passphrase"
            maker.seal(name, sealed, passphrase)
            taker.open(sealed, passphrase)
        made.append(name)
    return made
