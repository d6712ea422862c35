"""What clients get wrong: each is told with the name of what is wrong and what to do, and changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import anyio
import pytest

from stepwell import (
    AlreadySignalled,
    DefinitionChanged,
    Engine,
    ExecutionConflict,
    ExecutionEnded,
    ExecutionFailed,
    ExecutionNotFound,
    InvalidArgument,
    LimitExceeded,
    Limits,
    NotAWait,
    NotResumable,
    PayloadError,
    Query,
    SignalConflict,
    Status,
    TooManySignals,
    UnknownStep,
    UnknownWorkflow,
    WaitPassed,
    Workflow,
    activity,
    succeed,
    wait,
)
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, Through, done, healthy, nothing, single

pytestmark = pytest.mark.anyio


@dataclass
class Line:
    article: str
    amount: int


@wait
def gate(ctx: Ctx, signal: Line) -> Literal["go"]:
    return "go"


@wait
def later(ctx: Ctx, signal: int) -> Literal["go"]:
    return "go"


waits = Workflow[int, int](
    "waits", version="1", start=nothing, edges=[nothing.then(gate), gate.to({"go": later}), later.to({"go": done})]
)
LINE = Line("a", 1)


def _loose(engine: Engine) -> Any:
    """An engine as callers without a type checker see it."""
    return engine


# -- workflows and versions --------------------------------------------------------------------------------------------


async def test_an_unknown_workflow_is_told_with_the_known_ones(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy, waits]) as engine:
        with pytest.raises(UnknownWorkflow, match=r"'helthy'.*registered: healthy, waits"):
            await engine.start("helthy", 1)
        with pytest.raises(UnknownWorkflow, match=r"no version '9'.*registered: 1"):
            await engine.start("healthy", 1, version="9")
        with pytest.raises(UnknownWorkflow, match="no workflow 'single'"):
            await engine.start(single(nothing.function), 1)
        with pytest.raises(InvalidArgument, match="a workflow's name"):
            await _loose(engine).start(5, 1)
        assert (await engine.find()).executions == ()


async def test_without_a_version_where_there_are_several_they_are_listed(storage: Storage) -> None:
    flows = [single(nothing.function, version=version) for version in ("1", "2")]
    async with Engine(storage, workflows=flows) as engine:
        with pytest.raises(UnknownWorkflow, match=r"several versions \(1, 2\): pass version="):
            await engine.start("single", 1)
        assert (await (await engine.start("single", 1, version="2")).get()).version == "2"
        with pytest.raises(UnknownWorkflow, match="several versions"):
            engine.describe("single")
        assert engine.describe("single", "1").version == "1"


async def test_the_same_workflow_twice_is_harmless_and_a_changed_one_is_not(storage: Storage) -> None:
    one = single(nothing.function)
    other = Workflow[int, int]("single", version="1", start=nothing, edges=[nothing.then(done)])
    async with Engine(storage, workflows=[one]) as engine:
        engine.register(one)
        engine.register(single(nothing.function))
        for use in (lambda: engine.register(other), lambda: engine.handle(other, "e")):
            with pytest.raises(
                DefinitionChanged, match=r"'single' version '1'[\s\S]*- step work[\s\S]*\+ step nothing"
            ):
                use()
        with pytest.raises(DefinitionChanged):
            await engine.start(other, 1)
        with pytest.raises(InvalidArgument, match="a Workflow is needed"):
            _loose(engine).register("single")


async def test_a_changed_workflow_is_refused_while_live_executions_use_it_and_others_go_on(storage: Storage) -> None:
    before = single(nothing.function)
    after = Workflow[int, int]("single", version="1", start=nothing, edges=[nothing.then(done)])
    async with Engine(storage, workflows=[before]) as old:
        live = await old.start(before, 1)
        with pytest.raises(DefinitionChanged, match=r"give the changed workflow a new version[\s\S]*- step work"):
            async with Engine(storage, workflows=[after]):
                pass
        async with Engine(storage, workflows=[healthy]) as new, new.worker():
            new.register(after)
            with pytest.raises(DefinitionChanged, match="- step work"):
                await new.start(after, 1)
            assert await (await new.start(healthy, 7)).result(60) == 7
            await old.run_until_idle()
            assert await live.result(60) == 1
            assert await (await new.start(after, 2)).result(60) == 2


# -- inputs ------------------------------------------------------------------------------------------------------------


async def test_an_input_that_does_not_fit_is_told_with_its_path(storage: Storage) -> None:
    @activity
    async def count(ctx: Any) -> None:
        pass

    @succeed
    def end(ctx: Any) -> int:
        return 1

    orders = Workflow[dict[str, list[Line]], int]("orders", version="1", start=count, edges=[count.then(end)])
    async with Engine(storage, workflows=[orders]) as engine:
        bad: list[Any] = [
            {"lines": [{"article": "a", "amount": "two"}]},
            {"lines": [{"article": "a"}]},
            {"lines": [LINE, 5]},
            {"lines": {1, 2}},
            None,
            {"lines": [float("nan")]},
        ]
        for value in bad:
            with pytest.raises(PayloadError, match=r"input of workflow 'orders'.*\$"):
                await _loose(engine).start(orders, value)
        with pytest.raises(LimitExceeded, match=r"1,048,576"):
            await engine.start(orders, {"lines": [Line("x" * 2_000_000, 1)]})
        assert (await engine.find()).executions == ()


@pytest.mark.promise("P10", "I26")
async def test_an_id_that_is_taken_conflicts_unless_the_content_is_the_same(storage: Storage) -> None:
    async with Engine(storage, workflows=[waits, healthy]) as engine:
        first = await engine.start(waits, 1, id="order:1")
        again = await engine.start(waits, 1, id="order:1", tags=["other"], delay=60)
        assert first.id == again.id
        with pytest.raises(ExecutionConflict, match=r"'order:1'.*with another input, which differs at \$"):
            await engine.start(waits, 2, id="order:1")
        with pytest.raises(ExecutionConflict, match=r"'order:1'.*of workflow 'waits', not 'healthy'"):
            await engine.start(healthy, 1, id="order:1")
        assert len((await engine.find()).executions) == 1


@pytest.mark.promise("P10", "I26")
async def test_concurrent_starts_of_one_id_make_one_execution(storage: Storage) -> None:
    outcomes: list[str] = []

    async def start(engine: Engine, number: int) -> None:
        try:
            outcomes.append((await engine.start(healthy, number, id="one")).id)
        except ExecutionConflict:
            outcomes.append("conflict")

    async with Engine(storage, workflows=[healthy]) as engine:
        async with anyio.create_task_group() as tasks:
            for number in (1, 1, 1, 2, 1):
                tasks.start_soon(start, engine, number)
        assert sorted(outcomes) in (["conflict"] + 4 * ["one"], 4 * ["conflict"] + ["one"])
        assert len((await engine.find()).executions) == 1


BAD_STARTS: list[tuple[dict[str, Any], str]] = [
    ({"id": ""}, "id is empty"),
    ({"id": "a/b"}, "'/'"),
    ({"id": "x" * 300}, "255 bytes"),
    ({"id": "é" * 128}, "255 bytes"),
    ({"id": "\ud800"}, "surrogate"),
    ({"id": "a\nb"}, "printable"),
    ({"id": 5}, "must be text"),
    ({"id": b"x"}, "must be text"),
    ({"tags": "one"}, "list of texts"),
    ({"tags": ["a", 5]}, r"tags\[1\]"),
    ({"tags": [str(n) for n in range(40)]}, "32 tags"),
    ({"metadata": {"a": [1]}}, r"metadata\['a'\]"),
    ({"metadata": {"a": 1.5}}, "float"),
    ({"metadata": {"a b": 1}}, "key of metadata"),
    ({"metadata": [1]}, "must be a dict"),
    ({"metadata": {"a": 2**70}}, "64 bits"),
    ({"delay": -1}, "delay must be zero or more"),
    ({"delay": math.nan}, "delay"),
    ({"delay": math.inf}, "delay must be at most"),
    ({"delay": "5m"}, "delay must be seconds"),
    ({"delay": True}, "delay must be seconds"),
    ({"at": datetime(2026, 1, 1)}, "at must be a datetime with a time zone"),  # noqa: DTZ001 -- the mistake under test
    ({"at": "tomorrow"}, "at must be a datetime"),
    ({"at": datetime.fromisoformat("2026-01-01T00:00:00Z"), "delay": 5}, "not both"),
]


@pytest.mark.parametrize(("options", "told"), BAD_STARTS, ids=[f"{case[0]!r:.40}" for case in BAD_STARTS])
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_bad_argument_of_start_is_told_and_starts_nothing(
    storage: Storage, options: dict[str, Any], told: str
) -> None:
    async with Engine(storage, workflows=[healthy]) as engine:
        with pytest.raises((ValueError, TypeError), match=told):
            await _loose(engine).start(healthy, 1, **options)
        assert (await engine.find()).executions == ()


async def test_times_far_away_are_taken_as_they_are(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine:
        for options in (
            {"delay": timedelta(days=400)},
            {"at": datetime.fromisoformat("9999-12-31T23:59:59Z")},
            {"at": datetime.fromisoformat("0001-01-02T00:00:00Z")},
        ):
            await _loose(engine).start(healthy, 1, **options)
        assert await engine.run_until_idle() == 1


# -- signals -----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P8", "I28")
async def test_each_way_to_send_a_wrong_signal_is_told_apart(storage: Storage) -> None:
    async with Engine(storage, workflows=[waits]) as engine:
        with pytest.raises(ExecutionNotFound, match="no execution 'nobody'"):
            await engine.signal("nobody", gate, LINE)
        execution = await engine.start(waits, 1, id="e")
        await engine.run_until_idle()
        with pytest.raises(PayloadError, match=r"signal to step 'gate' of workflow 'waits'.*amount"):
            await execution.signal("gate", {"article": "a", "amount": "two"})
        with pytest.raises(UnknownStep, match=r"no step 'gaet'; its steps: .*gate"):
            await execution.signal("gaet", 1)
        with pytest.raises(NotAWait, match=r"'nothing'.*is of kind activity.*its waits: gate, later"):
            await execution.signal("nothing", 1)
        with pytest.raises(InvalidArgument, match="a wait is named by"):
            await cast("Any", execution).signal(5, 1)
        with pytest.raises(InvalidArgument, match="the signal id is empty"):
            await execution.signal(gate, LINE, signal_id="")
        await execution.signal(later, 5, signal_id="early")
        with pytest.raises(AlreadySignalled, match="'later'"):
            await execution.signal(later, 6)
        with pytest.raises(SignalConflict, match="'early'"):
            await execution.signal(later, 6, signal_id="early")
        await execution.signal(gate, LINE)
        with pytest.raises((AlreadySignalled, WaitPassed), match="'gate'"):
            await execution.signal(gate, LINE)
        await engine.run_until_idle()
        assert await execution.result(60) == 1
        with pytest.raises(ExecutionEnded, match=r"'e' has already succeeded"):
            await execution.signal(gate, LINE)


@pytest.mark.promise("I37")
async def test_signals_beyond_the_limit_are_refused(storage: Storage) -> None:
    async with Engine(storage, workflows=[waits], limits=Limits(pending_signals=1)) as engine:
        execution = await engine.start(waits, 1)
        await execution.signal(gate, LINE)
        with pytest.raises(TooManySignals, match="the limit is 1"):
            await execution.signal(later, 1)


# -- other calls -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("I28")
@pytest.mark.parametrize("id", ["nobody", "a/b", "\ud800", "x" * 3000, "", "a\0b"], ids=ascii)
async def test_an_unknown_execution_is_told_by_every_call(storage: Storage, id: str) -> None:
    async with Engine(storage, workflows=[waits]) as engine:
        for call in (
            lambda: engine.get(id),
            lambda: engine.journal(id),
            lambda: engine.journal(id, after=5),
            lambda: engine.signal(id, gate, LINE),
            lambda: engine.cancel(id),
            lambda: engine.pause(id),
            lambda: engine.resume(id),
            lambda: engine.handle(waits, id).result(60),
        ):
            with pytest.raises(ExecutionNotFound):
                await call()


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_bad_arguments_of_other_calls_are_told(storage: Storage) -> None:
    async with Engine(storage, workflows=[waits]) as engine:
        execution = await engine.start(waits, 1)
        loose: Any = execution
        calls: list[tuple[Callable[[], Any], str]] = [
            (lambda: loose.result(-1), "timeout must be zero or more"),
            (lambda: loose.result(math.nan), "timeout"),
            (lambda: loose.result("5s"), "timeout must be seconds"),
            (lambda: loose.journal(after=-1), "after must be"),
            (lambda: loose.journal(after="1"), "after must be"),
            (lambda: loose.journal(limit=0), "limit must be"),
            (lambda: loose.journal(limit=10**6), "limit must be"),
            (lambda: loose.journal(limit=True), "limit must be"),
            (lambda: loose.cancel(5), "reason must be text"),
            (lambda: loose.resume(0), "attempts must be"),
            (lambda: _loose(engine).get(5), "id must be text"),
            (lambda: _loose(engine).find("queued"), "takes a Query"),
            (lambda: engine.find(Query(limit=0)), "limit must be"),
            (lambda: engine.find(Query(status="done")), "a status is one of"),
            (lambda: engine.find(Query(after="forged")), "after must be the `next`"),
            (lambda: engine.run_due(0), "limit must be"),
            (lambda: engine.run_until_idle(0), "max_passes must be"),
            (lambda: engine.worker(concurrency=0).__aenter__(), "concurrency must be"),
            (lambda: engine.worker(concurrency=True).__aenter__(), "concurrency must be"),
            (lambda: engine.worker(poll_interval=0).__aenter__(), "poll_interval must be above 0"),
            (lambda: engine.worker(grace=-1).__aenter__(), "grace must be"),
            (lambda: engine.events("step.begun").__aenter__(), r"step\.begun; kinds: .*step\.started"),
            (lambda: engine.events(buffer=0).__aenter__(), "buffer must be"),
        ]
        for call, told in calls:
            with pytest.raises((ValueError, TypeError), match=told):
                await call()
        with pytest.raises(NotResumable, match="neither paused nor failed"):
            await execution.resume()
        with pytest.raises(InvalidArgument, match=r"kinds: .*step\.started"):
            engine.on("step.begun", lambda event: None)
        assert (await execution.get()).status is Status.QUEUED


# -- rows that can't be read -------------------------------------------------------------------------------------------


@pytest.mark.promise("P5", "I19")
@pytest.mark.parametrize("text", ['{"not": "a number"}', "{broken", "9" * 5000, "[" * 5000], ids=lambda text: text[:9])
async def test_an_input_that_became_unreadable_fails_its_execution_alone(storage: Storage, text: str) -> None:
    import msgspec  # noqa: PLC0415

    async def claim(*arguments: Any, **options: Any) -> Any:
        claims = await storage.claim(*arguments, **options)
        spoilt = tuple(
            msgspec.structs.replace(s, row=msgspec.structs.replace(s.row, input=text)) if s.row.id == "bad" else s
            for s in claims.claimed
        )
        return msgspec.structs.replace(claims, claimed=spoilt)

    async with Engine(cast("Storage", Through(storage, claim=claim)), workflows=[healthy]) as engine:
        bad = await engine.start(healthy, 1, id="bad")
        good = [await engine.start(healthy, number) for number in range(5)]
        async with engine.worker():
            for number, execution in enumerate(good):
                assert await execution.result(60) == number
            with pytest.raises(ExecutionFailed, match="input of execution 'bad'"):
                await bad.result(600)
