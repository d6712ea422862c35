"""When executions are due: one queue per workflow and version, so that a claim costs what it takes and no more.

Nearly all places come in rising order, in a few series side by side: what is due now, the ends of leases, the ends of
equal delays. A queue keeps such series as they come: to append to one, or to take its head, costs the same however
long it is. A heap would go through log(n) places that nobody has looked at for long; it has only what fits no series.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stepwell.storage._protocol import Capability

__all__ = ["DueQueues"]

Place = tuple[int, str]
"""(due_at, id)"""

_SLACK: Final = 64
"""stale places that a small queue may hold before it is swept"""
_RUNS: Final = 4
"""rising runs in a queue; whoever looks for the first place looks at each"""


@dataclass(slots=True)
class _Queue:
    """Places in rising runs, and in a heap those that were too early for the last place of every run."""

    runs: list[deque[Place]] = field(default_factory=list[deque[Place]])
    heap: list[Place] = field(default_factory=list[Place])
    size: int = 0
    kept: int = 0
    """places that the last sweep left"""

    def add(self, place: Place) -> None:
        self.size += 1
        for run in self.runs:
            if not run or run[-1] <= place:
                run.append(place)
                return
        if len(self.runs) < _RUNS:
            self.runs.append(deque([place]))
        else:
            heapq.heappush(self.heap, place)

    def first(self) -> deque[Place] | list[Place]:
        """Return the run, or the heap, that begins with the least place; the empty heap if there is none."""
        first: deque[Place] | list[Place] = self.heap
        for run in self.runs:
            if run and (not first or run[0] < first[0]):
                first = run
        return first

    def drop(self, first: deque[Place] | list[Place]) -> None:
        """Drop the place that *first* begins with."""
        self.size -= 1
        if isinstance(first, deque):
            first.popleft()
        else:
            heapq.heappop(first)

    def places(self) -> Iterator[Place]:
        return chain(*self.runs, self.heap)

    def sweep(self, is_current: Callable[[Place], bool]) -> None:
        """Keep each current place once; sorting takes little, for it merges the runs."""
        kept = deque(place for place, _ in groupby(sorted(self.places())) if is_current(place))
        self.runs, self.heap, self.size, self.kept = [kept], [], len(kept), len(kept)


class DueQueues:
    """The executions that are due some time, each in the queue of its workflow and version.

    Nothing is ever removed from the middle of a queue: a place that *is_current* denies is stale, and dropped when it
    comes up, or when the queue outgrows its bound. So a queue holds at most twice as many places as executions, and a
    few more.
    """

    def __init__(self, is_current: Callable[[Place], bool]) -> None:
        self._is_current = is_current
        self._queues: defaultdict[Capability, _Queue] = defaultdict(_Queue)

    def add(self, pair: Capability, place: Place) -> None:
        """Give an execution its place; the one it had before is stale now."""
        queue = self._queues[pair]
        queue.add(place)
        if queue.size > 2 * queue.kept + _SLACK:
            queue.sweep(self._is_current)

    def take(self, pairs: Iterable[Capability], limit: int, now: int) -> list[Place]:
        """Take up to *limit* due places out of these queues: the first of each workflow, then the longest due of all.

        Whoever takes a place gives the execution another one.
        """
        taken: list[Place] = []
        first: list[tuple[Place, Capability]] = []
        later: list[tuple[Place, Capability]] = []
        workflows: set[str] = set()
        for place, pair in sorted(
            (place, pair) for pair in set(pairs) if (place := self._first(pair, now)) is not None
        ):
            (later if pair[0] in workflows else first).append((place, pair))
            workflows.add(pair[0])
        while len(taken) < limit and (first or later):
            place, pair = heapq.heappop(first or later)
            taken.append(place)
            if (follower := self._first(pair, now, after=place)) is not None:
                heapq.heappush(later, (follower, pair))
        return sorted(taken)

    def _first(self, pair: Capability, now: int, *, after: Place | None = None) -> Place | None:
        """Return the longest due place of a queue, and leave it there; drop those up to *after*, and stale ones.

        An execution may hold the same place twice, so that dropping one of them isn't enough.
        """
        if (queue := self._queues.get(pair)) is None:
            return None
        while (first := queue.first()) and first[0][0] <= now:
            place = first[0]
            if place != after and self._is_current(place):
                return place
            queue.drop(first)
        return None
