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

_End = tuple[int, int, list[int]]
"""the height from which edges come, a number that settles ties, and the edges"""


def ports_of(draft: Draft, bus_of: Mapping[int, Bus]) -> tuple[list[int], list[int]]:
    """Return for each edge how far below the middle it leaves its source, and how far below it enters its target.

    Detours on one line enter as one edge. All routes of a decision leave at its tip. An edge to a step of the same
    height is straight.
    """
    outs: list[list[_End]] = [[] for _ in draft.blocks]
    ins: list[list[_End]] = [[] for _ in draft.blocks]
    heights = draft.heights
    entered: set[int] = set()
    for number, link in enumerate(draft.links):
        stops = draft.layers.stops[number]
        match draft.layers.ways[number]:
            case Way.LOOP:
                outs[link.source].append((_LOOP, number, [number]))
                ins[link.target].append((_LOOP, number, [number]))
            case Way.THROUGH:
                outs[link.source].append((heights[stops[1]], number, [number]))
                ins[link.target].append((heights[stops[-2]], number, [number]))
            case _:
                bus = bus_of[number]
                outs[link.source].append((bus.line if len(stops) == 1 else heights[stops[1]], number, [number]))
                if id(bus) not in entered:
                    entered.add(id(bus))
                    ins[link.target].append((bus.line, number, bus.links))
    ins[draft.start].append((heights[draft.start], -1, []))
    leave, enter = [0] * len(draft.links), [0] * len(draft.links)
    for step, block in enumerate(draft.blocks):
        if block.kind is not StepKind.DECISION or any(height == _LOOP for height, _, _ in outs[step]):
            _spread(outs[step], heights[step], block.reach, leave)
        _spread(ins[step], heights[step], block.reach, enter)
    return leave, enter


def _spread(ends: list[_End], middle: int, reach: int, offsets: list[int]) -> None:
    """Spread ends over a side of a step, *reach* pixels to either side of its middle.

    Each comes in as straight as can be; one that comes almost at the middle does so, and the others make room for it.
    """
    if not ends:
        return
    ends.sort(key=lambda end: end[:2])
    last = len(ends) - 1
    straight = min(range(len(ends)), key=lambda place: abs(ends[place][0] - middle))
    base = ends[straight][0] - middle
    found: list[float] = []
    if abs(base) <= _LEVEL:
        room = min((reach + base) / max(straight, 1), (reach - base) / max(last - straight, 1))
        apart = min(_APART, room)
        found = [base + (place - straight) * apart for place in range(len(ends))]
    elif not last:
        found = [0.0]
    else:
        apart = min(_APART, 2 * reach / last)
        for place, (height, _, _) in enumerate(ends):
            least = found[-1] + apart if found else -reach
            found.append(min(max(height - middle, least), reach - apart * (last - place)))
    for (_, _, numbers), off in zip(ends, found, strict=True):
        for number in numbers:
            offsets[number] = round(off)
