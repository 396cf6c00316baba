"""The one mesh of query servers that all service tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.nodes import Mesh
from tests.service.nodes import mesh as running


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Peru, Colombia and Mexico, up with their records."""
    folder: Path = tmp_path_factory.mktemp("ca")
    with running(str(os.getpid()), folder) as made:
        yield made
