"""What a claim in Postgres brings where somebody commits while its statement runs."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import anyio
import pytest

from stepwell.storage import NOW, Change, Claims, Deposit, Status, Stored, Wake
from stepwell.testing._scene import HOUR, Scene, at_once, deposit, following

pytest.importorskip("asyncpg")

import asyncpg

from stepwell.storage._postgres import _claim
from stepwell.storage._postgres._horizon import Horizon
from stepwell.storage._postgres._sql import Statements
from stepwell.storage.postgres import PostgresStorage

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

LOCK = 20_261
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"


@pytest.fixture(params=["asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """asyncpg's own loop: the statements are the same on Trio."""
    chosen: str = request.param
    return chosen


class Stopping(Statements):
    """Statements whose claim stops at a lock when it has begun, and has looked at nothing yet."""

    @cached_property
    def claim(self) -> str:
        begins = "SELECT coalesce($1::bigint"
        text = Statements(self.schema).claim
        assert begins in text
        return text.replace(begins, f"SELECT coalesce($1::bigint + length(pg_advisory_xact_lock({LOCK})::text)", 1)


async def claimed_beside(dsn: str, scene: Scene, *parts: Change | Wake | Deposit, now: int) -> Stored:
    """Let a claim begin that takes it to be *now*, commit before it has looked at anything; return what it took."""
    other: Any = await asyncpg.connect(dsn)
    mine: Any = await asyncpg.connect(dsn)
    await other.execute("SELECT pg_advisory_lock($1)", LOCK)

    async def claim() -> Claims:
        ask = partial(_claim.claim, limit=1, lease=HOUR, held=(), now=now, horizon=Horizon())
        return await ask(mine, Stopping("stepwell"), scene.worker, [scene.capability])

    async def commit() -> None:
        with anyio.fail_after(30):
            while not await other.fetchval(WAITING, LOCK):
                pass
        await scene.committed(*parts)
        await other.execute("SELECT pg_advisory_unlock($1)", LOCK)

    claims, _ = await at_once(claim, commit)
    await other.close()
    await mine.close()
    claimed: list[Stored] = list(claims.claimed)
    assert len(claimed) == 1
    return claimed[0]


async def test_it_brings_the_entries_and_signals_of_a_commit_that_it_met(postgres_dsn: str) -> None:
    async with PostgresStorage(postgres_dsn) as storage:
        scene = Scene(storage)
        row = await scene.create(scene.row(status=Status.SUSPENDED))
        now = (await scene.stored(row.id)).now + 60_000_000
        change = following(row, status=Status.QUEUED, due=NOW, uses=["signal"])
        claimed = await claimed_beside(postgres_dsn, scene, deposit(row.id), change, now=now)
        stored = await scene.stored(row.id)
        assert (claimed.row, claimed.journal, claimed.signals) == (stored.row, stored.journal, stored.signals)
        assert len(claimed.journal) == 4


@pytest.mark.promise("P6", "I6")
async def test_its_entry_is_no_older_than_that_of_a_commit_that_it_met(postgres_dsn: str) -> None:
    async with PostgresStorage(postgres_dsn) as storage:
        scene = Scene(storage)
        row = await scene.create()
        now = (await scene.stored(row.id)).now  # when the claim begins; the commit comes later
        claimed = await claimed_beside(postgres_dsn, scene, following(row, status=Status.QUEUED, due=None), now=now)
        stored = await scene.stored(row.id)
        assert (claimed.row, claimed.journal) == (stored.row, stored.journal)
        times = [entry.at for entry in stored.journal]
        assert len(times) == 4
        assert times == sorted(times)
