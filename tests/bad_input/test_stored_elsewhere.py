"""What can't be read of one execution, where others need it: its parent, its worker, and who waits for its result."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import anyio
import pytest

from stepwell import Engine, ExecutionFailed, Status, StorageError, Workflow, fail, subworkflow, succeed
from tests.engine.small import healthy
from tests.support.storages import StorageFactory

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.synthetic,
    pytest.mark.parametrize("storage_kind", ["sqlite"]),
]

NO_JOURNAL = "UPDATE journal SET kind = 'nonsense' WHERE execution_id = ?"
NO_HISTORY = "UPDATE journal SET ref = 'nonsense' WHERE execution_id = ? AND kind = 'execution.claimed'"


@subworkflow(healthy)
def below(ctx: Any) -> int:
    return 1


@succeed
def good(ctx: Any) -> int:
    return 1


@fail
def bad(ctx: Any) -> str:
    return "bad"


PARENT = Workflow[int, int](
    "parent", version="1", start=below, edges=[below.to(succeeded=good, failed=bad, cancelled=bad)]
)


def damage(address: str, statement: str, id: str) -> None:
    with closing(sqlite3.connect(address)) as connection, connection:
        connection.execute(statement, (id,))


async def test_a_parent_whose_child_can_not_be_read_fails_and_frees_its_slot(
    storage_factory: StorageFactory, storage_address: str
) -> None:
    async with storage_factory() as storage, Engine(storage, workflows=[PARENT, healthy]) as engine:
        parent = await engine.start(PARENT, 1, id="p")
        await engine.run_due(1)
        damage(storage_address, NO_JOURNAL, "p/below")
        async with engine.worker(concurrency=1):
            assert await (await engine.start(healthy, 7)).result(60) == 7
            with pytest.raises(ExecutionFailed) as caught:
                await parent.result(60)
    assert caught.value.failure is not None
    assert (caught.value.failure.code, "'p/below' can't be read" in caught.value.failure.message) == (
        "unreadable",
        True,
    )


async def test_a_parent_whose_child_can_not_be_read_can_be_cancelled(
    storage_factory: StorageFactory, storage_address: str
) -> None:
    async with storage_factory() as storage, Engine(storage, workflows=[PARENT, healthy]) as engine:
        await engine.start(PARENT, 1, id="p")
        await engine.run_due(1)
        damage(storage_address, NO_JOURNAL, "p/below")
        assert await engine.cancel("p") is Status.CANCELLED


@pytest.mark.parametrize("statement", [NO_JOURNAL, NO_HISTORY])
async def test_a_lost_claim_of_what_can_not_be_read_stops_no_worker(
    storage_factory: StorageFactory, storage_address: str, statement: str
) -> None:
    lost: list[int] = []
    async with storage_factory() as storage:

        class Lossy:
            """Loses the first answer to a claim, after which nobody can read what was claimed."""

            def __getattr__(self, name: str) -> Any:
                return getattr(storage, name)

            async def claim(self, *arguments: Any, **options: Any) -> Any:
                claims = await storage.claim(*arguments, **options)
                if claims.claimed and not lost:
                    lost.append(1)
                    damage(storage_address, statement, "bad")
                    raise StorageError("the answer was lost")
                return claims

        lossy: Any = Lossy()
        async with Engine(lossy, workflows=[healthy], lease=4) as engine:
            await engine.start(healthy, 1, id="bad")
            async with engine.worker(concurrency=1):
                await anyio.sleep(2)
                assert lost
                assert await (await engine.start(healthy, 7)).result(60) == 7
                await anyio.sleep(10)
                assert await (await engine.start(healthy, 8)).result(60) == 8


async def test_who_waits_for_what_ends_elsewhere_is_told_though_another_can_not_be_read(
    storage_factory: StorageFactory, storage_address: str
) -> None:
    told: dict[str, object] = {}

    async def wait(handle: Any) -> None:
        try:
            told[handle.id] = await handle.result()
        except StorageError as error:
            told[handle.id] = str(error)

    async with (
        storage_factory() as here,
        storage_factory() as there,
        Engine(here, workflows=[healthy]) as client,
        Engine(there, workflows=[healthy]) as runner,
    ):
        handles = [await client.start(healthy, number, id=id) for number, id in enumerate(("damaged", "sound"))]
        async with anyio.create_task_group() as tasks:
            for handle in handles:
                tasks.start_soon(wait, handle)
            await anyio.sleep(1)
            damage(storage_address, "DELETE FROM inputs WHERE execution_id = ?", "damaged")
            await runner.run_until_idle()
            await anyio.sleep(3)
            tasks.cancel_scope.cancel()
    assert told["sound"] == 1
    assert "its input is gone" in str(told["damaged"])
