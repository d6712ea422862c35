"""Catalogue 4.3: ids, client calls, filters and settings. Each is told with its cure, and nothing is stored."""

from __future__ import annotations

import base64
import itertools
import logging
import math
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import anyio
import pytest

from stepwell import (
    Engine,
    ExecutionEnded,
    ExecutionNotFound,
    InvalidArgument,
    Limits,
    MemoryStorage,
    Query,
    SQLiteStorage,
    Status,
    StepwellError,
    StorageError,
    Workflow,
    subworkflow,
    wait,
)
from stepwell.storage import Storage
from tests.engine.small import done, healthy, refused
from tests.support.virtual_time import VirtualTime

pytestmark = pytest.mark.anyio

SECRET = "hunter2"  # noqa: S105 (nobody has it)
DSN = f"postgresql://ada:{SECRET}@db:5432/flows"


@wait
def gate(ctx: Any, signal: int) -> Literal["go"]:
    return "go"


waiting = Workflow[int, int]("waiting", version="1", start=gate, edges=[gate.to({"go": done})])


@subworkflow(waiting)
def child(ctx: Any) -> int:
    return 1


parent = Workflow[int, int](
    "parent", version="1", start=child, edges=[child.to(succeeded=done, failed=refused, cancelled=refused)]
)


def _loose(value: Any) -> Any:
    """A value as callers without a type checker see it."""
    return value


# -- ids ---------------------------------------------------------------------------------------------------------------

BAD_IDS: list[Any] = ["", "a" * 256, "é" * 128, "a" * 3_000, " a", "a\n", "a\0b", "\ud800", "../../etc", "a/b", 5, None]
GOOD_IDS = ["a b", "🦆", "%00", "';--", "..", "$x", "Straße", "STRASSE", "e\u0301", "é", "É", "a" * 255]


async def test_an_id_is_checked_in_the_same_way_by_every_call_that_makes_one(store: Storage) -> None:
    async with Engine(store, workflows=[waiting]) as engine:
        execution = await engine.start(waiting, 1, id="one")
        for id in BAD_IDS[:-1]:
            with pytest.raises(InvalidArgument, match="the execution id"):
                await engine.start(waiting, 1, id=_loose(id))
            with pytest.raises(InvalidArgument, match="the signal id"):
                await execution.signal(gate, 1, signal_id=_loose(id))
        assert [found.id for found in (await engine.find()).executions] == ["one"]


async def test_an_id_is_kept_byte_by_byte(store: Storage) -> None:
    async with Engine(store, workflows=[waiting]) as engine:
        for id in GOOD_IDS:
            assert (await engine.start(waiting, 1, id=id)).id == id
            await engine.signal(id, gate, 1, signal_id=id)
        assert sorted(found.id for found in (await engine.find()).executions) == sorted(GOOD_IDS)
        for id in GOOD_IDS:
            assert [found.id for found in (await engine.find(Query(id_prefix=id))).executions].count(id) == 1
        await engine.run_until_idle()
        assert {(await engine.get(id)).status for id in GOOD_IDS} == {Status.SUCCEEDED}


# -- cancels, waits, times ---------------------------------------------------------------------------------------------


async def test_a_cancel_tells_how_it_stands_whatever_was_before(store: Storage) -> None:
    async with Engine(store, workflows=[waiting, parent, healthy]) as engine:
        with pytest.raises(ExecutionNotFound, match="'nobody'"):
            await engine.cancel("nobody")
        starting = await engine.start(waiting, 1)
        assert [await starting.cancel("one"), await starting.cancel("two")] == 2 * [Status.CANCELLED]
        assert [entry.value for entry in await starting.journal()][-1] == "one"
        ended = await engine.start(healthy, 1)
        await engine.run_until_idle()
        assert await ended.cancel() is Status.SUCCEEDED
        above = await engine.start(parent, 1)
        await engine.run_until_idle()
        below = (await above.get()).steps["child"].child
        assert below is not None
        assert await engine.cancel(below, "directly") is Status.CANCELLED
        await engine.run_until_idle()
        assert (await above.get()).error == "refused"
        with pytest.raises(ExecutionEnded, match="has already been cancelled"):
            await starting.pause()


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, "5", True, timedelta.max])
async def test_a_timeout_that_is_none_is_refused_where_the_wait_is_made(timeout: Any) -> None:
    step: Any = wait(name="gate", timeout=timeout)(gate.function)
    with pytest.raises(ValueError, match=r"\[bad-timeout\] step 'gate': timeout must be"):
        Workflow("w", version="1", start=step, edges=[step.to({"go": done}, timeout=refused)])


