"""A layout in the making: what its parts tell one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stepwell._picture._layers import Layers, Link, Way

if TYPE_CHECKING:
    from stepwell._picture._shapes import Block

__all__ = ["LOOP_HEIGHT", "Draft"]

LOOP_HEIGHT: Final = 10
"""how high a loop rises over its step, or over the loop or the label below it"""
_GAP: Final = 12
"""half the room between two steps, one above the other"""
_BELOW: Final = 5
"""what an edge with a label takes below"""
_PASSING: Final = 6


@dataclass(slots=True)
class Draft:
    """Steps and edges with their columns and, for each item in these, its room and its height."""

    blocks: Sequence[Block]
    links: Sequence[Link]
    start: int
    layers: Layers
    above: list[int] = field(init=False)
    below: list[int] = field(init=False)
    heights: list[int] = field(init=False)
    """how far down each item stands, in pixels"""

    def __post_init__(self) -> None:
        layers = self.layers
        passing = [_PASSING] * (len(layers.places) - len(self.blocks))
        halves = [block.height // 2 + _GAP for block in self.blocks]
        self.above, self.below = halves + passing, halves + passing
        for link, way in zip(self.links, layers.ways, strict=True):
            if way is Way.LOOP:
                self.above[link.source] += LOOP_HEIGHT + link.rise
        for item, number in layers.labels.items():
            self.above[item], self.below[item] = self.links[number].rise, _BELOW
        self.heights = [0] * len(layers.places)

    def rank(self, step: int) -> int:
        """Return the rank in which a step stands."""
        return self.layers.ranks[step]
