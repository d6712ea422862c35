"""The walk through a storage: everything once, in bounded parts, beside workers, and whatever lies there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, cast

import anyio
import msgspec
import pytest

from stepwell import (
    Breach,
    Engine,
    ExecutionCancelled,
    ExecutionFailed,
    Handle,
    InvalidArgument,
    MemoryStorage,
    StorageError,
    Verified,
    Workflow,
    verify,
)
from stepwell.storage import Change, Entry, Kind, Page, Query, Row, Status, Storage, Stored, Unit
from stepwell.testing import InvariantsBroken, check_invariants
from tests.engine.faulty import Faulty
from tests.engine.flows import Ctx, Runs, gated, line, nest
from tests.engine.small import Through
from tests.support.storages import Clock

pytestmark = pytest.mark.anyio


async def swift(ctx: Ctx) -> int:
    return ctx.input


async def breaks(ctx: Ctx) -> int:
    if ctx.input % 3 == 0:
        raise ValueError("no")
    await anyio.sleep(ctx.input % 5)
    return ctx.input


def family() -> Workflow[int, Any]:
    return nest(nest(line(breaks, swift, name="inner", retry=2), name="middle"), name="outer")


async def filled(storage: Storage, amount: int) -> None:
    async with Engine(storage, workflows=[line(swift)]) as engine:
        for number in range(amount):
            await engine.start("line", number, id=f"x{number}")
            await anyio.sleep(1)
        await engine.run_until_idle()


async def walked(storage: Storage, *, limit: int, **options: Any) -> list[Verified]:
    """Return what a walk comes to, call by call."""
    found = [await verify(storage, limit=limit, **options)]
    while found[-1].next is not None:
        found.append(await verify(storage, limit=limit, after=found[-1].next, **options))
    return found


def breaches(found: list[Verified]) -> list[Breach]:
    return [breach for one in found for breach in one.breaches]


# -- parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_everything_is_looked_at_once_in_parts_of_the_limit(storage: Storage, limit: int) -> None:
    await filled(storage, 7)
    found = await walked(storage, limit=limit)
    assert [one.checked for one in found if one.checked] == [min(limit, 7 - done) for done in range(0, 7, limit)]
    assert breaches(found) == []


async def test_an_empty_storage_is_clean(storage: Storage) -> None:
    assert await verify(storage) == Verified(checked=0, breaches=(), next=None)
    assert await check_invariants(storage) == 0


async def test_it_reads_only(store: Storage) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was to be written")

    await filled(store, 3)
    verbs = ("define", "commit", "claim", "renew", "purge", "wakeup", "lifeline", "journal")
    only_read = cast("Storage", Through(store, **dict.fromkeys(verbs, refuse)))
    assert await check_invariants(only_read, page=2) == 3


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_what_makes_no_sense_is_refused(storage: Storage) -> None:
    with pytest.raises(InvalidArgument, match="limit"):
        await verify(storage, limit=0)
    with pytest.raises(InvalidArgument, match="after"):
        await verify(storage, after="nonsense")


@pytest.mark.parametrize("method", ["find", "load"])
async def test_a_storage_that_is_away_is_an_error_and_no_breach(faulty: Faulty, method: str) -> None:
    await filled(faulty, 2)
    faulty.spoil(method)
    with pytest.raises(StorageError):
        await verify(faulty)


# -- beside workers ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("P5", "P6", "I5", "I6", "I21")
async def test_what_workers_do_meanwhile_is_never_told_as_a_breach(store: Storage) -> None:
    """Every flow that the engine's tests share: chains, waits, children of children, retries, failures and cancels."""
    runs, flow, waits = Runs(), family(), gated(timeout=9.0)
    workflows = [flow, waits, runs.flow()]
    looks: list[int] = []

    async def look() -> None:
        while True:
            looks.append(await check_invariants(store, workflows=workflows, page=5))
            await anyio.sleep(0.3)

    async with (
        Engine(store, workflows=workflows) as engine,
        Engine(store, workflows=workflows) as other,
        engine.worker(concurrency=4),
        other.worker(concurrency=4),
        anyio.create_task_group() as looking,
    ):
        looking.start_soon(look)
        handles: list[Handle[Any]] = [await engine.start(flow, number, id=f"f{number}") for number in range(8)]
        handles += [await engine.start(runs.flow(), number) for number in range(4)]

        async def disturb(number: int) -> None:
            handle = await engine.start(waits, number, id=f"w{number}")
            handles.append(handle)
            await anyio.sleep(number % 4)
            if number % 2:
                await handle.signal("gate", "stop" if number % 3 else "go")
            if number % 5 == 0:
                handles.append(await engine.start(flow, number, id=f"c{number}"))
                await anyio.sleep(0.5)
                await other.cancel(f"c{number}")

        async with anyio.create_task_group() as disturbing:
            for number in range(8):
                disturbing.start_soon(disturb, number)
        for handle in handles:
            with suppress(ExecutionFailed, ExecutionCancelled):
                await handle.result(60)
        looking.cancel_scope.cancel()
    assert len(looks) > 10
    whole = 8 * 3 + 4 + 8 + 2
    assert (
        whole <= await check_invariants(store, workflows=workflows) <= whole + 2 * 2
    )  # a cancel may come before a child


