"""A graph in the language of Graphviz."""

from __future__ import annotations

from typing import Final

from stepwell._graph import Graph, StepKind
from stepwell._picture._text import clean
from stepwell._picture._wording import worded

__all__ = ["dot"]

_SHAPES: Final = {
    StepKind.ACTIVITY: "shape=box, style=rounded",
    StepKind.DECISION: "shape=diamond",
    StepKind.WAIT: "shape=hexagon",
    StepKind.SUBWORKFLOW: "shape=box, peripheries=2",
    StepKind.SUCCEED: "shape=oval",
    StepKind.FAIL: "shape=octagon",
}
_MARKUP: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;", "<": "&lt;", ">": "&gt;"})


def dot(graph: Graph) -> str:
    """Return a graph as a directed graph for Graphviz; nothing in a label can end the label or add to the drawing.

    Each kind of step has a shape of its own. A dashed edge is taken when something went wrong or took too long.
    """
    ids = {node.name: f"s{number}" for number, node in enumerate(graph.nodes, 1)}
    kinds = {node.name: node.kind for node in graph.nodes}
    lines = [
        f"digraph {_quoted(graph.workflow)} {{",
        '    rankdir=LR; node [fontname="sans-serif"]; edge [fontname="sans-serif", fontsize=11];',
        '    start [shape=point, width=0.15, label=""];',
    ]
    lines += [f"    {ids[node.name]} [label={_quoted(node.label)}, {_SHAPES[node.kind]}];" for node in graph.nodes]
    lines.append(f"    start -> {ids[graph.start]};")
    for edge in graph.edges:
        text, went_wrong = worded(kinds[edge.source], edge.label)
        options = [f"label={_quoted(text)}"] if text else []
        options += ["style=dashed"] if went_wrong else []
        suffix = f" [{', '.join(options)}]" if options else ""
        lines.append(f"    {ids[edge.source]} -> {ids[edge.target]}{suffix};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    """Return a quoted string in which a line end stays one and everything else means itself."""
    inner = "\\n".join(clean(line).translate(_MARKUP) for line in text.splitlines())
    return f'"{inner or " "}"'
