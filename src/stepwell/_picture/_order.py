"""The order in each column: few crossings.

Sweeps to the right and to the left sort each column by the barycentre of its neighbours (Sugiyama et al. 1981); between
them neighbours change places where that saves crossings (Gansner et al. 1993). The best order that was seen is kept,
with what came first in the beginning above rather than below.
Minimising is NP-hard, so the number of sweeps is bounded, and lower for a large drawing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

__all__ = ["crossings", "put_in_order"]

_SMALL: Final = 500
_SWEEPS: Final = 24
_FEW_SWEEPS: Final = 4
_PATIENCE: Final = 4
_SWAPS: Final = 8

Lists = Sequence[Sequence[int]]


def put_in_order(columns: Sequence[list[int]], left: Lists, right: Lists) -> None:
    """Sort the items of each column in place."""
    filled = [column for column in columns if column]
    wide = [number for number, column in enumerate(filled) if len(column) > 1]
    places = [0] * len(left)
    _place(filled, places)
    fewest = crossings(filled, right, places)
    is_small = len(left) <= _SMALL
    first = places[:]
    best = [column[:] for column in filled]
    idle = 0
    for sweep in range(_SWEEPS if is_small else _FEW_SWEEPS):
        if fewest == 0 or idle == _PATIENCE:
            break
        for number in wide if sweep % 2 == 0 else reversed(wide):
            # Ties are settled the other way round in turn: either way may be the better one.
            _sort(filled[number], left if sweep % 2 == 0 else right, places, is_turned=sweep % 4 > 1)
        if is_small:
            _swap([filled[number] for number in wide], left, right, places)
        count = crossings(filled, right, places)
        idle += 1
        if count < fewest:
            fewest, idle = count, 0
            best = [column[:] for column in filled]
    # Upside down there are as many crossings: what came first is to stand above.
    is_upright = (
        sum([(first[order[0]] < first[order[-1]]) - (first[order[0]] > first[order[-1]]) for order in best]) >= 0
    )
    for column, order in zip(filled, best, strict=True):
        column[:] = order if is_upright else order[::-1]


def crossings(columns: Sequence[Sequence[int]], right: Lists, places: Sequence[int]) -> int:
    """Return how many pairs of joins between neighbouring columns cross: the inversions of their right ends."""
    count = 0
    for column in columns:
        if len(column) < 2:
            continue
        ends: list[int] = []
        for item in column:
            others = right[item]
            if len(others) == 1:
                ends.append(places[others[0]])
            else:
                ends += sorted([places[other] for other in others])
        seen: list[int] = []
        for number, end in enumerate(ends):
            if not number or seen[-1] <= end:
                seen.append(end)
            else:
                place = bisect_right(seen, end)
                count += number - place
                seen.insert(place, end)
    return count


def _place(columns: Sequence[Sequence[int]], places: list[int]) -> None:
    for column in columns:
        for place, item in enumerate(column):
            places[item] = place


def _sort(column: list[int], sides: Lists, places: list[int], *, is_turned: bool) -> None:
    """Sort by the mean place of the neighbours on one side; who has none there stays where it is."""
    means: dict[int, float] = {}
    for item in reversed(column) if is_turned else column:
        if others := sides[item]:
            means[item] = places[others[0]] if len(others) == 1 else sum([places[o] for o in others]) / len(others)
    moved = sorted(means, key=means.__getitem__)
    if len(moved) == len(column):
        column[:] = moved
    else:
        rest = iter(moved)
        column[:] = [next(rest) if item in means else item for item in column]
    for place, item in enumerate(column):
        places[item] = place


def _swap(columns: Sequence[list[int]], left: Lists, right: Lists, places: list[int]) -> None:
    """Let neighbours change places as long as that saves crossings."""
    for _ in range(_SWAPS):
        saved = 0
        for column in columns:
            for place in range(len(column) - 1):
                upper, lower = column[place], column[place + 1]
                gain = _gain(left[upper], left[lower], places) + _gain(right[upper], right[lower], places)
                if gain > 0:
                    column[place], column[place + 1] = lower, upper
                    places[lower], places[upper] = place, place + 1
                    saved += gain
        if not saved:
            return


def _gain(upper: Sequence[int], lower: Sequence[int], places: Sequence[int]) -> int:
    """Return how many crossings fewer there are on one side once two neighbours have changed places."""
    gain = 0
    for one in upper:
        place = places[one]
        for other in lower:
            gain += (places[other] < place) - (places[other] > place)
    return gain