async def test_a_child_that_ends_while_its_parent_is_looked_at_is_no_breach(store: Storage) -> None:
    flow = nest(line(swift))
    async with Engine(store, workflows=[flow]) as engine:
        await engine.start(flow, 0, id="p")
        await engine.run_due()
        ended: list[bool] = []

        async def find(query: Query) -> Page:
            if query.ids and not ended:
                ended.append(True)
                await engine.run_until_idle()
            return await store.find(query)

        assert breaches(await walked(cast("Storage", Through(store, find=find)), limit=500)) == []
        assert ended == [True]


async def test_what_is_purged_while_it_is_looked_at_is_no_breach(store: Storage) -> None:
    flow = nest(line(swift))
    async with Engine(store, workflows=[flow]) as engine:
        await engine.start(flow, 0, id="p")
        await engine.run_until_idle()
        read: list[str] = []

        async def load(id: str) -> Stored | None:
            stored = await store.load(id)
            if not read:
                await engine.purge(older_than=0)
            read.append(id)
            return stored

        assert breaches(await walked(cast("Storage", Through(store, load=load)), limit=500)) == []
        assert len(read) > 1
        assert (await engine.find()).executions == ()


# -- what is damaged ---------------------------------------------------------------------------------------------------


class Damaged(MemoryStorage):
    """A storage in memory whose rows and journals can be written by hand."""

    def row(self, id: str, **fields: Any) -> None:
        self._rows[id] = msgspec.structs.replace(self._rows[id], **fields)

    def entry(self, id: str, kind: Kind, **fields: Any) -> None:
        journal = self._journals[id]
        place = next(place for place, entry in enumerate(journal) if entry.kind is kind)
        journal[place] = msgspec.structs.replace(journal[place], **fields)

    def forget(self, id: str) -> None:
        self._forget(id)


async def a_family(clock: Clock, *, until: int = 100) -> Damaged:
    """Return a parent and its child, run for so many passes."""
    storage = Damaged(clock=clock)
    flow = nest(line(swift))
    async with Engine(storage, workflows=[flow]) as engine:
        await engine.start(flow, 0, id="p")
        for _ in range(until):
            await engine.run_due()
    return storage


TORN: list[tuple[int, Callable[[Damaged], None], str, str]] = [
    (100, lambda storage: storage.forget("p/inner"), "child", "p"),
    (100, lambda storage: storage.forget("p"), "child", "p/inner"),
    (100, lambda storage: storage.row("p/inner", parent="q"), "child", "p"),
    (1, lambda storage: storage.row("p/inner", due_at=None), "stranded", "p/inner"),
    (2, lambda storage: storage.row("p", due_at=None), "stranded", "p"),
    (2, lambda storage: storage.entry("p", Kind.WOKEN, change="another"), "told", "p/inner"),
]


@pytest.mark.parametrize(("until", "damage", "rule", "id"), TORN)
async def test_a_family_that_is_torn_apart_is_found(
    clock: Clock, until: int, damage: Callable[[Damaged], None], rule: str, id: str
) -> None:
    storage = await a_family(clock, until=until)
    await check_invariants(storage)
    damage(storage)
    found = breaches(await walked(storage, limit=1))
    assert (rule, id) in {(breach.rule, breach.execution) for breach in found}
    assert {breach.rule for breach in found} == {rule}


async def test_with_the_workflows_a_step_that_is_none_of_the_graph_is_found(clock: Clock) -> None:
    storage = await a_family(clock)
    changed = nest(line(breaks))
    assert breaches(await walked(storage, limit=9)) == []
    found = breaches(await walked(storage, limit=9, workflows=[changed]))
    assert {(breach.rule, breach.execution) for breach in found} == {("path", "p/inner")}


