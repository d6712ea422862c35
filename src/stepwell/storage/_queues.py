"""When executions are due: one heap per workflow and version, so that a claim costs what it takes and no more."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stepwell.storage._protocol import Capability

__all__ = ["DueQueues"]

Place = tuple[int, str]
"""(due_at, id)"""

_SLACK: Final = 64
"""stale places that a small queue may hold before it is swept"""


@dataclass(slots=True)
class _Queue:
    heap: list[Place] = field(default_factory=list[Place])
    bound: int = _SLACK


class DueQueues:
    """The executions that are due some time, each in the queue of its workflow and version.

    Nothing is ever removed from the middle of a queue: a place that *is_current* denies is stale, and dropped when it
    comes up, or when the queue outgrows its bound. So a queue holds at most twice as many places as executions.
    """

    def __init__(self, is_current: Callable[[Place], bool]) -> None:
        self._is_current = is_current
        self._queues: defaultdict[Capability, _Queue] = defaultdict(_Queue)

    def add(self, pair: Capability, place: Place) -> None:
        """Give an execution its place; the one it had before is stale now."""
        queue = self._queues[pair]
        heapq.heappush(queue.heap, place)
        if len(queue.heap) > queue.bound:
            queue.heap = sorted({place for place in queue.heap if self._is_current(place)})
            queue.bound = 2 * len(queue.heap) + _SLACK

    def take(self, pairs: Iterable[Capability], limit: int, now: int) -> list[Place]:
        """Take up to *limit* due places out of these queues: the first of each, then the longest due of all.

        Whoever takes a place gives the execution another one.
        """
        taken: list[Place] = []
        later: list[tuple[Place, Capability]] = []
        first = [(place, pair) for pair in set(pairs) if (place := self._next(pair, now)) is not None]
        heapq.heapify(first)
        while len(taken) < limit and (first or later):
            place, pair = heapq.heappop(first or later)
            taken.append(place)
            if (follower := self._next(pair, now, besides=place)) is not None:
                heapq.heappush(later, (follower, pair))
        for place, pair in (*first, *later):
            self.add(pair, place)
        return sorted(taken)

    def _next(self, pair: Capability, now: int, *, besides: Place | None = None) -> Place | None:
        """Take the longest due place of a queue; an execution may hold the same one twice, next to each other."""
        heap = self._queues[pair].heap if pair in self._queues else []
        while heap and heap[0][0] <= now:
            place = heapq.heappop(heap)
            if place != besides and self._is_current(place):
                return place
        return None
