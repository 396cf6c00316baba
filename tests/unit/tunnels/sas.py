"""The security associations that tests speak of, as charon would show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from paranal.tunnels.charon import ChildSa, IkeSa


def child_sa(name: str, number: str, **changes: Any) -> ChildSa:  # noqa: ANN401 - of any field
    """One CHILD_SA in place, with the algorithms of every profile but ``hybrid``."""
    made = ChildSa(
        name=name,
        unique_id=number,
        state="INSTALLED",
        encryption="AES_GCM_16-256",
        key_exchange="ECP_384",
        esn=False,
        spi_in="1",
        spi_out="2",
        bytes_in=0,
        bytes_out=0,
        local_ts=(),
        remote_ts=(),
    )
    return replace(made, **changes)


def ike_sa(name: str, number: str, children: Iterable[ChildSa | str], **changes: Any) -> IkeSa:  # noqa: ANN401 - of any field
    """One established IKE_SA; a child may be given by its name alone."""
    made = IkeSa(
        name=name,
        unique_id=number,
        state="ESTABLISHED",
        initiator=True,
        remote_id="",
        local_host="",
        remote_host="",
        encryption="AES_GCM_16-256",
        prf="PRF_HMAC_SHA2_384",
        key_exchange="ECP_384",
        ppk=False,
        established_seconds=1,
        busy=False,
        children=tuple(
            child_sa(each, f"{number}.{each}") if isinstance(each, str) else each
            for each in children
        ),
    )
    return replace(made, **changes)
