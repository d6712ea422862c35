"""A graph whose texts are broken into lines and measured, and laid out: all that a writer of pictures needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stepwell._graph import Graph, GraphNode, StepKind
from stepwell._picture._layers import Link
from stepwell._picture._layout import Layout, laid_out
from stepwell._picture._shapes import Block, block_around
from stepwell._picture._style import FONT_SIZE, SMALL
from stepwell._picture._text import Lines, lines_of, width
from stepwell._picture._wording import worded

if TYPE_CHECKING:
    from stepwell._picture._overlay import Overlay, StepMark

__all__ = ["LINE", "SMALL_LINE", "Sketch", "sketched"]

LINE: Final = 17
SMALL_LINE: Final = 14
_ROOM: Final = 156
_DECISION_ROOM: Final = 112
_LINES: Final = 4
_LABEL_ROOM: Final = 150
_LABEL_LINES: Final = 3
_LABEL_GAP: Final = 3
_LABEL_ENDS: Final = 4
_NO_LABEL: Final[tuple[tuple[str, ...], int, int]] = (), 0, 0


@dataclass(frozen=True, slots=True)
class Sketch:
    """The pieces of a picture; steps and edges are in the order of the graph's."""

    graph: Graph
    marks: list[StepMark | None]
    is_marked: bool
    """whether an execution is shown"""
    lines: list[tuple[str, ...]]
    """of each step's label"""
    blocks: list[Block]
    labels: list[tuple[str, ...]]
    """the lines of each edge's label"""
    links: list[Link]
    taken: list[int]
    """how often each edge was"""
    layout: Layout


def sketched(graph: Graph, overlay: Overlay | None) -> Sketch:
    """Measure and lay out a graph, and what is shown of an execution."""
    marks = [None if overlay is None else overlay.steps.get(node.name) for node in graph.nodes]
    texts = [_lines(node) for node in graph.nodes]
    blocks = [_block(*given) for given in zip(graph.nodes, texts, marks, strict=True)]
    numbers = {node.name: number for number, node in enumerate(graph.nodes)}
    labels: list[tuple[str, ...]] = []
    links: list[Link] = []
    taken: list[int] = []
    for edge in graph.edges:
        source = numbers[edge.source]
        text, is_dashed = worded(graph.nodes[source].kind, edge.label)
        count = 0 if overlay is None else overlay.taken.get((edge.source, edge.label), 0)
        if count > 1:
            text = f"{text} \u00d7{count}".lstrip()
        label, across, rise = _label(text) if text else _NO_LABEL
        links.append(Link(source, numbers[edge.target], across, rise, is_dashed))
        labels.append(label)
        taken.append(count)
    layout = laid_out(blocks, numbers[graph.start], links)
    lines = [lines for lines, _ in texts]
    return Sketch(graph, marks, overlay is not None, lines, blocks, labels, links, taken, layout)


def _lines(node: GraphNode) -> Lines:
    room = _DECISION_ROOM if node.kind is StepKind.DECISION else _ROOM
    return lines_of(node.label, FONT_SIZE, room, _LINES)


def _label(text: str) -> tuple[tuple[str, ...], int, int]:
    """Return the lines of an edge's label, and the room that they take across and above the edge."""
    lines, across = lines_of(text, SMALL, _LABEL_ROOM, _LABEL_LINES)
    return lines, across + _LABEL_ENDS, len(lines) * SMALL_LINE + _LABEL_GAP


def _block(node: GraphNode, lines: Lines, mark: StepMark | None) -> Block:
    across, down = lines[1], LINE * len(lines[0])
    if mark is not None and mark.note:
        across, down = max(across, width(mark.note, SMALL)), down + SMALL_LINE
    return block_around(node.kind, across, down)