NEW_YORK = ZoneInfo("America/New_York")
MOMENTS: list[tuple[datetime, str]] = [
    (datetime(2026, 3, 8, 2, 30, tzinfo=NEW_YORK), "2026-03-08T07:30:00+00:00"),  # in the gap: by the offset before
    (datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK), "2026-11-01T05:30:00+00:00"),
    (datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=NEW_YORK), "2026-11-01T06:30:00+00:00"),
    (datetime(2028, 2, 29, tzinfo=UTC), "2028-02-29T00:00:00+00:00"),
    (datetime(2026, 7, 1, tzinfo=ZoneInfo("EST5EDT")), "2026-07-01T04:00:00+00:00"),
]


async def test_a_start_at_a_time_is_due_at_that_instant_and_one_in_the_past_at_once(
    store: Storage, virtual_time: VirtualTime
) -> None:
    now = virtual_time.now
    async with Engine(store, workflows=[healthy]) as engine:
        for number, (at, due) in enumerate(MOMENTS):
            execution = await engine.start(healthy, number, at=at)
            stored = (await execution.get()).due_at
            assert stored is not None
            assert stored.isoformat() == due
        for at in (datetime(2026, 1, 1), datetime.max):  # noqa: DTZ001, DTZ901 -- the mistake under test
            with pytest.raises(InvalidArgument, match="at must be a datetime with a time zone, not datetime"):
                await engine.start(healthy, 1, at=at)
        past = await engine.start(healthy, 7, at=datetime(1, 1, 2, tzinfo=UTC))
        assert await engine.run_due() == 1
        assert await past.result(1) == 7
    assert now() < 5


# -- filters -----------------------------------------------------------------------------------------------------------

HOSTILE = ["%", "_", "\\", "a%", "*", "'", '"', "'; DROP TABLE executions; --", "$.a", "a.b", "\0", "\ud800", "é", ""]

BAD_QUERIES: list[tuple[dict[str, Any], str]] = [
    ({"limit": -1}, "limit must be"),
    ({"limit": 0}, "limit must be"),
    ({"limit": 2**63}, "limit must be a whole number from 1 to 1000"),
    ({"limit": "1"}, "limit must be"),
    ({"limit": True}, "limit must be"),
    ({"limit": 1e3}, "limit must be"),
    ({"status": "done"}, "'done' is no status; a status is one of queued, running"),
    ({"status": ["queued", 5]}, "5 is no status"),
    ({"status": 5}, "status must be a status or a list"),
    ({"status": [["queued"]]}, "is no status"),
    ({"workflow": 5}, "workflow must be text, not int"),
    ({"version": b"1"}, "version must be text, not bytes"),
    ({"tag": ["a"]}, "tag must be text, not list"),
    ({"parent": {"a": 1}}, "parent must be text, not dict"),
    ({"id_prefix": 1}, "id_prefix must be text, not int"),
    ({"metadata": [1]}, "metadata must be a dict"),
    ({"metadata": {"a": {"$gt": 1}}}, r"metadata\['a'\] must be a text, an int or a bool"),
    ({"metadata": {"a": None}}, r"metadata\['a'\] must be a text, an int or a bool"),
    ({"metadata": {"a": 1.5}}, r"metadata\['a'\] may not be a float"),
    ({"metadata": {"a'b": 1}}, "a key of metadata must be"),
    ({"metadata": {f"k{n}": 1 for n in range(1_000)}}, "metadata may have 64 keys"),
    ({"created_after": datetime(2026, 1, 1)}, "created_after must be a datetime with a time zone"),  # noqa: DTZ001
    ({"created_before": "today"}, "created_before must be a datetime"),
    ({"after": ""}, "after must be the `next` of an earlier page"),
    ({"after": "forged"}, "after must be the `next`"),
    ({"after": 5}, "after must be the `next`"),
    ({"after": base64.urlsafe_b64encode(b'["a","b"]').decode()}, "after must be the `next`"),
    ({"after": base64.urlsafe_b64encode(b'[99999999999999999999,"b"]').decode()}, "after must be the `next`"),
    ({"after": base64.urlsafe_b64encode(b'[1,"b",3]').decode()[:-2]}, "after must be the `next`"),
    ({"after": base64.urlsafe_b64encode(b'[1,"a\\u0000b"]').decode()}, "after must be the `next`"),
]


