"""Catalogue 4.4, end to end: whatever user code raises is a bounded failure of its attempt, and the worker goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal, NoReturn

import anyio
import pytest

from stepwell import (
    Engine,
    Execution,
    ExecutionFailed,
    Retry,
    SignalRejected,
    Status,
    StorageError,
    Workflow,
    activity,
    wait,
)
from stepwell.storage import Storage
from tests.bad_input import tricks
from tests.bad_input.endings import KINDS, async_activity, async_decision, endings_of, riding_decision
from tests.engine.small import done, healthy, refused, single
from tests.support.virtual_time import Backend

pytestmark = pytest.mark.anyio

LIMIT = 64 * 1024


RAISED: dict[str, tuple[Callable[[], BaseException], str, str]] = {
    "66-str-raises": (lambda: tricks.Text(tricks.leave), "Text", "<exception str() failed>"),
    "66-str-is-a-number": (lambda: tricks.Text(lambda: 5), "Text", "<exception str() failed>"),
    "67-nameless": (lambda: tricks.Nameless("named all the same"), "Nameless", "named all the same"),
    "67-liar": (lambda: tricks.Liar("lies"), "Liar", "lies"),
    "68-50-MB": (tricks.noted, "ValueError", "50.0 MB cut"),
    "69-nul-and-surrogate": (lambda: ValueError("a\0b\ud800"), "ValueError", r"a\x00b\ud800"),
    "70-chain": (tricks.chain, "ValueError", "number 9999"),
    "70-cycle": (tricks.cycle, "ValueError", "one"),
    "71-wide": (lambda: ExceptionGroup("many", [ValueError(n) for n in range(100_000)]), "ExceptionGroup", "many"),
    "71-deep": (tricks.deep, "ExceptionGroup", "level"),
    "71-doubled": (tricks.doubled, "ExceptionGroup", "level"),
    "71-odd": (lambda: tricks.OddGroup("odd", [ValueError("in it")]), "OddGroup", "odd"),
    "73-recursion": (tricks.recursion, "RecursionError", "maximum recursion depth"),
    "74-fussy": (lambda: tricks.Fussy("404 for /", response=object()), "Fussy", "404 for /"),
    "75-own": (lambda: tricks.Own("mine"), "Own", "mine"),
    "75-generator-exit": (lambda: GeneratorExit("early"), "GeneratorExit", "early"),
    "76-exit": (lambda: SystemExit(3), "SystemExit", "3"),
    "78-timeout": (lambda: TimeoutError("the user's"), "TimeoutError", "the user's"),
    "79-driver": (lambda: sqlite3.OperationalError("database is locked"), "OperationalError", "database is locked"),
    "79-storage": (lambda: StorageError("the user's own storage"), "StorageError", "the user's own storage"),
    "80-memory": (MemoryError, "MemoryError", ""),
    "63-password": (tricks.long_password, "ValueError", "and host=db password=*** dbname=flows"),
}


def _raising(make: Callable[[], BaseException]) -> Callable[[], Any]:
    def act() -> NoReturn:
        raise make()

    return act


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_whatever_is_raised_is_a_bounded_failure_of_its_attempt(
    store: Storage, kind: Callable[[str, Callable[[], Any]], Workflow[int, int]]
) -> None:
    flows = {name: kind(f"r{name}", _raising(make)) for name, (make, _, _) in RAISED.items()}
    endings = await endings_of(store, flows)
    for name, (_, type_name, message) in RAISED.items():
        failure = endings[name].failure
        assert failure is not None, name
        assert failure.type.rpartition(".")[2] == type_name, name
        assert (failure.code, message in failure.message) == ("error", True), (name, failure.message[:200])
        assert failure.traceback, name
        stored = await store.load(name)
        assert stored is not None
        told = "".join(entry.payload or "" for entry in stored.journal) + str(stored.row.error)
        assert len(told.encode()) < 3 * LIMIT, name
        assert "hunter2" not in told, name
        assert "\\u0000" not in told, name


STOPPING: dict[str, Callable[[], BaseException]] = {
    "StopIteration": lambda: StopIteration("over"),
    "StopAsyncIteration": lambda: StopAsyncIteration("over"),
}


@pytest.mark.parametrize("name", STOPPING)
async def test_the_end_of_an_iterator_is_no_end_of_the_worker(store: Storage, name: str) -> None:
    act = _raising(STOPPING[name])
    flows = {"task": async_activity("task", act), "riding": riding_decision("riding", act)}
    endings = await endings_of(store, flows)
    for kind, ending in endings.items():
        assert ending.failure is not None, kind
        assert ending.failure.type in {name, "RuntimeError"}  # Python lets no coroutine raise a StopIteration


@pytest.mark.real_time
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_what_a_thread_raises_or_returns_is_not_looked_into_on_its_way(store: Storage) -> None:
    raised: list[Callable[[], BaseException]] = [
        lambda: tricks.Liar("lies"),
        lambda: tricks.Own("mine"),
        lambda: SystemExit(3),
    ]
    raised += [lambda: StopIteration("over"), lambda: tricks.OddGroup("odd", [ValueError()])]
    flows: dict[str, Workflow[int, int]] = {}
    for number, make in enumerate(raised):

        def work(ctx: Any, make: Callable[[], BaseException] = make) -> NoReturn:
            raise make()

        flows[str(number)] = single(work, name=f"t{number}")

    def sly(ctx: Any) -> tricks.Sly:
        return tricks.Sly()

    flows["sly"] = single(sly, name="sly")
    endings = await endings_of(store, flows)
    for name, ending in endings.items():
        assert ending.failure is not None, name
        assert ending.failure.code == ("payload" if name == "sly" else "error"), name


# -- routes and classes that play tricks -------------------------------------------------------------------------------


ROUTES: dict[str, Callable[[], Any]] = {
    "7-none": lambda: None,
    "7-list": lambda: ["go"],
    "7-5-MB": lambda: "x" * 5_000_000,
    "7-case": lambda: "Go",
    "7-shouting": tricks.Shouting,
    "7-sly": tricks.Sly,
    "7-deaf": tricks.Deaf,
    "7-odd-text": lambda: tricks.OddRoute("nowhere"),
    "81-coroutine-like": lambda: iter(()),
}


@pytest.mark.parametrize("kind", [async_decision, riding_decision], ids=lambda kind: kind.__name__)
async def test_a_route_that_is_no_edge_is_a_failure_whatever_it_is(
    store: Storage, kind: Callable[[str, Callable[[], Any]], Workflow[int, int]]
) -> None:
    flows = {name: kind(f"r{name}", make) for name, make in ROUTES.items()}
    flows["good"] = kind("good", lambda: tricks.OddRoute("go"))
    endings = await endings_of(store, flows)
    assert endings.pop("good").failure is None
    for name, ending in endings.items():
        assert ending.failure is not None, name
        assert ending.failure.code == "unknown_route", name
        assert ending.failure.message.endswith("which is none of its routes: go, stop")
        assert len(ending.failure.message) < 200


async def test_a_class_that_raises_when_it_is_asked_catches_nothing(store: Storage) -> None:
    @activity(retry=Retry(2, backoff=0, give_up_on=(tricks.TrickyError,)))
    async def work(ctx: Any) -> None:
        raise ValueError("no")

    edges = [work.then(done, catch={tricks.TrickyError: refused})]
    flow = Workflow[int, Any]("tricky", version="1", start=work, edges=edges)
    ending = (await endings_of(store, {"tricky": flow}))["tricky"]
    assert ending.failure is not None
    assert (ending.failure.type, ending.execution.steps["work"].attempts) == ("ValueError", 2)


async def test_a_resolver_that_plays_tricks_rejects_the_signal_and_the_wait_stays_open(store: Storage) -> None:
    acts: list[Callable[[], Any]] = [
        tricks.Shouting,
        tricks.Sly,
        tricks.Deaf,
        _raising(lambda: tricks.Liar("lies")),
        _raising(tricks.Nameless),
    ]

    @wait
    def gate(ctx: Any, signal: int) -> Any:
        return acts[signal]() if signal >= 0 else "go"

    flow = Workflow[int, int]("waits", version="1", start=gate, edges=[gate.to({"go": done})])
    async with Engine(store, workflows=[flow]) as engine:
        execution = await engine.start(flow, 1)
        await engine.run_until_idle()
        for number in range(len(acts)):
            with pytest.raises(Exception, match="'gate'"):
                await execution.signal(gate, number)
            assert (await execution.get()).status is Status.SUSPENDED
        with pytest.raises(SignalRejected, match="Liar: lies"):
            await execution.signal(gate, 3)
        await execution.signal(gate, -1)
        await engine.run_until_idle()
        assert await execution.result(60) == 1


# -- what else handlers do ---------------------------------------------------------------------------------------------


async def test_a_group_of_an_error_and_a_cancellation_of_the_users_is_a_failure_of_both(store: Storage) -> None:
    async def work(ctx: Any) -> None:
        leaked: list[BaseException] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep(1)
            except anyio.get_cancelled_exc_class() as error:
                leaked.append(error)
                raise
        raise BaseExceptionGroup("mixed", [ValueError("the user's"), *leaked])

    ending = (await endings_of(store, {"mixed": single(work, name="mixed")}))["mixed"]
    assert ending.failure is not None
    assert (ending.failure.code, ending.failure.causes[0].message) == ("error", "the user's")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_what_is_raised_after_success_does_not_undo_it(store: Storage) -> None:
    class Noisy:
        def __del__(self) -> None:
            raise ValueError("nobody hears it")

    async def work(ctx: Any) -> int:
        noisy = Noisy()
        del noisy
        return 1

    async def warned(ctx: Any) -> int:
        warnings.warn("it is deprecated", DeprecationWarning, stacklevel=1)  # an error in these tests
        return 1

    flows = {"deleted": single(work, name="deleted"), "warned": single(warned, name="warned")}
    endings = await endings_of(store, flows)
    assert endings["deleted"].failure is None
    assert endings["warned"].failure is not None
    assert endings["warned"].failure.type == "DeprecationWarning"


@pytest.fixture
def as_it_was() -> Iterator[None]:
    """Put back what a handler changes of the process."""
    folder, mask, limit, state = os.getcwd(), os.umask(0o022), sys.getrecursionlimit(), random.getstate()
    os.umask(mask)
    yield
    os.chdir(folder)
    os.umask(mask)
    os.environ.pop("STEPWELL_TEST_CHANGED", None)
    sys.setrecursionlimit(limit)
    random.setstate(state)


@pytest.mark.usefixtures("as_it_was")
async def test_a_handler_that_changes_the_process_harms_nobody(store: Storage) -> None:
    async def work(ctx: Any) -> int:
        os.chdir("/")
        os.umask(0o077)
        os.environ["STEPWELL_TEST_CHANGED"] = "yes"
        sys.setrecursionlimit(sys.getrecursionlimit() + 50)
        random.seed(0)
        return 1

    flows = {name: single(work, name=name) for name in ("one", "two")}
    endings = await endings_of(store, flows)
    assert all(ending.failure is None for ending in endings.values())
    rows = [execution.id for execution in (await _found(store))]
    assert len(rows) == len(set(rows)) == 3, "ids don't come from the generator that a handler may seed"


async def _found(store: Storage) -> tuple[Execution, ...]:
    async with Engine(store) as engine:
        return (await engine.find()).executions


async def test_what_a_handler_prints_is_not_stored_and_a_closed_output_harms_nobody(
    store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open(os.devnull, "w")  # noqa: SIM115, ASYNC230 -- it is closed by the handler
    monkeypatch.setattr(sys, "stdout", closed)

    async def work(ctx: Any) -> int:
        for _ in range(1_000):
            sys.stdout.write("hunter2" * 1_000)
        ctx.log.warning("the password is %s", "hunter2")
        sys.stdout.close()
        return 1

    ending = (await endings_of(store, {"loud": single(work, name="loud")}))["loud"]
    assert ending.failure is None
    stored = await store.load("loud")
    assert "hunter2" not in repr(stored)


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_listener_that_raises_is_logged_in_bounds_and_without_a_password(
    store: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    async with Engine(store, workflows=[healthy]) as engine, engine.worker():
        errors = [
            tricks.noted(),
            tricks.Nameless("x"),
            tricks.Text(tricks.leave),
            tricks.deep(),
            tricks.long_password(),
            tricks.Liar("lies"),
        ]

        def listen(event: object) -> None:
            if errors:
                raise errors.pop()

        engine.on("step.succeeded", listen)
        with caplog.at_level(logging.ERROR, "stepwell"):
            for number in range(6):
                assert await (await engine.start(healthy, number)).result(60) == number
            await anyio.sleep(1)
    assert not errors
    assert len(caplog.records) == 6
    assert "hunter2" not in caplog.text
    assert len(caplog.text) < 100_000


@pytest.mark.parametrize("backend", ["asyncio"])
async def test_a_native_cancellation_of_the_users_is_a_failure_of_its_own_code(
    store: Storage, backend: Backend
) -> None:
    act = _raising(asyncio.CancelledError)
    flows = {kind.__name__: kind(kind.__name__, act) for kind in KINDS}
    for ending in (await endings_of(store, flows)).values():
        assert ending.failure is not None
        assert ending.failure.code == "cancellation"


async def test_a_handler_that_would_wait_for_itself_is_told_by_its_own_timeout(store: Storage) -> None:
    engine = Engine(store, workflows=[healthy])

    @activity(timeout=5)
    async def work(ctx: Any) -> Literal["never"]:
        await engine.result_of(ctx.execution_id)
        return "never"

    engine.register(flow := Workflow[int, int]("selfish", version="1", start=work, edges=[work.then(done)]))
    async with engine, engine.worker():
        execution = await engine.start(flow, 1)
        with pytest.raises(ExecutionFailed, match="'work' of 'selfish' took longer than its timeout of 5 s"):
            await execution.result(60)
        assert await (await engine.start(healthy, 7)).result(60) == 7
