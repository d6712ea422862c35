"""What a purge of the memory storage takes: families, each whole, longest ended first.

A family is an execution without a parent, its children, and theirs. Whatever is in it may be looked at by whoever
started it, and the ids of children follow from their parent's; so it goes together, or stays.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepwell._model import Row

__all__ = ["Families", "check_purge"]

_Place = tuple[int, str]
"""(ended_at, id) of an execution without a parent"""


def check_purge(age: float, limit: int) -> None:
    """Raise ValueError unless *age* is a time that can have passed, and *limit* leaves something to do."""
    if not 0 <= age < math.inf:
        msg = f"age must be 0 seconds or more, not {age}"
        raise ValueError(msg)
    if limit < 1:
        msg = f"limit must be 1 or more, not {limit}"
        raise ValueError(msg)


class Families:
    """Which executions hang together, and those without a parent in the order in which they ended.

    Like the queues of what is due: a place is never removed from the middle, and one that has become stale (what was
    there was resumed, or is gone) is dropped when it comes up.
    """

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows
        self._ended: list[_Place] = []
        self._children: defaultdict[str, list[str]] = defaultdict(list)

    def note(self, before: Row | None, row: Row) -> None:
        """Look at a row that is new or has changed."""
        if row.parent is not None:
            if before is None:
                self._children[row.parent].append(row.id)
        elif row.ended_at is not None and (before is None or before.ended_at != row.ended_at):
            heapq.heappush(self._ended, (row.ended_at, row.id))

    def take(self, until: int, limit: int) -> list[str]:
        """Return what ended up to *until*, families whole: up to *limit* executions, or the one family that is larger.

        Whoever takes them deletes them.
        """
        taken: dict[str, None] = {}
        left: list[_Place] = []
        while self._ended and self._ended[0][0] <= until and len(taken) < limit:
            place = heapq.heappop(self._ended)
            ended_at, id = place
            if id in taken or id not in self._rows or self._rows[id].ended_at != ended_at:
                continue
            family = self.of(id)
            is_too_much = bool(taken) and len(taken) + len(family) > limit
            if is_too_much or not all(self._has_ended(each, until) for each in family):
                left.append(place)
            else:
                taken.update(dict.fromkeys(family))
            if is_too_much:
                break
        for place in left:
            heapq.heappush(self._ended, place)
        for id in taken:
            self._children.pop(id, None)
        return list(taken)

    def of(self, id: str) -> list[str]:
        """Return the execution and all below it."""
        family = [id]
        for each in family:  # grows as it goes
            family.extend(self._children.get(each, ()))
        return family

    def _has_ended(self, id: str, until: int) -> bool:
        ended_at = self._rows[id].ended_at
        return ended_at is not None and ended_at <= until
