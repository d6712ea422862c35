"""Graphs to draw, and what every drawing of one must keep to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations, pairwise
from typing import Any, Final
from xml.etree import ElementTree

from hypothesis import strategies as st

from stepwell._graph import Graph, GraphEdge, GraphNode, StepKind
from stepwell._picture._sketch import Sketch

__all__ = ["SVG", "check_layout", "edges_of", "graph_of", "graphs", "nodes_of", "parsed"]

SVG: Final = "{http://www.w3.org/2000/svg}"
_CODES: Final = {
    "a": StepKind.ACTIVITY,
    "d": StepKind.DECISION,
    "w": StepKind.WAIT,
    "s": StepKind.SUBWORKFLOW,
    "y": StepKind.SUCCEED,
    "n": StepKind.FAIL,
}

Box = tuple[int, int, int, int]
"""left, top, right, bottom"""


def graph_of(steps: str, edges: Iterable[str], *, label: str | None = None) -> Graph:
    """Return a graph: steps such as `load:a done:y` (the letter is the kind), edges such as `load done next`."""
    pairs = [step.split(":") for step in steps.split()]
    nodes = tuple(GraphNode(name, _CODES[kind], label or name, "", None, None, 1) for name, kind in pairs)
    made = tuple(GraphEdge(*edge.split(maxsplit=2)) for edge in edges)
    return Graph("drawn", "1", "drawn", "", nodes[0].name, nodes, made)


@st.composite
def graphs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Graph:
    """Draw a graph of any shape: loops, edges between the same steps, steps that nothing leads to, any text."""
    count = draw(st.integers(1, 12))
    texts = st.one_of(
        st.sampled_from(["load_order", "paid", "審査を待つ", "a b c " * 12, "x" * 90, ""]), st.text(max_size=40)
    )
    nodes = tuple(
        GraphNode(f"s{number}", draw(st.sampled_from(list(StepKind))), draw(texts), "", None, None, 1)
        for number in range(count)
    )
    numbers = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(numbers, numbers), max_size=24))
    labels = st.one_of(
        st.sampled_from(["next", "timeout", "catch:ValueError", "succeeded", "no"]), st.text(max_size=30)
    )
    edges = tuple(GraphEdge(f"s{source}", f"s{target}", draw(labels)) for source, target in pairs)
    return Graph("drawn", "1", draw(texts), draw(texts), "s0", nodes, edges)


def parsed(text: str) -> ElementTree.Element:
    """Return an SVG file's root; raises ParseError if it is not well-formed."""
    return ElementTree.fromstring(text)  # noqa: S314 - the text is our own


def nodes_of(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [group for group in root.iter(f"{SVG}g") if group.get("class", "").split()[0] == "n"]


def edges_of(root: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the groups of all edges; the line from the start has no title and is left out."""
    groups = [group for group in root.iter(f"{SVG}g") if group.get("class", "").split()[0] == "e"]
    return [group for group in groups if group.find(f"{SVG}title") is not None]


def check_layout(sketch: Sketch) -> None:
    """Assert all that a reader relies on: nothing overlaps, and edges run through nothing but their own ends."""
    layout = sketch.layout
    boxes = [_box(sketch, number) for number in range(len(sketch.blocks))]
    labels = [
        (wire.label[0], wire.label[1] - link.rise + 1, wire.label[0] + link.label, wire.label[1])
        for link, wire in zip(sketch.links, layout.wires, strict=True)
        if wire.label is not None
    ]
    assert len(labels) == sum(link.label > 0 for link in sketch.links)
    for one, other in combinations([*boxes, *labels], 2):
        assert not _meet(one, other), "two boxes or labels overlap"
    assert all(_is_on(sketch, box) for box in [*boxes, *labels])
    for number, wire in enumerate(layout.wires):
        _check_wire(sketch, number, boxes)
        for (x0, y0), (x1, y1) in pairwise(wire.points):
            run = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            assert _is_on(sketch, run), "an edge leaves the picture"
            assert not any(_meet(run, label) for label in labels), "an edge runs through a label"


def _check_wire(sketch: Sketch, number: int, boxes: list[Box]) -> None:
    link, points = sketch.links[number], sketch.layout.wires[number].points
    source, target = boxes[link.source], boxes[link.target]
    (x0, y0), (before, level), (x1, y1) = points[0], points[-2], points[-1]
    assert _meet((x0 - 1, y0, x0, y0), source), "an edge begins at its source"
    assert _meet((x1, y1, x1 + 1, y1), target), "an edge ends at its target"
    assert before < x1, "an arrow points to the right"
    assert level == y1, "an arrow is level"
    for (left, upper), (right, lower) in pairwise(points):
        run = (min(left, right), min(upper, lower), max(left, right), max(upper, lower))
        for step, box in enumerate(boxes):
            assert step in (link.source, link.target) or not _meet(run, box), "an edge runs through a step"
    for (left, upper), (right, lower) in pairwise(points[1:-1]):
        run = (min(left, right), min(upper, lower), max(left, right), max(upper, lower))
        assert not _meet(run, source), "an edge runs through its own source"
        assert not _meet(run, target), "an edge runs through its own target"


def _is_on(sketch: Sketch, box: Box) -> bool:
    """Tell whether it is within the picture."""
    return min(box[:2]) >= 0 and box[2] <= sketch.layout.width and box[3] <= sketch.layout.height


def _box(sketch: Sketch, number: int) -> Box:
    (x, y), block = sketch.layout.middles[number], sketch.blocks[number]
    return x - block.width // 2, y - block.height // 2, x + block.width // 2, y + block.height // 2


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
