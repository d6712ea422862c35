"""What the server gives up for the sake of others is begun again, and nobody hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
import asyncpg
import pytest

from stepwell.storage import NOW, Query, Status, StorageError
from stepwell.storage._postgres._database import Database
from stepwell.storage.postgres import PostgresStorage
from stepwell.testing import STORAGE_CHECKS
from stepwell.testing._scene import Scene, deposit, following, lease_of, wake
from tests.support.postgres.outsider import outsider
from tests.support.wire import proxied

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

ERRORS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)


class GivesUp:
    """A connection that gives up at its n-th statement, once."""

    def __init__(self, inner: Any, at: list[int], error: type[Exception]) -> None:
        self._inner = inner
        self._at = at
        self._error = error

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name not in {"fetch", "fetchrow", "fetchval", "execute"}:
            return attribute

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._at[0] -= 1
            if self._at[0] == 0:
                raise self._error("told to")
            return await attribute(*args, **kwargs)

        return call


@pytest.fixture
async def storage(postgres_dsn: str) -> AsyncIterator[PostgresStorage]:
    async with PostgresStorage(postgres_dsn, notify=False) as opened:
        yield opened


async def work(scene: Scene, storage: PostgresStorage) -> None:
    """Do a little of everything that writes."""
    rows = [await scene.create(scene.row(name)) for name in "ab"]
    (claimed, *_) = (await scene.claims(limit=1)).claimed
    assert (await storage.renew(scene.worker, [lease_of(claimed.row)], lease=60)).lost == ()
    unit = (following(claimed.row, status=Status.QUEUED, due=NOW), wake(rows[1].id))
    assert await storage.commit([unit]) == [True]
    assert await storage.commit([(deposit(rows[0].id),)]) == [True]
    assert len(await scene.claimed()) == 2
    assert (await scene.stored_row(rows[0].id)).signals == 1


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
async def test_whatever_statement_is_given_up_nobody_hears_of_it(
    storage: PostgresStorage, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Database._once
    at = [0]

    async def spoiled(self: Database, work: Callable[..., Awaitable[Any]], args: tuple[Any, ...], limit: float) -> Any:
        async def through(connection: Any, *args: Any) -> Any:
            return await work(GivesUp(connection, at, error), *args)

        return await once(self, through, args, limit)

    monkeypatch.setattr(Database, "_once", spoiled)
    number = 0
    while at[0] <= 0:  # until there are fewer statements than that
        number += 1
        at[0] = number
        await work(Scene(storage), storage)
    assert number > 10


async def test_a_connection_that_the_server_has_just_ended_is_replaced(postgres_dsn: str) -> None:
    """The driver has heard why, and not yet that it is closed: what comes just then is not sent, and goes elsewhere."""
    target = urlsplit(postgres_dsn)
    assert target.hostname is not None
    assert target.port is not None
    async with outsider(postgres_dsn) as dba, proxied((target.hostname, target.port)) as wire:
        wire.keeps_open = True
        dsn = postgres_dsn.replace(f"@{target.hostname}:{target.port}/", f"@{wire.host}:{wire.port}/")
        async with PostgresStorage(dsn, notify=False, connections=1) as storage:
            opened = storage._open()
            for _ in range(3):
                await storage.find(Query())
                heard = wire.endings
                await dba.cut()
                with anyio.fail_after(20):
                    while wire.endings == heard:  # noqa: ASYNC110 (the proxy has no event for it)
                        await anyio.sleep(0.001)
                await opened.loop.run(look_around)
                assert (await storage.find(Query())).rows == ()
            wire.cut()  # so that nobody waits for a connection that doesn't close


async def look_around() -> None:
    """Let the driver's loop read what has arrived. Nothing tells when it has: a busy machine delivers late."""
    for _ in range(50):
        await anyio.sleep(0.002)


async def test_who_is_given_up_every_time_is_told(storage: PostgresStorage) -> None:
    async def work(_: Any) -> None:
        raise asyncpg.SerializationError("told to")

    opened = storage._open()
    with pytest.raises(StorageError, match="told to"):
        await opened.loop.run(opened.database.unit, work)


@pytest.mark.parametrize("pooler", [False, True], ids=["direct", "as for a pooler"])
@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_a_storage_works_in_a_database_of_any_isolation(
    postgres_database: str,
    isolation: str,
    pooler: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    async with outsider(postgres_database) as dba:
        database = await dba.value("SELECT current_database()")
        await dba.execute(f"ALTER DATABASE {database} SET default_transaction_isolation = '{isolation}'")

    async def contend(number: int) -> None:
        async with PostgresStorage(postgres_database, pooler=pooler, notify=False, connections=3) as storage:
            scene = Scene(storage, "contended")
            await scene.create_many(scene.row(f"{number} {place}") for place in range(10))
            while found := (await scene.claims(worker=f"w{number}", limit=3)).claimed:
                for stored in found:
                    await scene.committed(following(stored.row, status=Status.SUCCEEDED), wake(stored.row.id))

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(contend, number)
    async with PostgresStorage(postgres_database, pooler=pooler, notify=False) as storage:
        for check in STORAGE_CHECKS[::8]:
            await check(storage)
