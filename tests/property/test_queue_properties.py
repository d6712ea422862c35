"""Random executions come, move, end and are taken: a queue gives what sorting all of them would have given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from stepwell.storage import Capability
from stepwell.storage._queues import DueQueues

Place = tuple[int, str]

PAIRS: Final[tuple[Capability, ...]] = (("refund", "1"), ("refund", "2"), ("order", "1"))
EXECUTIONS: Final = tuple(f"{number:02d}" for number in range(6))
LATEST: Final = 20
RUNS: Final = 2
SLACK: Final = 6
"""few, so that the heap and sweeps are met at once"""

pairs = st.sampled_from(PAIRS)
moments = st.integers(0, LATEST)
moves = st.tuples(st.just("move"), st.sampled_from(EXECUTIONS), st.none() | moments)
delays = st.tuples(st.just("delay"), st.sampled_from(EXECUTIONS), st.sampled_from([0, 3, 10]))
takes = st.tuples(st.just("take"), st.lists(pairs, max_size=4), st.integers(0, 8), st.none() | moments)


@pytest.fixture(scope="module", autouse=True)
def small_bounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepwell.storage._queues._RUNS", RUNS)
        patch.setattr("stepwell.storage._queues._SLACK", SLACK)
        yield


class World:
    """Queues, and beside them what each execution is due at: the truth that they are held against."""

    def __init__(self) -> None:
        self.now = 0
        self.due: dict[str, int | None] = dict.fromkeys(EXECUTIONS)
        self.queues = DueQueues(lambda place: self.due[place[1]] == place[0])

    def move(self, id: str, due_at: int | None) -> None:
        self.due[id] = due_at
        if due_at is not None:
            self.queues.add(pair_of(id), (due_at, id))

    def delay(self, id: str, delay: int) -> None:
        self.now += 1
        self.move(id, self.now + delay)

    def take(self, wanted: list[Capability], limit: int, due_at: int | None) -> None:
        expected = self.expected(wanted, limit)
        assert self.queues.take(wanted, limit, self.now) == expected
        for _, id in expected:
            self.move(id, due_at)

    def expected(self, wanted: list[Capability], limit: int) -> list[Place]:
        """Sort all: the first of each workflow, then the longest due of all."""
        due = sorted((at, id) for id, at in self.due.items() if at is not None and at <= self.now)
        named = [(place, pair_of(place[1])[0]) for place in due if pair_of(place[1]) in wanted]
        queues = [[place for place, of in named if of == workflow] for workflow in {workflow for _, workflow in named}]
        first = sorted(queue[0] for queue in queues if queue)[:limit]
        later = sorted(place for queue in queues for place in queue[1:])[: limit - len(first)]
        return sorted(first + later)

    def check_bounds(self) -> None:
        """No place is lost, and those that are stale are no more than was promised."""
        for pair, queue in self.queues._queues.items():  # pyright: ignore[reportPrivateUsage]
            executions = [id for id in EXECUTIONS if pair_of(id) == pair]
            places = list(queue.places())
            assert {(at, id) for id in executions if (at := self.due[id]) is not None} <= set(places)
            assert len(places) == queue.size <= 2 * len(executions) + SLACK
            assert len(queue.runs) <= RUNS
            assert all(list(run) == sorted(run) for run in queue.runs)
            if queue.heap:
                event("some places fit no run")


def pair_of(id: str) -> Capability:
    return PAIRS[int(id) % len(PAIRS)]


@settings(max_examples=150, deadline=None)
@given(st.lists(moves | delays | takes, min_size=20, max_size=100))
def test_queues_give_what_sorting_would(steps: list[tuple[str, ...]]) -> None:
    world = World()
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
        world.check_bounds()
    world.now = 2 * LATEST + len(steps)
    world.take(list(PAIRS), len(EXECUTIONS), None)
    assert world.queues.take(PAIRS, len(EXECUTIONS), world.now) == []


def test_series_side_by_side_need_no_heap() -> None:
    world = World()
    for number in range(3 * len(EXECUTIONS)):
        world.delay(EXECUTIONS[number % len(EXECUTIONS)], (0, 10)[number // len(PAIRS) % 2])
        assert not any(queue.heap for queue in world.queues._queues.values())  # pyright: ignore[reportPrivateUsage]
