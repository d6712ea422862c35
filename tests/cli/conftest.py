"""What a test of the command line leaves behind in a file must be sound."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from stepwell import SQLiteStorage
from stepwell.testing import check_invariants


@pytest.fixture(autouse=True)
def soundness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """After the test, every promise holds of each database in its folder, unless it is marked `synthetic`."""
    yield
    if request.node.get_closest_marker("synthetic") is None:
        for path in tmp_path.rglob("*.db"):
            if is_ours(path):
                anyio.run(check, path)


def is_ours(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'executions'").fetchall())
    except sqlite3.Error:
        return False


async def check(path: Path) -> None:
    async with SQLiteStorage(path) as storage:
        await check_invariants(storage)
