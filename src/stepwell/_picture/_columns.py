"""Where the columns and all between them are from left to right.

The room between two columns of steps is for, from left to right: loops over the steps on the left; edges that swing
over to another height; labels; tracks on which detours leave; edges that swing over again; tracks on which detours
enter; loops over the steps on the right; the heads of arrows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from stepwell._picture._layers import Way

if TYPE_CHECKING:
    from stepwell._picture._detours import Bus, Tracks
    from stepwell._picture._draft import Draft

__all__ = ["ARROW", "LOOP", "MARGIN", "Columns"]

MARGIN: Final = 14
ARROW: Final = 8
LOOP: Final = 8
"""how far a loop goes beyond its step, or beyond the loop below it"""
_CURVE: Final = 24
_STEEP: Final = 5
_WIDEST_CURVE: Final = 110
_TRACK: Final = 9
_START: Final = 36
"""the room for the dot at the start and the line from there"""
_DOT: Final = 8


class Columns:
    """Places from left to right, in pixels: of columns by rank, of tracks by gap and detour.

    Attributes:
        start: The middle of the dot at the start.
        lefts, rights, middles: Of the steps of each rank.
        labels: The ends of the labels after each rank; both are the same if there are none.
        loop_widths: The room for the widest label of the loops over a step that has any.
        width: Where the last column ends.
    """

    def __init__(self, draft: Draft, tracks: Sequence[Tracks]) -> None:
        self._draft = draft
        columns = draft.layers.columns
        steps = len(draft.blocks)
        self._widths = [
            max((draft.blocks[item].width for item in column if item < steps), default=0) for column in columns[::2]
        ]
        self._swings = self._measure_swings()
        self._loops = [0] * len(self._widths)
        self.loop_widths: dict[int, int] = {}
        self._measure_loops()
        self.lefts: list[int] = []
        self.rights: list[int] = []
        self.middles: list[int] = []
        self.labels: list[tuple[int, int]] = []
        self._leaving: dict[tuple[int, int], int] = {}
        self._entering: dict[int, int] = {}
        x = self._enter(tracks[-1], MARGIN)
        self.start = x + _DOT
        x += _START + LOOP * self._loops[0]
        for rank in range(len(self._widths)):
            x = self._add(rank, x, tracks[rank])
        self.width = x

    def leaving(self, gap: int, bus: Bus) -> int:
        """Return the track on which a detour leaves a gap."""
        return self._leaving[gap, id(bus)]

    def entering(self, bus: Bus) -> int:
        """Return the track on which a detour gets to its target."""
        return self._entering[id(bus)]

    def _measure_loops(self) -> None:
        count: Counter[int] = Counter()
        for link, way in zip(self._draft.links, self._draft.layers.ways, strict=True):
            if way is Way.LOOP:
                rank = self._draft.rank(link.source)
                room = link.label + 4
                self.loop_widths[link.source] = max(self.loop_widths.get(link.source, 0), room)
                self._widths[rank] = max(self._widths[rank], room)
                count[link.source] += 1
                self._loops[rank] = max(self._loops[rank], count[link.source])

    def _measure_swings(self) -> list[int]:
        """Return how far edges swing over, at most, on the right of each column."""
        heights, places = self._draft.heights, self._draft.layers.places
        swings = [[0] for _ in self._draft.layers.columns]
        for stops in self._draft.layers.stops:
            for before, after in pairwise(stops):
                swings[places[before]].append(abs(heights[after] - heights[before]))
        return list(map(max, swings))

    def _add(self, rank: int, x: int, tracks: Tracks) -> int:
        """Place a column and what is on its right; return where the next column begins."""
        labels = self._draft.layers.columns[2 * rank + 1]
        self.lefts.append(x)
        self.middles.append(x + self._widths[rank] // 2)
        x += self._widths[rank]
        self.rights.append(x)
        x += LOOP * self._loops[rank]
        if labels:
            x += self._curve(2 * rank)
            self.labels.append((x, x + self._widest(labels)))
            x = self.labels[-1][1]
        else:
            self.labels.append((x, x))
        for bus in tracks.leaving:
            x += _TRACK
            self._leaving[rank, id(bus)] = x
        if rank + 1 == len(self._widths):
            return x
        x = self._enter(tracks, x + self._curve(2 * rank + 1 if labels else 2 * rank))
        return x + LOOP * self._loops[rank + 1] + ARROW

    def _enter(self, tracks: Tracks, x: int) -> int:
        for bus in tracks.entering:
            self._entering[id(bus)] = x
            x += _TRACK
        return x

    def _widest(self, labels: Sequence[int]) -> int:
        numbers = self._draft.layers.labels
        return max([self._draft.links[numbers[item]].label for item in labels if item in numbers])

    def _curve(self, column: int) -> int:
        """Return the room for edges to swing over: more, the farther they have to."""
        return min(_CURVE + self._swings[column] // _STEEP, _WIDEST_CURVE)
