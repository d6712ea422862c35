"""Claims whose journals together are more text than SQLite puts into one value."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from stepwell import SQLiteStorage
from stepwell._transition import begin
from stepwell.storage._sqlite._rows import stored_all
from tests.engine.small import healthy

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("limit", [1_000_000, 100_000])
async def test_a_claim_is_read_whatever_the_size_of_its_journals(tmp_path: Path, limit: int) -> None:
    ids = [f"execution-{number}" for number in range(20)]
    text = '"' + "\\n" * 2_000 + '"'  # quoting doubles it
    async with SQLiteStorage(tmp_path / "flows.db") as storage:
        await storage.commit([(begin(healthy, id=id, input=text, change_id=id),) for id in ids])
    connection = sqlite3.connect(tmp_path / "flows.db")
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit)
        found = stored_all(connection, ids, 0)
    finally:
        connection.close()
    assert [(one.row.id, one.row.input, len(one.journal)) for one in found] == [(id, text, 1) for id in ids]
