"""The mesh's own lab and watch: what is proved here changes the crypto profile of its pairs."""

from __future__ import annotations

from tests.mesh.conftest import (
    agreement,
    far_apart,
    lab,
    no_clear_text,
    nodes,
    pytest_runtest_makereport,
    pytest_sessionstart,
    settled,
    unattended,
    views,
    watch,
)

__all__ = [
    "agreement",
    "far_apart",
    "lab",
    "no_clear_text",
    "nodes",
    "pytest_runtest_makereport",
    "pytest_sessionstart",
    "settled",
    "unattended",
    "views",
    "watch",
]
