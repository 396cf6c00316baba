"""A database that cannot be prepared is a refusal, whatever its client raises."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from paranal.query import migrate


@pytest.mark.parametrize(
    "error",
    [
        OSError("no socket"),
        asyncpg.InvalidAuthorizationSpecificationError("no such role"),
        asyncpg.InterfaceError("connection is closed"),
    ],
)
def test_a_database_that_is_not_there_is_refused(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def connect(**_: Any) -> None:  # noqa: ANN401 - asyncpg's own
        raise error

    monkeypatch.setattr(asyncpg, "connect", connect)
    assert migrate.main([]) == 3
    assert str(error) in capsys.readouterr().err
