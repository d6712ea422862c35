"""The course of each edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from stepwell._picture._columns import ARROW, LOOP, Columns
from stepwell._picture._draft import LOOP_HEIGHT, Draft
from stepwell._picture._layers import Way
from stepwell._picture._ports import ports_of
from stepwell._picture._shapes import inset

if TYPE_CHECKING:
    from stepwell._picture._detours import Bus

__all__ = ["Point", "Wire", "wires_of"]

Point = tuple[int, int]


class Wire(NamedTuple):
    """The course of an edge: between two points that differ in both coordinates it swings over, else it is straight."""

    points: tuple[Point, ...]
    label: Point | None
    """where the line below its label begins"""
    is_bracket: bool
    """whether its last six points are a bracket: across, up or down, across, up or down, and across"""


def wires_of(draft: Draft, columns: Columns, buses: Sequence[Bus]) -> list[Wire]:
    """Return the course of each edge; it is within another step or label nowhere, and ends level at its target."""
    wiring = _Wiring(draft, columns, buses)
    through, around = Way.THROUGH, Way.AROUND
    return [
        wiring.through(number) if way is through else wiring.around(number) if way is around else wiring.loop(number)
        for number, way in enumerate(draft.layers.ways)
    ]


class _Wiring:
    def __init__(self, draft: Draft, columns: Columns, buses: Sequence[Bus]) -> None:
        self.draft = draft
        self.columns = columns
        self.links, self.stops, self.heights, self.blocks = draft.links, draft.layers.stops, draft.heights, draft.blocks
        self.bus_of = {number: bus for bus in buses for number in bus.links}
        self.outs, self.ins = ports_of(draft, self.bus_of)
        self.sides = [
            (columns.middles[rank] - block.width // 2, columns.middles[rank] + block.width // 2)
            for rank, block in zip(draft.layers.ranks, draft.blocks, strict=True)
        ]
        """of each step, from left to right"""
        steps = zip(columns.lefts, columns.rights, strict=True)
        ends = [ends for pair in zip(steps, columns.labels, strict=True) for ends in pair]
        self.ends = [ends[place] for place in draft.layers.places]
        """of each item's column, from left to right"""
        self.arrivals = {id(bus): self.arrival(bus) for bus in buses}
        self.loops: dict[int, tuple[int, int]] = {}
        """for each step, how many loops were led over it and how high they are"""

    def through(self, number: int) -> Wire:
        stops = self.stops[number]
        target = stops[-1]
        points, right = self.course(number, stops[1:-1])
        end = self.end(target, self.ins[number], -1)
        x, y = points[-1]
        if y != end[1]:
            bend = (self.ends[target][0] - ARROW, end[1])
            points += [bend] if x == right else [(right, y), bend]
        points.append(end)
        return Wire(tuple(points), self.label(number), is_bracket=False)

    def around(self, number: int) -> Wire:
        points, _ = self.course(number, self.stops[number][1:])
        bus = self.bus_of[number]
        leave = self.columns.leaving(self.draft.layers.ranks[self.links[number].source], bus)
        # The line lies beyond all that the edge leaves and enters, so that each of these points is a corner.
        points += [(leave, points[-1][1]), (leave, bus.line), *self.arrivals[id(bus)]]
        return Wire(tuple(points), self.label(number), is_bracket=True)

    def arrival(self, bus: Bus) -> tuple[Point, Point, Point]:
        """Return how all detours on one line get from there to their target."""
        enter = self.columns.entering(bus)
        end = self.end(bus.target, self.ins[bus.links[0]], -1)
        return (enter, bus.line), (enter, end[1]), end

    def loop(self, number: int) -> Wire:
        """Lead a loop over its step, and over the loops before it."""
        link = self.links[number]
        step, block = link.source, self.blocks[link.source]
        nth, used = self.loops.get(step, (0, 0))
        self.loops[step] = nth + 1, used + LOOP_HEIGHT + link.rise
        begin, end = self.end(step, self.outs[number], 1), self.end(step, self.ins[number], -1)
        line = self.heights[step] - block.height // 2 - used - LOOP_HEIGHT
        middle = self.columns.middles[self.draft.rank(step)]
        out = max(block.width, self.columns.loop_widths[step]) // 2 + LOOP * (nth + 1)
        right, left = middle + out, middle - out - 2
        points = (begin, (right, begin[1]), (right, line), (left, line), (left, end[1]), end)
        return Wire(points, (middle - link.label // 2, line) if link.label else None, is_bracket=True)

    def course(self, number: int, items: Sequence[int]) -> tuple[list[Point], int]:
        """Return an edge's course from its source past some items, each at the height that is kept for it there.

        It ends where the edge last swung over; from there it is level up to the place from left to right that is
        returned, the right end of the last column.
        """
        heights, ends = self.heights, self.ends
        source = self.links[number].source
        x, y = self.end(source, self.outs[number], 1)
        points = [(x, y)]
        right = ends[source][1]
        for item in items:
            left, beyond = ends[item]
            height = heights[item]
            if height != y:
                if x != right:
                    points.append((right, y))
                x, y = left, height
                points.append((x, y))
            right = beyond
        return points, right

    def end(self, step: int, off: int, side: int) -> Point:
        """Return a point on a step's border: on its right (side 1) or on its left (side -1)."""
        x = self.sides[step][side > 0]
        if off:
            x -= side * inset(self.blocks[step], off)
        return x, self.heights[step] + off

    def label(self, number: int) -> Point | None:
        """Return where the line below an edge's label begins: the first that it passes is the place for that."""
        if not self.links[number].label:
            return None
        item = self.stops[number][1]
        return self.ends[item][0], self.heights[item]
