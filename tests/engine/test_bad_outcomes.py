"""What user code returns and raises: each is a failure that tells what to do, and the worker goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import anyio
import pytest

from stepwell import (
    Engine,
    ExecutionFailed,
    Status,
    Workflow,
    decision,
    fail,
    subworkflow,
    succeed,
    wait,
)
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, deciding, done, failure_of_run, healthy, nothing, refused, single

pytestmark = pytest.mark.anyio


class Own(BaseException):
    """What some libraries raise to get out."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def _raised(error: BaseException) -> Callable[[Ctx], Any]:
    async def work(ctx: Ctx) -> Any:
        raise error

    return work


def _raised_plainly(error: BaseException) -> Callable[[Ctx], Any]:
    def work(ctx: Ctx) -> Any:
        raise error

    return work


RAISED: list[tuple[Callable[[], BaseException], str]] = [
    (lambda: ValueError("no"), "ValueError"),
    (
        lambda: ExceptionGroup("several", [ValueError("one"), ExceptionGroup("in it", [OSError("two")])]),
        "ExceptionGroup",
    ),
    (lambda: BaseExceptionGroup("worse", [Own("one"), SystemExit(2)]), "BaseExceptionGroup"),
    (lambda: SystemExit(3), "SystemExit"),
    (lambda: GeneratorExit("early"), "GeneratorExit"),
    (lambda: Own("mine"), "Own"),
    (lambda: StopIteration("over"), "StopIteration"),
    (Unprintable, "Unprintable"),
    (lambda: TimeoutError("the user's own"), "TimeoutError"),
    (lambda: RecursionError("deep"), "RecursionError"),
    (MemoryError, "MemoryError"),
]


@pytest.mark.promise("P12", "I36")
@pytest.mark.parametrize(("make", "type_name"), RAISED, ids=[name for _, name in RAISED])
@pytest.mark.parametrize("kind", ["activity", "async decision", "riding decision"])
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_whatever_a_handler_raises_is_a_failure_of_its_attempt(
    storage: Storage, make: Callable[[], BaseException], type_name: str, kind: str
) -> None:
    flows = {
        "activity": lambda: single(_raised(make())),
        "async decision": lambda: deciding(_raised(make())),
        "riding decision": lambda: deciding(_raised_plainly(make())),
    }
    failure = await failure_of_run(storage, flows[kind]())
    by_python = type_name.startswith("Stop") and kind != "riding decision"  # no coroutine can raise these
    assert failure.type.rpartition(".")[2] == ("RuntimeError" if by_python else type_name)
    assert failure.code == "error"
    assert failure.traceback


@pytest.mark.promise("I36", "I37")
async def test_a_message_of_ten_megabytes_is_cut_and_stored(storage: Storage) -> None:
    failure = await failure_of_run(storage, single(_raised(ValueError("x" * 10_000_000))))
    assert failure.type == "ValueError"
    assert 100 < len(failure.message) < 64 * 1024


async def test_the_causes_of_a_failure_are_kept(storage: Storage) -> None:
    async def work(ctx: Ctx) -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    failure = await failure_of_run(storage, single(work))
    assert (failure.type, failure.causes[0].type) == ("ValueError", "KeyError")


# -- results -----------------------------------------------------------------------------------------------------------


async def _forgotten(ctx: Ctx) -> int:
    return 1


def _cycle() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


UNSTORABLE: list[tuple[str, Callable[[Ctx], Any], str]] = [
    ("set", lambda ctx: {1, 2}, "set"),
    ("NaN", lambda ctx: {"a": [float("nan")]}, "a"),
    ("object", lambda ctx: object(), "object"),
    ("cycle", lambda ctx: _cycle(), "itself"),
    ("2 MB", lambda ctx: "x" * 2_000_000, "1,048,576"),
    ("surrogate", lambda ctx: "\ud800", "surrogate"),
    ("number keys", lambda ctx: {1: "a", "1": "b"}, "key"),
    ("deep", lambda ctx: _deep(), "100"),
    ("context", lambda ctx: ctx, "Context"),
    ("generator", lambda ctx: (x for x in [1]), "generator"),
]


def _deep() -> Any:
    value: Any = 1
    for _ in range(200):
        value = [value]
    return value


@pytest.mark.parametrize(("function", "told"), [case[1:] for case in UNSTORABLE], ids=[case[0] for case in UNSTORABLE])
async def test_a_result_that_cannot_be_stored_fails_its_attempt_and_names_the_step(
    storage: Storage, function: Callable[[Ctx], Any], told: str
) -> None:
    async def work(ctx: Ctx) -> Any:
        return function(ctx)

    failure = await failure_of_run(storage, single(work))
    assert failure.code == "payload"
    assert "'work'" in failure.message
    assert "'single'" in failure.message
    assert told in failure.message


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_forgotten_await_is_named_as_such(storage: Storage) -> None:
    left: list[Any] = []

    async def work(ctx: Ctx) -> Any:
        left.append(_forgotten(ctx))
        return left[0]

    failure = await failure_of_run(storage, single(work))
    left[0].close()
    assert "did you forget await?" in failure.message


