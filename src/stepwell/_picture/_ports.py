"""Where edges end at the sides of a step: one above the other in the order in which they come, never crossing there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from stepwell._graph import StepKind
from stepwell._picture._layers import Way

if TYPE_CHECKING:
    from stepwell._picture._detours import Bus
    from stepwell._picture._draft import Draft

__all__ = ["ports_of"]

_APART: Final = 9
_LEVEL: Final = 3
"""so far off the middle an edge still comes in straight, in pixels; the least reach of a step is more"""
_LOOP: Final = -(1 << 60)
_START: Final = -1
"""in place of a number: the line to the first step, whose offset nobody asks for"""

_End = tuple[int, int]
"""the height from which an edge comes, and its number, which settles ties"""


def ports_of(draft: Draft, bus_of: Mapping[int, Bus]) -> tuple[list[int], list[int]]:
    """Return for each edge how far below the middle it leaves its source, and how far below it enters its target.

    Both have one entry more, for the line to the first step.

    Detours on one line enter as one edge. All routes of a decision leave at its tip, unless it
    has a loop. An edge to a step of the same
    height is straight.
    """
    outs: list[list[_End]] = [[] for _ in draft.blocks]
    ins: list[list[_End]] = [[] for _ in draft.blocks]
    heights, through, loop = draft.heights, Way.THROUGH, Way.LOOP
    is_tip = [block.kind is StepKind.DECISION for block in draft.blocks]
    for link, way in zip(draft.links, draft.layers.ways, strict=True):
        if way is loop:
            is_tip[link.source] = False
    for number, (link, way, stops) in enumerate(zip(draft.links, draft.layers.ways, draft.layers.stops, strict=True)):
        if way is through:
            if not is_tip[link.source]:
                outs[link.source].append((heights[stops[1]], number))
            ins[link.target].append((heights[stops[-2]], number))
        elif way is loop:
            outs[link.source].append((_LOOP, number))
            ins[link.target].append((_LOOP, number))
        else:
            bus = bus_of[number]
            if not is_tip[link.source]:
                outs[link.source].append((bus.line if len(stops) == 1 else heights[stops[1]], number))
            if bus.links[0] == number:
                ins[link.target].append((bus.line, number))
    ins[draft.start].append((heights[draft.start], _START))
    leave, enter = [0] * (len(draft.links) + 1), [0] * (len(draft.links) + 1)
    for step, block in enumerate(draft.blocks):
        reach = block.reach
        _spread(outs[step], heights[step], reach, leave)
        _spread(ins[step], heights[step], reach, enter)
    for number, bus in bus_of.items():
        enter[number] = enter[bus.links[0]]
    return leave, enter


def _spread(ends: list[_End], middle: int, reach: int, offsets: list[int]) -> None:
    """Spread ends over a side of a step, *reach* pixels to either side of its middle.

    Each comes in as straight as can be; one that comes almost at the middle does so, and the others make room for it.
    """
    if len(ends) < 2:
        for height, number in ends:
            offsets[number] = height - middle if abs(height - middle) <= _LEVEL else 0
        return
    ends.sort()
    last = len(ends) - 1
    off, straight = min([(abs(height - middle), place) for place, (height, _) in enumerate(ends)])
    if off <= _LEVEL:
        base = ends[straight][0] - middle
        room = min((reach + base) / max(straight, 1), (reach - base) / max(last - straight, 1))
        apart = min(_APART, room)
        for place, (_, number) in enumerate(ends):
            offsets[number] = round(base + (place - straight) * apart)
        return
    apart = min(_APART, 2 * reach / last)
    least = -float(reach)
    for place, (height, number) in enumerate(ends):
        found = min(max(height - middle, least), reach - apart * (last - place))
        offsets[number] = round(found)
        least = found + apart