async def test_a_filter_is_taken_literally(store: Storage) -> None:
    async with Engine(store, workflows=[waiting]) as engine:
        one = await engine.start(waiting, 1, id="a%b", tags=["50%", "a_b"], metadata={"key": "'x'", "n": 1})
        await engine.start(waiting, 1, id="axb", tags=["50x", "axb"], metadata={"key": "x", "n": True})
        for text in HOSTILE:
            for query in (Query(workflow=text), Query(version=text), Query(tag=text), Query(parent=text)):
                if text.isprintable():
                    assert (await engine.find(query)).executions == (), query
                else:  # nothing that is stored can have it
                    with pytest.raises(InvalidArgument, match="may hold printable characters only"):
                        await engine.find(query)
        for query in (
            Query(id_prefix="a%"),
            Query(tag="50%"),
            Query(tag="a_b"),
            Query(metadata={"key": "'x'"}),
            Query(metadata={"n": 1}),
        ):
            assert [found.id for found in (await engine.find(query)).executions] == [one.id], query
        for text in filter(str.isprintable, HOSTILE[:-1]):
            assert (await engine.find(Query(id_prefix=f"a{text}z"))).executions == ()


async def test_a_question_that_can_not_be_asked_is_refused_in_the_same_words_by_all(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine:
        for options, told in BAD_QUERIES:
            with pytest.raises(InvalidArgument, match=told) as caught:
                await engine.find(Query(**options))
            assert len(str(caught.value)) < 300, options


def test_a_question_has_no_other_fields_and_no_order_of_its_own() -> None:
    for option in ("order_by", "sort", "where", "offset", "priority"):
        with pytest.raises(TypeError, match=option):
            _loose(Query)(**{option: "1; DROP TABLE executions"})


async def test_a_cursor_of_another_question_gives_a_page_and_no_error(store: Storage) -> None:
    async with Engine(store, workflows=[waiting, healthy]) as engine:
        for number in range(4):
            await engine.start(waiting if number % 2 else healthy, number, id=f"e{number}")
        page = await engine.find(Query(workflow="waiting", limit=1))
        assert page.next is not None
        others = await engine.find(Query(workflow="healthy", after=page.next))
        assert {found.workflow for found in others.executions} <= {"healthy"}


async def test_tags_without_an_end_are_refused(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy], limits=Limits(tags=2)) as engine:
        for endless in (itertools.repeat("a"), map(str, itertools.count())):
            with pytest.raises(InvalidArgument, match="an execution may have 2 tags"):
                await engine.start(healthy, 1, tags=_loose(endless))
        for tags in ([["a"]], [None], ["x" * 10_000_000], {"a": "b" * 300}.values()):
            with pytest.raises(InvalidArgument, match=r"tags\[0\]"):
                await engine.start(healthy, 1, tags=_loose(tags))
        assert (await engine.find()).executions == ()


# -- settings ----------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_an_engine_is_told_at_once() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Engine(
            lease=_loose("60s"),
            renew_every=-1,
            default_timeout=math.inf,
            max_crashes=-1,
            limits=_loose({"payload": 5}),
            name="my engine",
        )
    for what in ("lease must be", "renew_every must be", "default_timeout must be", "max_crashes", "limits", "name"):
        assert what in str(caught.value)
    with pytest.raises(InvalidArgument, match=r"renew_every must be below the lease less a tenth of it \(9 s\)"):
        Engine(lease=10, renew_every=9)
    with pytest.raises(TypeError, match="leas"):
        _loose(Engine)(leas=5)


# -- secrets -----------------------------------------------------------------------------------------------------------

