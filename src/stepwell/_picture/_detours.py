"""Edges that make a detour: above or below all columns that they pass, on a line of their own.

All detours of one look and one direction into one step share a line, as the branches of a bus do. Lines are laid from
the shortest to the longest, each as near to the columns as those below it let it: on the side where its edges have less
far to go.

Between two columns of steps lies a gap, numbered as the rank on its left: there a detour goes up or down, on a track.
Detours leave a gap's tracks on its left and enter steps from tracks on its right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stepwell._picture._layers import Way

if TYPE_CHECKING:
    from stepwell._picture._draft import Draft

__all__ = ["Bus", "Tracks", "buses_of", "tracks_of"]

_APART: Final = 9
_CLEAR: Final = 5
_FAR: Final = 1 << 60
_HABIT: Final = 70
"""how much longer the way above or below may be for it to be taken all the same, in pixels for each end"""


@dataclass(slots=True)
class Bus:
    """Detours that share a line."""

    target: int
    is_back: bool
    entry: int
    """the gap from which it enters its target"""
    links: list[int] = field(default_factory=list[int])
    exits: set[int] = field(default_factory=set[int])
    """the gaps in which its edges leave"""
    line: int = 0
    """the height of the line"""
    is_above: bool = False

    @property
    def first(self) -> int:
        """The leftmost gap."""
        return min(self.entry, *self.exits)

    @property
    def last(self) -> int:
        """The rightmost gap."""
        return max(self.entry, *self.exits)


def buses_of(draft: Draft) -> list[Bus]:
    """Return the lines of all detours, laid."""
    buses: dict[tuple[int, bool, bool], Bus] = {}
    ranks = draft.layers.ranks
    for number, (link, way) in enumerate(zip(draft.links, draft.layers.ways, strict=True)):
        if way is Way.AROUND:
            is_back = ranks[link.target] <= ranks[link.source]
            key = (link.target, link.is_dashed, is_back)
            bus = buses.setdefault(key, Bus(link.target, is_back, ranks[link.target] - 1))
            bus.links.append(number)
            bus.exits.add(ranks[link.source])
    laid = sorted(buses.values(), key=lambda bus: bus.last - bus.first)
    _lay(laid, draft)
    return laid


def _lay(buses: Sequence[Bus], draft: Draft) -> None:
    top, bottom = _skylines(draft)
    heights, stops = draft.heights, draft.layers.stops
    for bus in buses:
        # Places are: the gap on the left of all steps, then for each rank its steps, its labels, and its gap.
        begin, end = 3 * bus.first + 3, 3 * bus.last + 4
        high, low = min(top[begin:end]) - _CLEAR, max(bottom[begin:end]) + _CLEAR
        ends = [heights[stops[number][-1]] for number in bus.links] + [heights[bus.target]]
        saved = sum(low - height for height in ends) - sum(height - high for height in ends)
        if saved > (-_HABIT if bus.is_back else _HABIT) * len(ends):
            bus.line, bus.is_above = high, True
            top[begin:end] = [high - _APART + _CLEAR] * (end - begin)
        else:
            bus.line = low
            bottom[begin:end] = [low + _APART - _CLEAR] * (end - begin)


def _skylines(draft: Draft) -> tuple[list[int], list[int]]:
    """Return how far each place is taken, upwards and downwards."""
    top, bottom = [_FAR], [-_FAR]
    heights, above, below = draft.heights, draft.above, draft.below
    for number, column in enumerate(draft.layers.columns):
        top.append(min((heights[item] - above[item] for item in column), default=_FAR))
        bottom.append(max((heights[item] + below[item] for item in column), default=-_FAR))
        if number % 2:
            top.append(_FAR)
            bottom.append(-_FAR)
    return top, bottom


@dataclass(slots=True)
class Tracks:
    """The tracks of one gap: buses that leave there, from left to right; and buses that enter a step from there."""

    leaving: list[Bus] = field(default_factory=list[Bus])
    entering: list[Bus] = field(default_factory=list[Bus])


def tracks_of(buses: Sequence[Bus], gaps: int) -> list[Tracks]:
    """Return the tracks of each gap, the one on the left of all steps last; ordered so that brackets nest."""
    tracks = [Tracks() for _ in range(gaps + 1)]
    for bus in buses:
        for gap in sorted(bus.exits):
            tracks[gap].leaving.append(bus)
        tracks[bus.entry].entering.append(bus)
    for one in tracks:
        one.leaving.sort(key=lambda bus: _depth(bus) if bus.is_back else _FAR - _depth(bus))
        one.entering.sort(key=lambda bus: -_depth(bus) if bus.is_back else _depth(bus) - _FAR)
    return tracks


def _depth(bus: Bus) -> int:
    """Return how far out its line lies."""
    return -bus.line if bus.is_above else bus.line
