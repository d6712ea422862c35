"""A graph as an SVG file of its own: no script, no reference to anything outside, no text of a user as markup."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from stepwell._graph import Graph, GraphEdge, GraphNode, StepKind
from stepwell._picture._overlay import Mark, Overlay, StepMark
from stepwell._picture._shapes import Block, outline
from stepwell._picture._sketch import LINE, SMALL_LINE, Sketch, sketched
from stepwell._picture._style import FONT_SIZE, style
from stepwell._picture._text import all_for_xml, cut, for_xml

if TYPE_CHECKING:
    from stepwell._picture._wires import Point, Wire

__all__ = ["svg"]

_CORNER: Final = 6
_TITLE: Final = 1000
"""characters of a title or a description at most"""
_DOT: Final = 6
_RING: Final = 5
_SIGNS: Final = {
    Mark.DONE: "m-3.5 0 2.5 3 4.5-6",
    Mark.ACTIVE: "m-2-3.5 5 3.5-5 3.5z",
    Mark.HELD: "m-2-3v6m4-6v6",
    Mark.FAILED: "m-3-3 6 6m0-6-6 6",
    Mark.CANCELLED: "m-3.5 0h7",
}


def svg(graph: Graph, overlay: Overlay | None = None) -> str:
    """Return the picture of a graph, and of how one execution stands in it, as the text of an SVG file.

    Steps stand from left to right; each kind has a shape of its own. A dashed edge is taken when something went wrong
    or took too long. The same graph always gives the same text.
    """
    sketch = sketched(graph, overlay)
    width, height = sketch.layout.width, sketch.layout.height
    drawn = [
        f'<rect class="b" width="{width}" height="{height}" rx="8"/>',
        _start(*sketch.layout.start, is_taken=any(sketch.marks)),
        *_edges(sketch),
        *_nodes(sketch),
    ]
    title, description = _described(graph, overlay)
    # All is hashed and put together piece by piece: a large picture is not copied once more for either.
    digest = hashlib.sha256(f"{title}\n{description}".encode())
    for piece in drawn:
        digest.update(piece.encode())
    id = f"sw{digest.hexdigest()[:10]}"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    role = f'role="img" aria-labelledby="{id}t" aria-describedby="{id}d"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" id="{id}" {size} {role}>',
            f'<title id="{id}t">{title}</title>\n<desc id="{id}d">{description}</desc>',
            f"<style>{style(id, is_marked=sketch.is_marked)}</style>",
            *drawn,
            "</svg>\n",
        ]
    )


def _described(graph: Graph, overlay: Overlay | None) -> tuple[str, str]:
    count = len(graph.nodes)
    parts = [cut(graph.description, _TITLE)] if graph.description else []
    parts.append(f"{count} step{'s' if count > 1 else ''}, from {graph.start}.")
    parts += [overlay.summary] if overlay is not None else []
    title = f"Workflow {graph.label}, version {graph.version}"
    return for_xml(cut(title, _TITLE)), for_xml(" ".join(parts))


def _start(dot: Point, end: Point, *, is_taken: bool) -> str:
    x, y = dot
    line = f'<g class="e{" t" * is_taken}"><path d="M{x} {y}H{end[0] - _CORNER}"/>{_arrow(end)}</g>'
    return f'<circle class="s" cx="{x}" cy="{y}" r="{_DOT}"/>\n{line}'


def _arrow(tip: Point) -> str:
    return f'<path class="a" d="M{tip[0]} {tip[1]}l-8-4v8z"/>'


def _edges(sketch: Sketch) -> list[str]:
    """Return all edges; those that were taken come last, so that they lie on top."""
    told = [_told_of_edge(*given) for given in zip(sketch.graph.edges, sketch.taken, strict=True)]
    titles = all_for_xml(told)
    lines = iter(all_for_xml([line for label in sketch.labels for line in label]))
    others: list[str] = []
    taken: list[str] = []
    for number, wire in enumerate(sketch.layout.wires):
        count = sketch.taken[number]
        names = "e" + " d" * sketch.links[number].is_dashed + " t" * (count > 0)
        label = ""
        if wire.label is not None:
            x, y = wire.label
            size = len(sketch.labels[number])
            y -= 5 + SMALL_LINE * (size - 1)
            for line in islice(lines, size):
                label += f'<text x="{x + 2}" y="{y}">{line}</text>'
                y += SMALL_LINE
        way = f'<path d="{_path(wire)}"/>{_arrow(wire.points[-1])}'
        (taken if count else others).append(f'<g class="{names}"><title>{titles[number]}</title>{way}{label}</g>')
    return others + taken


def _told_of_edge(edge: GraphEdge, count: int) -> str:
    told = f"{edge.source} → {edge.target}: {edge.label}"
    if count:
        told += f", taken {'once' if count == 1 else f'{count} times'}"
    return cut(told, _TITLE)


def _path(wire: Wire) -> str:
    """Return the data of a path; it ends within the head of the arrow."""
    points = wire.points
    x0, y0 = points[0]
    data = f"M{x0} {y0}"
    for x, y in points[1:-5] if wire.is_bracket else points[1:-1]:
        if y == y0:
            data += f"H{x}"
        else:
            middle = (x0 + x) // 2
            data += f"C{middle} {y0} {middle} {y} {x} {y}"
        x0, y0 = x, y
    return data + (_bracket(points[-6:]) if wire.is_bracket else f"H{points[-1][0] - _CORNER}")


def _bracket(points: Sequence[Point]) -> str:
    """Return the data of a bracket: all its corners are of one roundness, for which the shortest side has room."""
    (begin, top), (out, _), (_, line), (back, _), _, (end, bottom) = points
    end -= _CORNER
    shortest = min(out - begin, abs(line - top), abs(back - out), abs(bottom - line), end - back)
    radius = min(_CORNER, shortest // 2)
    first = radius if line > top else -radius
    along = radius if back > out else -radius
    last = radius if bottom > line else -radius
    return (
        f"H{out - radius}q{radius} 0 {radius} {first}V{line - first}q0 {first} {along} {first}"
        f"H{back - along}q{along} 0 {along} {last}V{bottom - last}q0 {last} {radius} {last}H{end}"
    )


def _nodes(sketch: Sketch) -> list[str]:
    given = list(zip(sketch.graph.nodes, sketch.marks, strict=True))
    titles = all_for_xml([_told(node, mark) for node, mark in given])
    lines = iter(all_for_xml([line for label in sketch.lines for line in label]))
    found: list[str] = []
    for number, (node, mark) in enumerate(given):
        kind = node.kind if not sketch.is_marked else "u" if mark is None else mark.mark
        label = islice(lines, len(sketch.lines[number]))
        inner = _inner(sketch, number, list(label))
        found.append(f'<g class="n {kind}"><title>{titles[number]}</title>{inner}</g>')
    return found


def _inner(sketch: Sketch, number: int, lines: Sequence[str]) -> str:
    """Return a step's outline, the lines of its label, and the signs of what became of it."""
    block, mark = sketch.blocks[number], sketch.marks[number]
    x, y = sketch.layout.middles[number]
    left, top = x - block.width // 2, y - block.height // 2
    parts: list[str] = []
    if mark is not None and mark.is_current:
        around = Block(block.kind, block.width + 2 * _RING, block.height + 2 * _RING)
        parts.append(f'<g class="r">{outline(around, left - _RING, top - _RING)}</g>')
    parts.append(outline(block, left, top))
    note = "" if mark is None else mark.note
    baseline = y - (LINE * len(lines) + (SMALL_LINE if note else 0)) // 2 + FONT_SIZE
    for line in lines:
        parts.append(f'<text x="{x}" y="{baseline}">{line}</text>')
        baseline += LINE
    if note:
        parts.append(f'<text class="m" x="{x}" y="{baseline - 2}">{for_xml(note)}</text>')
    if mark is not None:
        # A rhombus has no corner at the upper right.
        at = x if block.kind is StepKind.DECISION else left + block.width - 5
        parts.append(f'<circle class="c" cx="{at}" cy="{top}" r="8"/>')
        parts.append(f'<path class="g" d="M{at} {top}{_SIGNS[mark.mark]}"/>')
    return "".join(parts)


def _told(node: GraphNode, mark: StepMark | None) -> str:
    """Return a step's title: what it is, what it is for, what bounds it, and what became of it."""
    named = node.label if node.label == node.name else f"{node.label} [{node.name}]"
    facts = [f"{named} ({node.kind})"]
    if node.description:
        facts.append(node.description)
    if node.retry is not None and node.retry.max_attempts > 1:
        facts.append(f"up to {node.retry.max_attempts} attempts")
    if isinstance(node.timeout, float | int):
        facts.append(f"timeout {node.timeout:g} s")
    if node.max_visits > 1:
        facts.append(f"up to {node.max_visits} visits")
    if mark is not None:
        facts.insert(1, mark.detail)
    return cut(" · ".join(facts), _TITLE)