anything = Workflow[Any, int]("anything", version="1", start=gate, edges=[gate.to({"go": done})])

Call = Callable[[Engine], Awaitable[Any]]

LEAKY: dict[str, Call] = {
    "workflow": lambda engine: engine.start(DSN, 1),
    "id": lambda engine: engine.start(waiting, 1, id=DSN),
    "long id": lambda engine: engine.start(waiting, 1, id="x" * 30 + DSN + "y" * 300),
    "tags": lambda engine: engine.start(waiting, 1, tags=[DSN + "\n"]),
    "tags as text": lambda engine: engine.start(waiting, 1, tags=DSN),
    "metadata": lambda engine: engine.start(waiting, 1, metadata=_loose({"dsn": [DSN]})),
    "metadata key": lambda engine: engine.start(waiting, 1, metadata={DSN: 1}),
    "delay": lambda engine: engine.start(waiting, 1, delay=_loose(DSN)),
    "at": lambda engine: engine.start(waiting, 1, at=_loose(DSN)),
    "input": lambda engine: engine.start(waiting, _loose({"dsn": {DSN.encode()}})),
    "input of pairs": lambda engine: engine.start(waiting, _loose([f"host=db password={SECRET}", {1}])),
    "conflict": lambda engine: engine.start(anything, DSN + "x", id="known"),
    "get": lambda engine: engine.get(DSN),
    "journal": lambda engine: engine.journal("known", after=_loose(DSN)),
    "signal step": lambda engine: engine.signal("known", DSN, 1),
    "signal": lambda engine: engine.signal("known", "gate", _loose({DSN: {1}})),
    "status": lambda engine: engine.find(Query(status=DSN)),
    "cursor": lambda engine: engine.find(Query(after=DSN)),
    "find": lambda engine: engine.find(_loose(DSN)),
    "run": lambda engine: engine.run_due(_loose(DSN)),
}


@pytest.mark.parametrize("name", LEAKY)
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_no_message_shows_the_password_of_what_it_is_about(
    store: Storage, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "stepwell")
    async with Engine(store, workflows=[waiting, anything]) as engine:
        await engine.start(anything, DSN, id="known")
        with pytest.raises((StepwellError, ValueError, TypeError)) as caught:
            await LEAKY[name](engine)
        _check_no_secret(caught.value)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "make",
    [
        lambda: Engine(_loose(DSN)),
        lambda: Engine(name=DSN),
        lambda: Engine(workflows=_loose([DSN])),
        lambda: Engine(lease=_loose(DSN)),
        lambda: _loose(MemoryStorage)(DSN),
        lambda: SQLiteStorage(DSN),
        lambda: SQLiteStorage(f"postgres:/ada:{SECRET}@db/flows"),
        lambda: Workflow(DSN, version=DSN, start=_loose(DSN), edges=_loose([DSN])),
    ],
)
async def test_nothing_that_is_made_with_a_dsn_in_the_wrong_place_shows_its_password(make: Callable[[], Any]) -> None:
    with pytest.raises((StepwellError, ValueError, TypeError)) as caught:
        make()
    _check_no_secret(caught.value)


def _check_no_secret(error: BaseException) -> None:
    shown = "".join(traceback.format_exception_only(error))
    assert SECRET not in shown, shown
    assert SECRET not in repr(error)


async def test_a_storage_shows_no_password() -> None:
    postgres = pytest.importorskip("stepwell.storage.postgres")
    storage = postgres.PostgresStorage(DSN)
    assert SECRET not in repr(storage)
    with pytest.raises(StorageError) as caught:
        postgres.PostgresStorage(DSN, schema=DSN)
    _check_no_secret(caught.value)
    with pytest.raises(StorageError) as caught:
        await storage.load("one")
    _check_no_secret(caught.value)


async def test_concurrent_registrations_in_threads_leave_one_workflow(store: Storage) -> None:
    engine = Engine(store)

    async def register() -> None:
        await anyio.to_thread.run_sync(engine.register, parent)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(register)
    async with engine:
        assert engine.describe("parent").version == engine.describe("waiting").version == "1"
        execution = await engine.start(parent, 1)
        await engine.run_until_idle()
        await engine.cancel(execution.id)
