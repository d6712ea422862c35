"""The whole layout: from the sizes of steps and labels to the places of steps and the course of each edge.

Steps stand in columns from left to right. No step stands between two columns, and in a column each edge that passes has
a height of its own: so no edge can run through another step, nor through a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepwell._picture._columns import MARGIN, Columns
from stepwell._picture._detours import buses_of, tracks_of
from stepwell._picture._draft import Draft
from stepwell._picture._heights import heights
from stepwell._picture._layers import Link, Way, layered, pulls, put_labels_in_order
from stepwell._picture._order import put_in_order
from stepwell._picture._wires import Point, Wire, wires_of

if TYPE_CHECKING:
    from stepwell._picture._shapes import Block

__all__ = ["Layout", "laid_out"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is, in pixels from the upper left corner."""

    width: int
    height: int
    middles: list[Point]
    """of the steps"""
    wires: list[Wire]
    """of the edges"""
    start: tuple[Point, Point]
    """where the line to the first step begins and ends"""


def laid_out(blocks: Sequence[Block], start: int, links: Sequence[Link]) -> Layout:
    """Lay out steps and edges; the same input always gives the same layout."""
    layers = layered(len(blocks), start, links)
    put_in_order(layers.columns[::2], layers.left, layers.right)
    put_labels_in_order(layers, links)
    draft = Draft(blocks, links, start, layers)
    draft.heights = heights(
        layers.columns,
        pulls(layers, links),
        (draft.above, draft.below),
        steps=len(blocks),
        chains=[stops for stops, way in zip(layers.stops, layers.ways, strict=True) if way is Way.THROUGH],
    )
    buses = buses_of(draft)
    tops = [height - room for height, room in zip(draft.heights, draft.above, strict=True)]
    bottoms = [height + room for height, room in zip(draft.heights, draft.below, strict=True)]
    lines = [bus.line for bus in buses]
    shift = MARGIN - min(*tops, *lines, tops[0])
    draft.heights = [height + shift for height in draft.heights]
    for bus in buses:
        bus.line += shift
    columns = Columns(draft, tracks_of(buses, len(layers.columns) // 2))
    middles = [(columns.middles[draft.rank(step)], draft.heights[step]) for step in range(len(blocks))]
    x, y = middles[start]
    begin = ((columns.start, y), (x - blocks[start].width // 2, y))
    high = max(*bottoms, *lines, bottoms[0]) + shift + MARGIN
    return Layout(columns.width + MARGIN, high, middles, wires_of(draft, columns, buses), begin)
