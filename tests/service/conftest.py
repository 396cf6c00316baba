"""The one mesh of query servers that all service tests share, and what else few should make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.service.nodes import Mesh
from tests.service.nodes import mesh as running

SHARED = {
    **dict.fromkeys(("test_database", "test_query", "test_status", "test_trust"), "the mesh"),
    "test_ansible_run": "the house",
    "test_offers": "gateways of either profile",
    "test_preshared_key": "gateways with keys",
}
"""Test file -> what its tests share with each other and takes long to make."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Let one worker, of several, run all tests that share something; others run where is room.

    pytest-xdist's own groups do nothing under this pytest (pytest-xdist issue 1386).
    """
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = lambda test: SHARED.get(PurePath(test.split("::")[0]).stem, test)
    return scheduling


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Peru, Colombia and Mexico, up with their records."""
    folder: Path = tmp_path_factory.mktemp("ca")
    with running(str(os.getpid()), folder) as made:
        yield made
