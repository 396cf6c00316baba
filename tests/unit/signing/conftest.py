"""The authorities of the pki tests, and a node that trusts one of them."""

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
from tests.unit.signing.nodes import node  # noqa: F401 - a fixture
