"""How high each item stands: near its neighbours, in the order of its column, and clear of those above and below.

Columns are swept to and fro. In each, the heights that lie nearest to what the items want and keep their distances are
an isotonic regression once the distances are taken off; pooling adjacent violators (Ayer et al. 1955) finds it in
linear time. At the end what stands almost level with its neighbour is set level with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

__all__ = ["heights"]

_SWEEPS: Final = 8
_FEW_SWEEPS: Final = 2
_SMALL: Final = 1_500
_LEVEL: Final = 14
"""how far off a level an item is set level all the same, in pixels"""
_FAR: Final = 1 << 60
_STRAIGHT: Final = 4.0
"""how much more an edge in passing insists on its height than a step does"""
_LOOSE: Final = 0.1
"""how much a label from which a detour begins does, or what has no neighbours on a side"""

Lists = Sequence[Sequence[int]]


def heights(
    columns: Sequence[Sequence[int]],
    pulls: tuple[Lists, Lists],
    rooms: tuple[Sequence[int], Sequence[int]],
    *,
    steps: int,
    chains: Sequence[Sequence[int]],
) -> list[int]:
    """Return each item's height in pixels, downwards; *rooms* are what it needs above and below.

    *pulls* are, on the left and on the right, those with which it should be level. Items up to *steps* are steps, the
    others edges in passing; each of the *chains* is such an edge, from step to step.
    """
    left, right = pulls
    above, below = rooms
    filled = [column for column in columns if column]
    where = [0.0] * len(left)
    offsets = [_offsets(column, above, below) for column in filled]
    for column, offset in zip(filled, offsets, strict=True):
        middle = offset[-1] / 2
        for item, place in zip(column, offset, strict=True):
            where[item] = place - middle
    weights = [1.0 if item < steps else _STRAIGHT if right[item] else _LOOSE for item in range(len(left))]
    # In the end an edge in passing is level with what comes next: it swings over once, right beside its source.
    both = [
        (after or before) if item >= steps else [*before, *after]
        for item, (before, after) in enumerate(zip(left, right, strict=True))
    ]
    sweeps = _SWEEPS if len(left) <= _SMALL else _FEW_SWEEPS
    pairs = list(zip(filled, offsets, strict=True))
    for sweep in range(sweeps):
        sides = both if sweep >= sweeps - 2 else left if sweep % 2 == 0 else right
        for column, offset in pairs if sweep % 2 == 0 else reversed(pairs):
            _settle(column, offset, sides, where, weights)
    found = [round(height) for height in where]
    _keep_apart(filled, found, above, below)
    room = _Room(filled, found, above, below)
    _level(filled, left, room)
    _level(filled[::-1], right, room)
    bent = _straighten(chains, room)
    _straighten(bent[::-1], room)  # with the room that the first time has made
    return found


def _offsets(column: Sequence[int], above: Sequence[int], below: Sequence[int]) -> list[int]:
    """Return how far down each item stands if they are stacked without any room to spare."""
    place = 0
    offsets = [0]
    for upper, lower in pairwise(column):
        place += below[upper] + above[lower]
        offsets.append(place)
    return offsets


def _settle(
    column: Sequence[int], offsets: Sequence[int], sides: Lists, where: list[float], weights: Sequence[float]
) -> None:
    """Move a column's items as near to their neighbours as their order and their distances let them."""
    if len(column) == 1:
        item = column[0]
        if others := sides[item]:
            where[item] = _middle(others, where)
        return
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for item, offset in zip(column, offsets, strict=True):
        others = sides[item]
        mass = weights[item]
        if len(others) == 1:
            mean = where[others[0]] - offset
        elif others:
            mean = _middle(others, where) - offset
        else:
            mean, mass = where[item] - offset, _LOOSE
        size = 1
        while means and means[-1] > mean:
            before = masses.pop()
            mean = (means.pop() * before + mean * mass) / (before + mass)
            mass += before
            size += sizes.pop()
        means.append(mean)
        masses.append(mass)
        sizes.append(size)
    place = 0
    for mean, size in zip(means, sizes, strict=True):
        if size == 1:
            where[column[place]] = mean + offsets[place]
        else:
            for number in range(place, place + size):
                where[column[number]] = mean + offsets[number]
        place += size


def _middle(others: Sequence[int], where: Sequence[float]) -> float:
    """Return the middle between the highest and the lowest neighbour but for the median where their number is odd."""
    found = sorted([where[other] for other in others])
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def _keep_apart(columns: Sequence[Sequence[int]], found: list[int], above: Sequence[int], below: Sequence[int]) -> None:
    """Make up for what rounding took."""
    for column in columns:
        least = -_FAR
        for item in column:
            height = found[item] = max(found[item], least + above[item])
            least = height + below[item]


class _Room:
    """How far an item can move between those above and below it."""

    def __init__(
        self, columns: Sequence[Sequence[int]], found: list[int], above: Sequence[int], below: Sequence[int]
    ) -> None:
        self.found = found
        # What has no item above it, or none below, is its own neighbour, ever so far away.
        self._uppers = uppers = list(range(len(found)))
        self._lowers = lowers = list(range(len(found)))
        self._up = up = [-_FAR] * len(found)
        self._down = down = [_FAR] * len(found)
        for column in columns:
            for upper, lower in pairwise(column):
                uppers[lower], lowers[upper] = upper, lower
                up[lower] = apart = below[upper] + above[lower]
                down[upper] = -apart

    def of(self, item: int) -> tuple[int, int]:
        """Return the highest and the lowest place for an item as all stand now."""
        found = self.found
        return found[self._uppers[item]] + self._up[item], found[self._lowers[item]] + self._down[item]

    def of_all(self, items: Sequence[int]) -> tuple[int, int]:
        """Return the highest and the lowest place that all of these items can have; the former is lower if none can."""
        highest, lowest = -_FAR, _FAR
        for item in items:
            upper, lower = self.of(item)
            highest, lowest = upper if upper > highest else highest, lower if lower < lowest else lowest
            if highest > lowest:  # as it is for most where edges are many: what comes after doesn't matter
                break
        return highest, lowest


def _level(columns: Sequence[Sequence[int]], sides: Lists, room: _Room) -> None:
    """Set items level with the neighbour that they almost are level with, where there is room."""
    found = room.found
    for column in columns:
        for item in column:
            height = found[item]
            others = sides[item]
            if len(others) == 1:
                near = found[others[0]]
                if near == height or abs(near - height) > _LEVEL:
                    continue
            else:
                heights = [found[other] for other in others if -_LEVEL <= found[other] - height <= _LEVEL]
                if not heights or height in heights:
                    continue
                near = min(heights, key=lambda other: (abs(other - height), other))
            highest, lowest = room.of(item)
            if highest <= near <= lowest:
                found[item] = near


def _straighten(chains: Sequence[Sequence[int]], room: _Room) -> list[Sequence[int]]:
    """Give all that an edge passes one height, where there is room: best that of its target or of its source.

    Return the chains that had neither before.
    """
    found = room.found
    bent: list[Sequence[int]] = []
    for chain in chains:
        if len(chain) == 2:
            continue
        inner = chain[1:-1]
        now, target, source = found[inner[0]], found[chain[-1]], found[chain[0]]
        if now in (target, source) and (len(inner) == 1 or all(found[item] == now for item in inner)):
            continue
        bent.append(chain)
        highest, lowest = room.of_all(inner)
        if highest <= lowest:
            is_level = highest <= source <= lowest and not highest <= target <= lowest
            height = source if is_level else max(highest, min(lowest, target))
            for item in inner:
                found[item] = height
    return bent
