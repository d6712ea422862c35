"""Parents with their children, and signals with their waits, when things happen at the worst moment."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import anyio
import pytest

from stepwell import AlreadySignalled, Engine, Status, StepwellError, Workflow, succeed, wait
from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, Ctx, Runs, gated, line, nest

pytestmark = pytest.mark.anyio


# -- parents and children ----------------------------------------------------------------------------------------------


@pytest.mark.promise("P9", "I31")
async def test_a_child_that_ends_before_its_parent_hears_of_the_suspension_still_wakes_it(
    faulty: Faulty, store: Storage
) -> None:
    runs = Runs()
    flow = nest(line(runs.first))
    async with Engine(faulty, workflows=[flow]) as engine, Engine(store, workflows=[flow]) as other:

        async def run_child() -> None:
            while not (await other.get("p/inner")).status.is_terminal:
                await other.run_due()

        faulty.spoil("commit", how=How.HANGS_AFTER, at=2, action=run_child)
        async with engine.worker(poll_interval=HOUR_POLL, concurrency=1):  # no slot for the child: the other runs it
            handle = await engine.start(flow, 0, id="p")
            assert await handle.result(60) == "succeeded first None p/inner"
    assert runs.of == {"p/inner:first": 1}


# -- signals -----------------------------------------------------------------------------------------------------------


def two_gates() -> Workflow[int, Any]:
    @wait
    def gate(ctx: Ctx, signal: str) -> Literal["on"]:
        return "on"

    @wait
    def second(ctx: Ctx, signal: str) -> Literal["on"]:
        return "on"

    @succeed
    def end(ctx: Ctx) -> list[str]:
        return [ctx.output(gate), ctx.output(second)]

    edges: list[Any] = [gate.to({"on": second}), second.to({"on": end})]
    return Workflow[int, Any]("gates", version="1", start=gate, edges=edges)


@pytest.mark.promise("P8", "I8")
async def test_a_late_signal_does_not_rewind_and_a_duplicate_passes_one_gate_only(store: Storage) -> None:
    flow = two_gates()
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(flow, 0)
        await anyio.sleep(1)
        await handle.signal("gate", "a", signal_id="s")
        await handle.signal("gate", "a", signal_id="s")
        with pytest.raises(AlreadySignalled):
            await handle.signal("gate", "late")
        await anyio.sleep(1)
        assert (await handle.get()).current_step == "second"
        await handle.signal("second", "b")
        assert await handle.result(60) == ["a", "b"]


def rounds() -> Workflow[int, Any]:
    @wait(max_visits=5)
    def gate(ctx: Ctx, signal: str) -> Literal["again", "on"]:
        return "on" if signal == "on" else "again"

    @succeed
    def end(ctx: Ctx) -> int:
        return ctx.input

    edges: list[Any] = [gate.to({"again": gate, "on": end})]
    return Workflow[int, Any]("rounds", version="1", start=gate, edges=edges)


@pytest.mark.promise("P8", "I8")
async def test_a_signal_at_an_open_wait_in_a_loop_passes_it_once(store: Storage) -> None:
    flow = rounds()
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        handle = await engine.start(flow, 0)
        for visit in (1, 2, 3):
            await anyio.sleep(5)
            stands = await handle.get()
            assert (stands.status, stands.steps["gate"].visits) == (Status.SUSPENDED, visit)
            await handle.signal("gate", "again" if visit < 3 else "on")
        await handle.result(60)


@pytest.mark.promise("P8", "I8")
async def test_of_many_signals_to_one_open_wait_exactly_one_is_used(store: Storage) -> None:
    flow = gated()
    refused: list[str] = []
    async with (
        Engine(store, workflows=[flow]) as engine,
        Engine(store, workflows=[flow]) as other,
        engine.worker(poll_interval=1),
    ):
        handle = await engine.start(flow, 0)
        await anyio.sleep(1)

        async def send(each: Engine, word: str) -> None:
            try:
                await each.signal(handle.id, "gate", word)
            except StepwellError:
                refused.append(word)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(send, (engine, other)[number % 2], f"w{number}")
        result = await handle.result(60)
    assert len(refused) == 9
    assert result not in refused


@pytest.mark.promise("P8", "I8")
async def test_a_signal_that_comes_while_the_wait_is_being_opened_is_not_lost(faulty: Faulty, store: Storage) -> None:
    async def before(ctx: Ctx) -> int:
        return 1

    flow = gated(before=before)
    for how, at in ((How.HANGS_BEFORE, 2), (How.HANGS_AFTER, 2)):
        async with Engine(store, workflows=[flow]) as other, Engine(faulty, workflows=[flow]) as engine:
            id = how.name
            action = partial(other.signal, id, "gate", "racing")
            faulty.spoil("commit", how=how, at=at, action=action)
            async with engine.worker(poll_interval=1):
                handle = await engine.start(flow, 0, id=id)
                assert await handle.result(60) == "racing"


@pytest.mark.promise("P8", "I27")
async def test_a_signal_and_a_timeout_at_the_same_moment_come_to_one_end(store: Storage) -> None:
    flow = gated(timeout=10.0)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handles = [await engine.start(flow, number) for number in range(20)]
        await anyio.sleep(10 - anyio.current_time())

        async def send(id: str, taken: list[str]) -> None:
            try:
                await engine.signal(id, "gate", "in time")
            except StepwellError:
                return
            taken.append(id)

        taken: list[str] = []
        async with anyio.create_task_group() as tasks:
            for handle in handles:
                tasks.start_soon(send, handle.id, taken)
        for handle in handles:
            assert await handle.result(60) == ("in time" if handle.id in taken else "late")


async def test_a_signal_that_an_open_wait_used_is_not_used_again_by_its_next_visit(store: Storage) -> None:
    @wait(max_visits=3)
    def gate(ctx: Ctx, signal: str) -> Literal["again", "on"]:
        return "on" if signal == "on" else "again"

    @succeed
    def end(ctx: Ctx) -> int:
        return len(ctx.output(gate))

    edges: list[Any] = [gate.to({"again": gate, "on": end})]
    flow = Workflow[int, int]("rounds", version="1", start=gate, edges=edges)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=1):
        handle = await engine.start(flow, 0, id="x")
        await anyio.sleep(2)
        await handle.signal("gate", "round", signal_id="s")
        await anyio.sleep(5)
        stands = await handle.get()
        assert (stands.status, stands.steps["gate"].visits) == (Status.SUSPENDED, 2)
        await handle.signal("gate", "on", signal_id="t")
        assert await handle.result(60) == 2
    stored = await store.load("x")
    assert stored is not None
    assert {signal.id: signal.state for signal in stored.signals} == {"s": "used", "t": "used"}