async def test_a_breach_fails_a_test_and_is_told_in_words(clock: Clock) -> None:
    storage = Damaged(clock=clock)
    await filled(storage, 30)
    for number in range(25):
        storage.row(f"x{number}", due_at=1)
    with pytest.raises(InvariantsBroken) as caught:
        await check_invariants(storage, page=4)
    assert len(caught.value.breaches) == 25
    assert "P7 (final) broken by 'x24': expected no due time" in str(caught.value)
    assert "… and 5 more" in str(caught.value)


async def test_a_journal_that_is_damaged_throughout_has_a_bounded_number_of_breaches(clock: Clock) -> None:
    storage = Damaged(clock=clock)
    await filled(storage, 1)
    at = storage._journals["x0"][-1].at
    more = [Entry(Kind.WOKEN, seq=6 + n, at=at, change=f"c{n}") for n in range(100)]
    seq = storage._rows["x0"].revision
    storage._journals["x0"] += [msgspec.structs.replace(e, seq=seq + n) for n, e in enumerate(more, 1)]
    storage.row("x0", revision=seq + 100)
    assert len((await verify(storage)).breaches) == 20


# -- what can't be read ------------------------------------------------------------------------------------------------


def damage(path: str, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


in_a_file = pytest.mark.parametrize("storage_kind", ["sqlite"])


@in_a_file
@pytest.mark.synthetic
@pytest.mark.parametrize(
    ("bad", "limit"), [("x3", 1), ("x0", 3), ("x6", 3), ("x2 x3", 500), ("x0 x6", 2), ("x0 x1 x2 x3 x4 x5 x6", 3)]
)
async def test_rows_that_cannot_be_read_are_told_and_the_rest_is_looked_at(
    storage: Storage, storage_address: str, bad: str, limit: int
) -> None:
    await filled(storage, 7)
    for id in bad.split():
        damage(storage_address, "UPDATE executions SET metadata = '{' WHERE id = ?", id)
    found = await walked(storage, limit=limit)
    assert [breach.rule for breach in breaches(found)] == ["readable"] * len(bad.split())
    for id in bad.split():
        assert any(f"execution '{id}' can't be read" in breach.found for breach in breaches(found))
    assert sum(one.checked for one in found) == 7 - len(bad.split())


@in_a_file
@pytest.mark.synthetic
async def test_a_journal_that_cannot_be_read_is_told(storage: Storage, storage_address: str) -> None:
    await filled(storage, 3)
    damage(storage_address, "UPDATE journal SET kind = 'nonsense' WHERE execution_id = 'x1' AND seq = 2")
    (verified,) = await walked(storage, limit=500)
    assert [(breach.rule, breach.execution) for breach in verified.breaches] == [("readable", "x1")]
    assert verified.checked == 3


@in_a_file
@pytest.mark.synthetic
async def test_a_relative_that_cannot_be_read_is_told_once_and_in_its_own_place(
    storage: Storage, storage_address: str
) -> None:
    flow = nest(line(swift))
    async with Engine(storage, workflows=[flow]) as engine:
        await engine.start(flow, 0, id="p")
        await engine.run_until_idle()
    damage(storage_address, "UPDATE journal SET kind = 'nonsense' WHERE execution_id = 'p' AND seq = 2")
    found = breaches(await walked(storage, limit=500))
    assert [(breach.rule, breach.execution) for breach in found] == [("readable", "p")]


@pytest.mark.parametrize("storage_kind", ["postgres"])
@pytest.mark.synthetic
async def test_what_cannot_be_read_from_a_server_is_told_too(storage: Storage, storage_address: str) -> None:
    from tests.support.postgres.by_hand import execute  # noqa: PLC0415 (it needs the driver)

    await filled(storage, 3)
    for statement in (
        "UPDATE stepwell.executions SET status = 'nonsense' WHERE id = 'x1'",
        "UPDATE stepwell.journal SET kind = 'nonsense' WHERE execution_id = 'x2' AND seq = 2",
    ):
        execute(storage_address, statement)
    found = await walked(storage, limit=2)
    assert {(breach.rule, breach.execution) for breach in breaches(found)} == {("readable", "x2"), ("readable", None)}
    assert sum(one.checked for one in found) == 2


@pytest.mark.synthetic
async def test_rows_of_no_engine_are_found_in_every_storage(storage: Storage) -> None:
    row = Row(id="x", workflow="w", version="1", status=Status.RUNNING, step="a", visit=1, attempt=1, revision=1)
    unit: Unit = (Change(id="c", row=row, expects=0, entries=(Entry(Kind.CREATED, "a", 1),)),)
    assert await storage.commit([unit]) == [True]
    verified = await verify(storage)
    assert {breach.rule for breach in verified.breaches} == {"row", "stranded"}
