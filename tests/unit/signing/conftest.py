"""The authorities of the pki tests, and what a sender of theirs signs with."""

from __future__ import annotations

from tests.unit.pki.conftest import (  # noqa: F401 - fixtures
    authority,
    clock,
    country,
    csr,
    founded,
    no_sync,
    verify,
)