async def test_an_attempt_with_a_bad_result_is_tried_again(storage: Storage) -> None:
    async def work(ctx: Ctx) -> Any:
        return {1, 2} if ctx.attempt == 1 else [1, 2]

    async with Engine(storage, workflows=[flow := single(work, retry=2)]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        assert await execution.result(60) == 5
        assert (await execution.get()).steps["work"].attempts == 2


@pytest.mark.parametrize("terminal", [succeed, fail], ids=["succeed", "fail"])
async def test_a_terminal_whose_result_cannot_be_stored_fails_the_execution(storage: Storage, terminal: Any) -> None:
    def unstorable(ctx: Ctx) -> Any:
        return {1, 2}

    end: Any = terminal(name="end")(unstorable)

    @succeed
    def other(ctx: Ctx) -> Any:
        return 1

    @decision
    def which(ctx: Ctx) -> Literal["end", "other"]:
        return "end"

    flow = Workflow[int, Any]("ends", version="1", start=which, edges=[which.to({"end": end, "other": other})])
    failure = await failure_of_run(storage, flow)
    assert failure.code == "payload"
    assert "'end'" in failure.message


@pytest.mark.parametrize("kind", ["riding", "async"])
async def test_a_terminal_that_raises_fails_the_execution_and_keeps_what_was_done(storage: Storage, kind: str) -> None:
    def raise_plainly(ctx: Ctx) -> int:
        raise LookupError("nothing to tell")

    async def raise_later(ctx: Ctx) -> int:
        raise LookupError("nothing to tell")

    end: Any = succeed(name="end")(raise_plainly if kind == "riding" else raise_later)
    flow = Workflow[int, int]("ends", version="1", start=nothing, edges=[nothing.then(end)])
    async with Engine(storage, workflows=[flow]) as engine, engine.worker():
        execution = await engine.start(flow, 1)
        with pytest.raises(ExecutionFailed, match="LookupError: nothing to tell"):
            await execution.result(60)
        after = await execution.get()
        assert (after.steps["nothing"].status, after.failed_step) == (Status.SUCCEEDED, "end")


# -- decisions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["nowhere", None, ["go"], 5, object(), b"go", "Go"],
    ids=["nowhere", "None", "list", "int", "object", "bytes", "Go"],
)
@pytest.mark.parametrize("kind", ["riding", "async"])
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_decision_that_returns_no_known_route_fails_and_lists_its_routes(
    storage: Storage, value: Any, kind: str
) -> None:
    def plainly(ctx: Ctx) -> Any:
        return value

    async def later(ctx: Ctx) -> Any:
        return value

    failure = await failure_of_run(storage, deciding(plainly if kind == "riding" else later))
    assert failure.code == "unknown_route"
    assert "'which'" in failure.message
    assert "go, stop" in failure.message


@pytest.mark.parametrize("kind", ["riding", "async"])
async def test_a_decision_that_raises_fails_and_the_activity_before_it_is_kept(storage: Storage, kind: str) -> None:
    flow = deciding(_raised_plainly(Own("no")) if kind == "riding" else _raised(Own("no")))
    async with Engine(storage, workflows=[flow]) as engine, engine.worker():
        execution = await engine.start(flow, 1)
        with pytest.raises(ExecutionFailed):
            await execution.result(60)
        after = await execution.get()
        assert (after.steps["nothing"].status, after.steps["nothing"].attempts) == (Status.SUCCEEDED, 1)
        assert (after.failed_step, after.steps["which"].status) == ("which", Status.FAILED)


async def test_an_async_decision_that_takes_too_long_times_out(storage: Storage) -> None:
    async def which(ctx: Ctx) -> Literal["go", "stop"]:
        await anyio.sleep_forever()
        return "go"

    failure = await failure_of_run(storage, deciding(which, timeout=3))
    assert failure.code == "timeout"
    assert "'which'" in failure.message
    assert "3 s" in failure.message


async def test_a_wait_whose_resolver_knows_no_route_tells_the_sender_and_stays_open(storage: Storage) -> None:
    @wait
    def gate(ctx: Ctx, signal: Any) -> Any:
        return signal

    flow = Workflow[int, int]("waits", version="1", start=gate, edges=[gate.to({"go": done, "stop": refused})])
    async with Engine(storage, workflows=[flow]) as engine, engine.worker():
        execution = await engine.start(flow, 1)
        async with engine.events("step.suspended") as suspended:
            if (await execution.get()).status is not Status.SUSPENDED:
                await suspended.receive()
        for value in ("nowhere", None, ["go"], "timeout"):
            with pytest.raises(Exception, match=r"'gate'.*go, stop"):
                await execution.signal("gate", value)
            assert (await execution.get()).status is Status.SUSPENDED
        await execution.signal("gate", "go")
        assert await execution.result(60) == 1


@pytest.mark.parametrize("error", [ValueError("no"), Own("no"), SystemExit(1), Unprintable()], ids=repr)
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_resolver_that_raises_rejects_the_signal_and_the_wait_stays_open(
    storage: Storage, error: BaseException
) -> None:
    @wait
    def gate(ctx: Ctx, signal: int) -> Literal["go"]:
        if not signal:
            raise error
        return "go"

    flow = Workflow[int, int]("waits", version="1", start=gate, edges=[gate.to({"go": done})])
    async with Engine(storage, workflows=[flow]) as engine:
        execution = await engine.start(flow, 1)
        await engine.run_until_idle()
        with pytest.raises(Exception, match=f"'gate'.*{type(error).__name__}") as caught:
            await execution.signal(gate, 0)
        assert caught.value.__cause__ is error
        assert (await execution.get()).status is Status.SUSPENDED
        await execution.signal(gate, 1)
        await engine.run_until_idle()
        assert await execution.result(60) == 1


async def test_a_function_that_makes_the_wrong_input_for_a_child_fails_the_step_with_the_path(storage: Storage) -> None:
    @subworkflow(healthy)
    def child(ctx: Ctx) -> Any:
        return {"not": "a number"}

    flow = Workflow[int, int](
        "parent", version="1", start=child, edges=[child.to(succeeded=done, failed=refused, cancelled=refused)]
    )
    failure = await failure_of_run(storage, flow)
    assert failure.code == "payload"
    assert "'child'" in failure.message
    assert "int" in failure.message
