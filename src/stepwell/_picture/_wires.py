"""The course of each edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepwell._picture._columns import ARROW, LOOP, Columns
from stepwell._picture._draft import LOOP_HEIGHT, Draft
from stepwell._picture._layers import Way
from stepwell._picture._ports import ports_of
from stepwell._picture._shapes import inset

if TYPE_CHECKING:
    from stepwell._picture._detours import Bus

__all__ = ["Point", "Wire", "wires_of"]

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Wire:
    """The course of an edge: between two points that differ in both coordinates it swings over, else it is straight."""

    points: tuple[Point, ...]
    label: Point | None
    """where the line below its label begins"""


def wires_of(draft: Draft, columns: Columns, buses: Sequence[Bus]) -> list[Wire]:
    """Return the course of each edge; it is within another step or label nowhere, and ends level at its target."""
    wiring = _Wiring(draft, columns, buses)
    return [wiring.wire(number, way) for number, way in enumerate(draft.layers.ways)]


class _Wiring:
    def __init__(self, draft: Draft, columns: Columns, buses: Sequence[Bus]) -> None:
        self.draft = draft
        self.columns = columns
        self.bus_of = {number: bus for bus in buses for number in bus.links}
        self.outs, self.ins = ports_of(draft, self.bus_of)
        self.loops: dict[int, tuple[int, int]] = {}
        """for each step, how many loops were led over it and how high they are"""

    def wire(self, number: int, way: Way) -> Wire:
        match way:
            case Way.THROUGH:
                return self.through(number)
            case Way.AROUND:
                return self.around(number)
            case _:
                return self.loop(number)

    def through(self, number: int) -> Wire:
        stops = self.draft.layers.stops[number]
        points = self.course(number, stops[1:-1])
        end = self.end(stops[-1], self.ins[number], -1)
        points += [(self.columns.lefts[self.draft.rank(stops[-1])] - ARROW, end[1]), end]
        return Wire(_straightened(points), self.label(number))

    def around(self, number: int) -> Wire:
        points = self.course(number, self.draft.layers.stops[number][1:])
        bus = self.bus_of[number]
        leave = self.columns.leaving(self.draft.rank(self.draft.links[number].source), bus)
        enter = self.columns.entering(bus)
        end = self.end(bus.target, self.ins[number], -1)
        points += [(leave, points[-1][1]), (leave, bus.line), (enter, bus.line), (enter, end[1]), end]
        return Wire(_straightened(points), self.label(number))

    def loop(self, number: int) -> Wire:
        """Lead a loop over its step, and over the loops before it."""
        link = self.draft.links[number]
        step, block = link.source, self.draft.blocks[link.source]
        nth, used = self.loops.get(step, (0, 0))
        self.loops[step] = nth + 1, used + LOOP_HEIGHT + link.rise
        begin, end = self.end(step, self.outs[number], 1), self.end(step, self.ins[number], -1)
        line = self.draft.heights[step] - block.height // 2 - used - LOOP_HEIGHT
        middle = self.columns.middles[self.draft.rank(step)]
        out = max(block.width, self.columns.loop_widths[step]) // 2 + LOOP * (nth + 1)
        right, left = middle + out, middle - out - 2
        points = (begin, (right, begin[1]), (right, line), (left, line), (left, end[1]), end)
        return Wire(points, (middle - link.label // 2, line) if link.label else None)

    def course(self, number: int, items: Sequence[int]) -> list[Point]:
        """Return an edge's course from its source past some items, each at the height that is kept for it there."""
        columns, layers = self.columns, self.draft.layers
        source = self.draft.links[number].source
        begin = self.end(source, self.outs[number], 1)
        points = [begin, (columns.rights[layers.ranks[source]], begin[1])]
        for item in items:
            rank, is_label = divmod(layers.places[item], 2)
            left, right = columns.labels[rank] if is_label else (columns.lefts[rank], columns.rights[rank])
            points += [(left, self.draft.heights[item]), (right, self.draft.heights[item])]
        return points

    def end(self, step: int, off: int, side: int) -> Point:
        """Return a point on a step's border: on its right (side 1) or on its left (side -1)."""
        block = self.draft.blocks[step]
        x = self.columns.middles[self.draft.rank(step)]
        return x + side * (block.width // 2 - inset(block, off)), self.draft.heights[step] + off

    def label(self, number: int) -> Point | None:
        layers = self.draft.layers
        stops = layers.stops[number]
        if len(stops) == 1 or stops[1] not in layers.labels:
            return None
        return self.columns.labels[layers.places[stops[1]] // 2][0], self.draft.heights[stops[1]]


def _straightened(points: Sequence[Point]) -> tuple[Point, ...]:
    """Leave out points that stand on a straight run between their neighbours."""
    kept: list[Point] = []
    for x, y in points:
        if kept and kept[-1] == (x, y):
            continue
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == x or kept[-2][1] == kept[-1][1] == y):
            kept.pop()
        kept.append((x, y))
    return tuple(kept)
