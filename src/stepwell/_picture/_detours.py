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
_BLOCK: Final = 32
"""places of a row that are looked up as one: about the root of how many a large drawing has"""
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
    first: int = 0
    """the leftmost gap"""
    last: int = 0
    """the rightmost gap"""
    line: int = 0
    """the height of the line"""
    is_above: bool = False

    def add(self, link: int, gap: int) -> None:
        """Add an edge that leaves in a gap."""
        self.links.append(link)
        self.exits.add(gap)
        self.first, self.last = min(self.first, gap), max(self.last, gap)


def buses_of(draft: Draft) -> list[Bus]:
    """Return the lines of all detours, laid."""
    buses: dict[tuple[int, bool, bool], Bus] = {}
    ranks, around = draft.layers.ranks, Way.AROUND
    for number, (link, way) in enumerate(zip(draft.links, draft.layers.ways, strict=True)):
        if way is around:
            is_back = ranks[link.target] <= ranks[link.source]
            key = (link.target, link.is_dashed, is_back)
            bus = buses.get(key)
            if bus is None:
                entry = ranks[link.target] - 1
                bus = buses[key] = Bus(link.target, is_back, entry, first=entry, last=entry)
            bus.add(number, ranks[link.source])
    laid = sorted(buses.values(), key=_turn)
    _lay(laid, draft)
    return laid


def _turn(bus: Bus) -> tuple[int, int]:
    """Return when it is its turn: among lines of one length, those that lie end to end come one after the other."""
    length = bus.last - bus.first
    return length, bus.first % (length + 1)


def _lay(buses: Sequence[Bus], draft: Draft) -> None:
    top, bottom = _skylines(draft)
    heights, stops = draft.heights, draft.layers.stops
    for bus in buses:
        # Places are: the gap on the left of all steps, then for each rank its steps with their labels, and its gap.
        begin, end = 2 * bus.first + 2, 2 * bus.last + 3
        high, low = -top.farthest(begin, end) - _CLEAR, bottom.farthest(begin, end) + _CLEAR
        ends = [heights[stops[number][-1]] for number in bus.links] + [heights[bus.target]]
        saved = len(ends) * (low + high) - 2 * sum(ends)
        if saved > (-_HABIT if bus.is_back else _HABIT) * len(ends):
            bus.line, bus.is_above = high, True
            top.take(begin, end, -high + _APART - _CLEAR)
        else:
            bus.line = low
            bottom.take(begin, end, low + _APART - _CLEAR)


def _skylines(draft: Draft) -> tuple[_Skyline, _Skyline]:
    """Return how far each place is taken, upwards and downwards."""
    top, bottom = [-_FAR], [-_FAR]
    heights, above, below, columns = draft.heights, draft.above, draft.below, draft.layers.columns
    for steps, labels in zip(columns[::2], columns[1::2], strict=True):
        ends = [(column[0], column[-1]) for column in (steps, labels) if column]
        top += [max([above[first] - heights[first] for first, _ in ends]), -_FAR]
        bottom += [max([below[last] + heights[last] for _, last in ends]), -_FAR]
    return _Skyline(top), _Skyline(bottom)


class _Skyline:
    """How far out each place in a row is taken; what is taken next lies farther out than all that was.

    Places are taken and looked up by blocks, since detours may be many and each pass all of the row.
    """

    def __init__(self, taken: list[int]) -> None:
        self.taken = taken
        """how far places were taken one by one"""
        self.whole = [-_FAR] * -(-len(taken) // _BLOCK)
        """how far whole blocks were"""
        self.farthest_in = [max(taken[begin : begin + _BLOCK]) for begin in range(0, len(taken), _BLOCK)]

    def farthest(self, begin: int, end: int) -> int:
        """Return how far out a range is taken that is not empty."""
        first, last = begin // _BLOCK, (end - 1) // _BLOCK
        if first == last:
            return max(self.whole[first], *self.taken[begin:end])
        head, tail = self.taken[begin : (first + 1) * _BLOCK], self.taken[last * _BLOCK : end]
        return max(self.whole[first], self.whole[last], *head, *tail, *self.farthest_in[first + 1 : last])

    def take(self, begin: int, end: int, far: int) -> None:
        """Take a range; *far* is beyond all that is taken there."""
        first, last = begin // _BLOCK, (end - 1) // _BLOCK
        for block in {first, last}:
            self.farthest_in[block] = max(self.farthest_in[block], far)
        if first == last:
            self.taken[begin:end] = [far] * (end - begin)
            return
        after, before = (first + 1) * _BLOCK, last * _BLOCK
        self.taken[begin:after] = [far] * (after - begin)
        self.taken[before:end] = [far] * (end - before)
        self.whole[first + 1 : last] = self.farthest_in[first + 1 : last] = [far] * (last - first - 1)


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
