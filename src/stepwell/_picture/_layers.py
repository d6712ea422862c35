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
from typing import Final, NamedTuple

__all__ = ["Layers", "Link", "Way", "layered", "pulls", "put_labels_in_order"]

_SPANS: Final = (5, 4, 3, 2, 1)
_ITEMS: Final = 3
"""items for each step and edge, at most; with more of them the limit of a span goes down"""
_MANY: Final = 2_000
"""if there are more items than this, one for each two steps and edges has to do: most of the time goes into items"""
_BUNDLE: Final = 4
"""so many long edges of one look into one step make a detour together, on one line"""


class Link(NamedTuple):
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
    left: list[Sequence[int]]
    """for each item in a column of steps those that it is joined to in the one before, past the labels between"""
    right: list[Sequence[int]]
    ways: list[Way]
    """for each edge"""
    stops: list[list[int]]
    """for each edge the items that it passes, from its source; those of a detour end beside the labels"""
    places: list[int]
    """the column of each item"""
    alone: list[tuple[int]] = field(default_factory=list[tuple[int]])
    """each item as the only neighbour: most have one on a side, and share it"""
    labels: dict[int, int] = field(default_factory=dict[int, int])
    """the edge whose label stands at an item"""


def layered(count: int, start: int, links: Sequence[Link]) -> Layers:
    """Return the columns of *count* steps, each in the order of a walk from the start: good to begin with."""
    leaving: list[list[int]] = [[] for _ in range(count)]
    for number, link in enumerate(links):
        leaving[link.source].append(number)
    before, after, back = _walked(count, start, links, leaving)
    ranks = _ranked(after, links, leaving, back)
    size = count + len(links)
    ways = _ways(links, ranks, back, min(_ITEMS * size, max(_MANY, size // 2)))
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
    longest = next((limit for limit in _SPANS if sum([span for span in spans if 1 < span <= limit]) <= most), 1)
    crowd = Counter([(link.target, link.is_dashed) for link, span in zip(links, spans, strict=True) if span > 1])
    through, around, loop = Way.THROUGH, Way.AROUND, Way.LOOP
    ways: list[Way] = []
    for link, span in zip(links, spans, strict=True):
        if span == 1 or (1 < span <= longest and crowd[link.target, link.is_dashed] < _BUNDLE):
            ways.append(through)
        else:
            ways.append(loop if link.source == link.target else around)
    return ways


class _Builder:
    """Columns in the making."""

    def __init__(self, count: int, links: Sequence[Link], ranks: list[int], ways: list[Way]) -> None:
        self.links = links
        self.ranks = ranks
        self.has_labels = [False] * (max(ranks) + 1)
        loop = Way.LOOP
        for link, way in zip(links, ways, strict=True):
            if link.label and way is not loop:
                self.has_labels[ranks[link.source]] = True
        columns: list[list[int]] = [[] for _ in range(2 * len(self.has_labels))]
        self.layers = Layers(ranks, columns, [], [], ways, [[link.source] for link in links], [2 * r for r in ranks])

    def built(self, order: Sequence[int], leaving: Sequence[Sequence[int]]) -> Layers:
        layers, loop, around = self.layers, Way.LOOP, Way.AROUND
        for step in order:
            layers.columns[2 * self.ranks[step]].append(step)
            for number in leaving[step]:
                way = layers.ways[number]
                if way is not loop:
                    self.lead(number, is_detour=way is around)
        layers.alone += [(item,) for item in range(len(layers.places))]
        self.join(len(order))
        return layers

    def lead(self, number: int, *, is_detour: bool) -> None:
        """Lead an edge through the columns to its target; a detour only past the labels beside its source."""
        link, layers = self.links[number], self.layers
        places, columns, stops = layers.places, layers.columns, layers.stops[number]
        rank = self.ranks[link.source]
        if link.label:
            layers.labels[len(places)] = number
        for column in range(2 * rank + 1, 2 * rank + 2 if is_detour else 2 * self.ranks[link.target]):
            if column % 2 == 0 or self.has_labels[column // 2]:
                item = len(places)
                places.append(column)
                columns[column].append(item)
                stops.append(item)
        if not is_detour:
            stops.append(link.target)

    def join(self, count: int) -> None:
        """Join what edges pass in columns of steps, of which there are *count*."""
        layers, through = self.layers, Way.THROUGH
        places, alone = layers.places, layers.alone
        lefts: list[list[int]] = [[] for _ in range(count)]
        rights: list[list[int]] = [[] for _ in range(count)]
        passing: list[Sequence[int]] = [()] * (len(places) - count)
        layers.left, layers.right = left, right = [*lefts, *passing], [*rights, *passing]
        for way, stops in zip(layers.ways, layers.stops, strict=True):
            if way is through:
                before = stops[0]
                for item in stops[1:]:
                    if places[item] % 2 == 0:
                        if before < count:
                            rights[before].append(item)
                        else:
                            right[before] = alone[item]
                        if item < count:
                            lefts[item].append(before)
                        else:
                            left[item] = alone[before]
                        before = item


def put_labels_in_order(layers: Layers, links: Sequence[Link]) -> None:
    """Sort the columns of labels so that edges cross only between there and the next column of steps.

    A detour leaves at the top if it leads back, since it goes above all then, or else at the bottom.
    """
    places, ranks = layers.places, layers.ranks
    nth = [0] * len(places)
    for column in layers.columns[::2]:
        for place, item in enumerate(column):
            nth[item] = place + 1
    most = len(places) + 1
    keys = [0] * len(places)
    around = Way.AROUND
    for link, way, stops in zip(links, layers.ways, layers.stops, strict=True):
        if len(stops) > 2:
            for before, item, after in zip(stops, stops[1:], stops[2:], strict=False):
                if places[item] % 2:
                    keys[item] = nth[before] * most + nth[after]
        elif way is around and len(stops) > 1:
            is_back = ranks[link.target] <= ranks[link.source]
            keys[stops[1]] = nth[link.source] * most + (0 if is_back else most - 1)
    for column in layers.columns[1::2]:
        column.sort(key=keys.__getitem__)


def pulls(layers: Layers, links: Sequence[Link]) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    """Return for each item the neighbours on its left and on its right with which it should be level.

    An edge in passing should be straight. For a step, what goes well counts more than what goes wrong, and the labels
    of detours don't count.
    """
    count, alone = len(layers.ranks), layers.alone
    into: list[list[int]] = [[] for _ in range(count)]
    out_of: list[list[int]] = [[] for _ in range(count)]
    passing: list[Sequence[int]] = [()] * (len(layers.places) - count)
    lefts, rights = [*into, *passing], [*out_of, *passing]
    dashed: list[list[int]] = []
    through = Way.THROUGH
    for link, way, stops in zip(links, layers.ways, layers.stops, strict=True):
        if way is through:
            for before, item, after in zip(stops, stops[1:], stops[2:], strict=False):
                lefts[item] = alone[before]
                rights[item] = alone[after]
            if link.is_dashed:
                dashed.append(stops)
            else:
                out_of[stops[0]].append(stops[1])
                into[stops[-1]].append(stops[-2])
    open_lefts = {stops[-1] for stops in dashed if not into[stops[-1]]}
    open_rights = {stops[0] for stops in dashed if not out_of[stops[0]]}
    for stops in dashed:
        if stops[-1] in open_lefts:
            into[stops[-1]].append(stops[-2])
        if stops[0] in open_rights:
            out_of[stops[0]].append(stops[1])
    for item, number in layers.labels.items():
        lefts[item] = lefts[item] or alone[links[number].source]
    return lefts, rights
