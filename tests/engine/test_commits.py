"""What is committed when, and how many share a commit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepwell import Engine, Workflow
from stepwell._commits import Commits, NotTrusted
from stepwell._model import Change, Unit
from stepwell._transition import begin
from stepwell.storage import Storage, StorageError, Stored
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, Ctx, kinds, line
from tests.engine.small import Through
from tests.support.virtual_time import VirtualTime

pytestmark = pytest.mark.anyio


async def first(ctx: Ctx) -> int:
    return 1


async def second(ctx: Ctx) -> int:
    await anyio.sleep(1)
    return 2


async def third(ctx: Ctx) -> int:
    return 3


async def test_three_activities_and_a_terminal_cost_one_commit_to_start_one_claim_and_three_commits(
    faulty: Faulty,
) -> None:
    flow = line(first, second, third)
    async with Engine(faulty, workflows=[flow]) as engine:
        handle = await engine.start(flow, 0)
        assert faulty.calls["commit"] == 1
        async with engine.worker(poll_interval=HOUR_POLL):
            await handle.result(60)
    assert faulty.calls["commit"] == 4
    assert [brought for brought in faulty.claimed if brought] == [1]
    assert await kinds(faulty, handle.id) == [
        "created 0", "claimed 1", "succeeded 1", "started 1", "succeeded 1", "started 1", "succeeded 1", "succeeded 1",
    ]  # fmt: skip


async def test_fifty_executions_that_run_together_share_their_commits_and_claims(faulty: Faulty) -> None:
    flow = line(first, second, third)
    async with Engine(faulty, workflows=[flow]) as engine:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(engine.start, flow, number)
        async with engine.worker(poll_interval=HOUR_POLL):
            for row in (await engine.find()).executions:
                await engine.result_of(row.id)
    assert sum(faulty.units) == 50 * 4
    assert faulty.calls["commit"] <= 20
    assert sum(faulty.claimed) == 50
    assert len([brought for brought in faulty.claimed if brought]) <= 5


@pytest.mark.promise("I29")
async def test_a_result_does_not_wait_for_a_poll(store: Storage, virtual_time: VirtualTime) -> None:
    async def at_once(ctx: Ctx) -> int:
        return ctx.input

    flow = line(at_once)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        await anyio.sleep(100)
        for number in range(5):
            assert await (await engine.start(flow, number)).result(1) == number
    assert virtual_time.now() == pytest.approx(100, abs=0.01)


# -- the group commit by itself ----------------------------------------------------------------------------------------

FLOW: Workflow[int, int] = line(first)


def creation(id: str, change: str | None = None) -> Unit:
    return (begin(FLOW, id=id, input="0", change_id=change or f"change-{id}"),)


@asynccontextmanager
async def running(storage: Storage, told: list[str]) -> AsyncGenerator[Commits]:
    def committed(unit: Unit) -> None:
        told.extend(part.id for part in unit if isinstance(part, Change))

    commits = Commits(storage, committed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commits.run)
        await anyio.wait_all_tasks_blocked()
        yield commits
        tasks.cancel_scope.cancel()


async def commit_all(commits: Commits, units: list[Unit]) -> dict[int, bool | str]:
    results: dict[int, bool | str] = {}

    async def one(place: int, unit: Unit) -> None:
        try:
            results[place] = await commits.commit(unit)
        except StorageError as error:
            results[place] = str(error)

    async with anyio.create_task_group() as tasks:
        for place, unit in enumerate(units):
            tasks.start_soon(one, place, unit)
    return results


async def test_two_units_that_touch_one_execution_never_share_a_commit(faulty: Faulty) -> None:
    told: list[str] = []
    async with running(faulty, told) as commits:
        results = await commit_all(commits, [creation("a", "x"), creation("a", "y"), creation("b")])
    assert sorted(results[place] for place in (0, 1)) == [False, True]
    assert results[2] is True
    assert max(faulty.units) <= 2
    assert len(told) == 2


@pytest.mark.parametrize("how", [How.FAILS_BEFORE, How.FAILS_AFTER])
async def test_a_commit_that_fails_is_sent_again_unit_by_unit_and_each_is_told_once(faulty: Faulty, how: How) -> None:
    told: list[str] = []
    faulty.spoil("commit", how=how)
    async with running(faulty, told) as commits:
        results = await commit_all(commits, [creation(id) for id in "abc"])
    assert list(results.values()) == [True, True, True]
    assert sorted(told) == ["change-a", "change-b", "change-c"]


async def test_a_unit_that_cannot_be_written_takes_no_neighbour_along(faulty: Faulty) -> None:
    told: list[str] = []
    faulty.spoil("commit", at=1, times=2)  # the batch, and the first unit by itself
    async with running(faulty, told) as commits:
        results = await commit_all(commits, [creation(id) for id in "abc"])
    assert sorted(map(str, results.values()))[:2] == ["True", "True"]
    assert len(told) == 2


async def test_a_commit_that_is_never_answered_fails_after_ten_seconds_and_the_next_goes_on(
    faulty: Faulty, virtual_time: VirtualTime
) -> None:
    told: list[str] = []
    faulty.spoil("commit", how=How.HANGS_BEFORE)
    async with running(faulty, told) as commits:
        with pytest.raises(StorageError, match="within 10 s"):
            await commits.commit(creation("a"))
        assert virtual_time.now() == pytest.approx(10)
        assert await commits.commit(creation("a"))


class Lapsing:
    """The holder of a lease that is trusted until a moment."""

    def __init__(self, trusted_until: float) -> None:
        self.trusted_until = trusted_until
        self.heard = 0

    def is_trusted(self, now: float) -> bool:
        return now < self.trusted_until

    def landed(self) -> None:
        self.heard += 1


@pytest.mark.promise("P2", "P3", "I10")
async def test_nothing_is_sent_for_a_lease_that_is_not_trusted_any_more(faulty: Faulty) -> None:
    told: list[str] = []
    holders = [Lapsing(0.0), Lapsing(1.0), Lapsing(3.0)]
    faulty.spoil("commit", how=How.HANGS_AFTER, seconds=2)  # the second's trust ends while it waits for its turn
    refused: list[int] = []

    async def send(place: int) -> None:
        try:
            await commits.commit(creation(f"e{place}"), holders[place])
        except NotTrusted:
            refused.append(place)

    async with running(faulty, told) as commits, anyio.create_task_group() as tasks:
        tasks.start_soon(commits.commit, creation("first"))
        await anyio.sleep(0.5)
        for place in range(3):
            tasks.start_soon(send, place)
    assert sorted(refused) == [0, 1]
    assert [holder.heard for holder in holders] == [0, 0, 1]
    assert faulty.units == [1, 1]


async def test_a_unit_is_not_sent_again_once_its_lease_is_not_trusted_any_more(faulty: Faulty) -> None:
    told: list[str] = []
    errors: list[str] = []
    faulty.spoil("commit", how=How.FAILS_BEFORE, action=lambda: anyio.sleep(2))

    async def send(id: str) -> None:
        try:
            await commits.commit(creation(id), Lapsing(1.0))
        except StorageError as error:
            errors.append(str(error))

    async with running(faulty, told) as commits, anyio.create_task_group() as tasks:
        tasks.start_soon(send, "a")
        tasks.start_soon(send, "b")
    assert len(errors) == 2
    assert faulty.calls["commit"] == 1


async def test_a_caller_that_is_cancelled_withdraws_what_was_not_sent_and_waits_for_what_was(faulty: Faulty) -> None:
    told: list[str] = []
    faulty.spoil("commit", how=How.HANGS_AFTER, seconds=2)
    async with running(faulty, told) as commits:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commits.commit, creation("sent"))
            await anyio.sleep(0.5)
            tasks.start_soon(commits.commit, creation("waiting"))
            await anyio.sleep(0.5)
            tasks.cancel_scope.cancel()
        assert anyio.current_time() == pytest.approx(2)
        assert told == ["change-sent"]
        await anyio.sleep(1)
    assert await faulty.load("waiting") is None


async def test_a_caller_that_is_cancelled_does_not_wait_for_ever(faulty: Faulty) -> None:
    told: list[str] = []
    faulty.spoil("commit", how=How.HANGS_AFTER)
    async with running(faulty, told) as commits:
        with anyio.move_on_after(1):
            await commits.commit(creation("a"))
        assert anyio.current_time() == pytest.approx(3.5)


async def test_starts_are_kept_when_others_that_were_committed_with_them_are_refused(faulty: Faulty) -> None:
    async with Engine(faulty, workflows=[FLOW]) as engine:
        await engine.start(FLOW, 0, id="taken")
        refused: list[str] = []

        async def start(number: int) -> None:
            try:
                await engine.start(FLOW, number, id="taken" if number % 5 == 0 else f"e-{number}")
            except ValueError:
                refused.append(str(number))

        faulty.spoil("commit", how=How.FAILS_BEFORE, at=2)
        async with anyio.create_task_group() as tasks:
            for number in range(1, 31):
                tasks.start_soon(partial(start, number))
        assert len(refused) == 6
        assert len((await engine.find()).executions) == 25


async def test_where_a_batch_is_sent_again_one_by_one_each_is_told_as_soon_as_it_is_through(faulty: Faulty) -> None:
    faulty.spoil("commit")
    faulty.spoil("commit", at=2, how=How.HANGS_AFTER, seconds=5)
    told: list[float] = []
    async with running(faulty, []) as commits:
        began = anyio.current_time()

        async def send(id: str) -> None:
            assert await commits.commit(creation(id))
            told.append(anyio.current_time() - began)

        async with anyio.create_task_group() as tasks:
            for id in "abc":
                tasks.start_soon(send, id)
    assert [round(moment) for moment in sorted(told)] == [0, 5, 5]


async def test_a_unit_that_is_held_up_after_a_doubtful_try_is_looked_for_when_it_is_refused(store: Storage) -> None:
    """The connection was cut while the server went on: the row is locked until that first try has gone through."""
    tries = 0

    async def commit(units: Sequence[Unit]) -> Sequence[bool | None]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StorageError("cut off, and the server goes on")
        if tries <= 3:
            return [None] * len(units)
        if tries == 4:
            assert all(await store.commit(units)), "the first try goes through"
        return await store.commit(units)

    told: list[str] = []
    doubtful: Any = Through(store, commit=commit)
    async with running(doubtful, told) as commits:
        units = [creation(f"e{number}") for number in range(2)]
        assert await commit_all(commits, units) == {0: True, 1: True}
    assert sorted(told) == ["change-e0", "change-e1"]


async def test_whoever_waits_while_doubtful_units_are_looked_for_sleeps(
    store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Sequence[bool | None] | None] = [None, [None], [None], [False, False]]
    """cut off; each is held up alone; both are refused"""
    waits = 0

    async def commit(units: Sequence[Unit]) -> Sequence[bool | None]:
        answer = answers.pop(0)
        if answer is None:
            await store.commit(units)
            raise StorageError("cut off, and the server went on")
        return answer

    async def load(id: str) -> Stored | None:
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        return await store.load(id)

    event: Any = type(anyio.Event())
    wait = event.wait

    async def counted(self: anyio.Event) -> None:
        nonlocal waits
        waits += 1
        await wait(self)

    doubtful: Any = Through(store, commit=commit, load=load)
    async with running(doubtful, []) as commits:
        monkeypatch.setattr(event, "wait", counted)
        assert await commit_all(commits, [creation("e0"), creation("e1")]) == {0: True, 1: True}
    assert not answers
    assert waits < 40, "who waits looks only when there may be news"


async def test_a_doubtful_unit_whose_lease_ran_out_is_not_said_to_be_unwritten(store: Storage) -> None:
    holder = Lapsing(2.0)
    refused: list[StorageError] = []

    async def commit(units: Sequence[Unit]) -> Sequence[bool | None]:
        if len(units) == 2:
            raise StorageError("cut off")
        await anyio.sleep(1)
        return [None] * len(units)

    async def send(commits: Commits, number: int) -> None:
        try:
            await commits.commit(creation(f"e{number}"), holder)
        except StorageError as error:
            refused.append(error)

    doubtful: Any = Through(store, commit=commit)
    async with running(doubtful, []) as commits, anyio.create_task_group() as senders:
        for number in range(2):
            senders.start_soon(send, commits, number)
    assert len(refused) == 2
