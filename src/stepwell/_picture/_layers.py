"""Where each step stands from left to right, and what each edge passes on its way.

The first steps of the method of Sugiyama, Tagawa and Toda (1981): edges that close a cycle are set aside, each step
gets a rank (the longest path to it), and an edge over several ranks gets an item in each column that it passes, so that
the order and the coordinates keep room for it. Between two columns of steps lies a column of labels, if there are any.

Rule 1: steps and edges are numbers here; item *i* below the number of steps is step *i*.
Rule 2: the number of items is linear in steps and edges. An edge that would need too many makes a detour around the
columns, and so does one that leads back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise
from typing import Final

__all__ = ["Layers", "Link", "Way", "layered", "pulls"]

_SPANS: Final = (5, 3, 2, 1)
_ITEMS: Final = 3
"""items for each step and edge, at most; with more of them the limit of a span goes down"""
_BUNDLE: Final = 4
"""so many long edges of one look into one step make a detour together, on one line"""


@dataclass(frozen=True, slots=True)
class Link:
    """An edge from step to step: the room for its label (0 for none) across and above it, and whether it is dashed."""

    source: int
    target: int
    label: int
    rise: int
    is_dashed: bool


class Way(Enum):
    """How an edge gets to its target."""

    THROUGH = auto()
    """from column to column"""
    AROUND = auto()
    """above or below all columns between: a long edge, or one that leads back"""
    LOOP = auto()
    """over its own step"""


@dataclass(slots=True)
class Layers:
    """The columns and what stands in them."""

    ranks: list[int]
    columns: list[list[int]]
    """items from top to bottom: of rank *r* the steps, and edges that pass them, are column *2r*, labels *2r + 1*"""
    left: list[list[int]]
    """for each item those that it is joined to in the column before"""
    right: list[list[int]]
    ways: list[Way]
    """for each edge"""
    stops: list[list[int]]
    """for each edge the items that it passes, from its source; those of a detour end beside the labels"""
    places: list[int]
    """the column of each item"""
    labels: dict[int, int] = field(default_factory=dict[int, int])
    """the edge whose label stands at an item"""


def layered(count: int, start: int, links: Sequence[Link]) -> Layers:
    """Return the columns of *count* steps, each in the order of a walk from the start: good to begin with."""
    leaving: list[list[int]] = [[] for _ in range(count)]
    for number, link in enumerate(links):
        leaving[link.source].append(number)
    before, after, back = _walked(count, start, links, leaving)
    ranks = _ranked(after, links, leaving, back)
    ways = _ways(links, ranks, back, _ITEMS * (count + len(links)))
    return _Builder(count, links, ranks, ways).built(before, leaving)


def _walked(
    count: int, start: int, links: Sequence[Link], leaving: Sequence[Sequence[int]]
) -> tuple[list[int], list[int], set[int]]:
    """Walk depth first; return the steps as they were entered and as they were left, and the edges that lead back.

    An edge into the start always leads back, so that the start stands leftmost.
    """
    before: list[int] = []
    after: list[int] = []
    back: set[int] = set()
    state = [0] * count
    for root in (start, *range(count)):
        if state[root]:
            continue
        state[root] = 1
        before.append(root)
        stack = [(root, iter(leaving[root]))]
        while stack:
            step, numbers = stack[-1]
            for number in numbers:
                target = links[number].target
                if state[target] == 0:
                    state[target] = 1
                    before.append(target)
                    stack.append((target, iter(leaving[target])))
                    break
                if state[target] == 1 or target == start:
                    back.add(number)
            else:
                state[step] = 2
                after.append(step)
                stack.pop()
    return before, after, back


def _ranked(after: Sequence[int], links: Sequence[Link], leaving: Sequence[Sequence[int]], back: set[int]) -> list[int]:
    ranks = [0] * len(after)
    for step in reversed(after):
        beyond = ranks[step] + 1
        for number in leaving[step]:
            target = links[number].target
            if ranks[target] < beyond and number not in back:
                ranks[target] = beyond
    return ranks


def _ways(links: Sequence[Link], ranks: Sequence[int], back: set[int], most: int) -> list[Way]:
    spans = [0 if number in back else ranks[link.target] - ranks[link.source] for number, link in enumerate(links)]
    longest = next((limit for limit in _SPANS if sum(span for span in spans if 1 < span <= limit) <= most), 1)
    crowd = Counter((link.target, link.is_dashed) for link, span in zip(links, spans, strict=True) if span > 1)
    ways: list[Way] = []
    for link, span in zip(links, spans, strict=True):
        if link.source == link.target:
            ways.append(Way.LOOP)
        elif span == 1 or (1 < span <= longest and crowd[link.target, link.is_dashed] < _BUNDLE):
            ways.append(Way.THROUGH)
        else:
            ways.append(Way.AROUND)
    return ways


class _Builder:
    """Columns in the making."""

    def __init__(self, count: int, links: Sequence[Link], ranks: list[int], ways: list[Way]) -> None:
        self.links = links
        self.ranks = ranks
        self.has_labels = [False] * (max(ranks) + 1)
        for link, way in zip(links, ways, strict=True):
            if link.label and way is not Way.LOOP:
                self.has_labels[ranks[link.source]] = True
        columns: list[list[int]] = [[] for _ in range(2 * len(self.has_labels))]
        left: list[list[int]] = [[] for _ in range(count)]
        right: list[list[int]] = [[] for _ in range(count)]
        self.layers = Layers(
            ranks, columns, left, right, ways, [[link.source] for link in links], [2 * r for r in ranks]
        )

    def built(self, order: Sequence[int], leaving: Sequence[Sequence[int]]) -> Layers:
        layers = self.layers
        for step in order:
            layers.columns[2 * self.ranks[step]].append(step)
            for number in sorted(leaving[step], key=self.side):
                if layers.ways[number] is not Way.LOOP:
                    self.lead(number)
        return layers

    def side(self, number: int) -> int:
        """Return where an edge should leave: at the top if it leads back, since it goes above all, or at the bottom."""
        link = self.links[number]
        if self.layers.ways[number] is Way.THROUGH:
            return 0
        return -1 if self.ranks[link.target] <= self.ranks[link.source] else 1

    def lead(self, number: int) -> None:
        """Lead an edge through the columns to its target; a detour only past the labels beside its source."""
        link = self.links[number]
        rank = self.ranks[link.source]
        stop = link.source
        if self.has_labels[rank]:
            stop = self.passing(number, 2 * rank + 1, stop)
            if link.label:
                self.layers.labels[stop] = number
        if self.layers.ways[number] is Way.AROUND:
            return
        for between in range(rank + 1, self.ranks[link.target]):
            stop = self.passing(number, 2 * between, stop)
            if self.has_labels[between]:
                stop = self.passing(number, 2 * between + 1, stop)
        self.join(stop, link.target)
        self.layers.stops[number].append(link.target)

    def passing(self, number: int, column: int, before: int) -> int:
        item = len(self.layers.left)
        self.layers.left.append([])
        self.layers.right.append([])
        self.layers.places.append(column)
        self.layers.columns[column].append(item)
        self.layers.stops[number].append(item)
        self.join(before, item)
        return item

    def join(self, left: int, right: int) -> None:
        self.layers.right[left].append(right)
        self.layers.left[right].append(left)


def pulls(layers: Layers, links: Sequence[Link]) -> tuple[list[list[int]], list[list[int]]]:
    """Return for each item the neighbours on its left and on its right with which it should be level.

    An edge in passing should be straight. For a step, what goes well counts more than what goes wrong, and the labels
    of detours don't count.
    """
    lefts: list[list[int]] = [[] for _ in layers.left]
    rights: list[list[int]] = [[] for _ in layers.left]
    for wanted in (False, True):
        more: list[tuple[int, int]] = []
        for link, way, stops in zip(links, layers.ways, layers.stops, strict=True):
            if way is Way.THROUGH and link.is_dashed is wanted:
                more += pairwise(stops)
        open_lefts = {after for _, after in more if not lefts[after]}
        open_rights = {before for before, _ in more if not rights[before]}
        for before, after in more:
            if after in open_lefts:
                lefts[after].append(before)
            if before in open_rights:
                rights[before].append(after)
    for item in layers.labels:
        lefts[item] = lefts[item] or layers.left[item]
    return lefts, rights
