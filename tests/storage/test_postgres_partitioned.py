"""Tables partitioned by a hash of the execution's id, as `docs/scaling.md` says: no statement has to change."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from stepwell.testing import STORAGE_CHECKS
from tests.support.held import held
from tests.support.storages import Clock
from tests.support.virtual_time import VirtualTime

pytest.importorskip("asyncpg")

import asyncpg

from stepwell.storage._postgres import _database, _schema
from stepwell.storage._postgres._sql import Statements
from stepwell.storage.postgres import PostgresStorage

pytestmark = pytest.mark.anyio

PARTITIONS: Final = 4
KEYS: Final = {"executions": "id", "journal": "execution_id", "signals": "execution_id"}


@pytest.fixture(params=["asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """asyncpg's own loop: the statements are the same on Trio."""
    chosen: str = request.param
    return chosen


def partitioned() -> str:
    """Return what makes the schema, each table in partitions, which take over its storage parameters."""
    script = _schema.script("stepwell")
    for table, key in KEYS.items():
        made = re.search(rf"(CREATE TABLE stepwell\.{table} \(.*?\n\))( WITH \([^;]*\))?;", script, re.DOTALL)
        assert made is not None
        parts = [
            f"CREATE TABLE stepwell.{table}_{number} PARTITION OF stepwell.{table} "
            f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number}){made[2] or ''};"
            for number in range(PARTITIONS)
        ]
        script = script.replace(made[0], "\n".join([f"{made[1]} PARTITION BY HASH ({key});", *parts]))
    return script


async def test_a_storage_on_partitioned_tables_keeps_every_promise(
    postgres_empty_database: str, clock: Clock, virtual_time: VirtualTime
) -> None:
    with virtual_time.hold():
        connection: Any = await asyncpg.connect(postgres_empty_database, server_settings=_database._SESSION)
        await connection.execute(partitioned())
    opened = held(PostgresStorage(postgres_empty_database, migrate=False, clock=clock), virtual_time)
    async with opened as storage:
        for check in STORAGE_CHECKS:
            await check(storage)
    with virtual_time.hold():
        plan = [line for (line,) in await connection.fetch(f"EXPLAIN {Statements('stepwell').load}", None, "id")]
        await connection.close()
    assert sum("on executions_" in line for line in plan) == 1, "an execution is looked for in one partition only"
