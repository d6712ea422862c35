"""A graph as the text of a Mermaid flowchart."""

from __future__ import annotations

from typing import Final

from stepwell._graph import Graph, StepKind
from stepwell._picture._wording import worded

__all__ = ["mermaid"]

_SHAPES: Final = {
    StepKind.ACTIVITY: ("[", "]"),
    StepKind.DECISION: ("{", "}"),
    StepKind.WAIT: ("{{", "}}"),
    StepKind.SUBWORKFLOW: ("[[", "]]"),
    StepKind.SUCCEED: ("([", "])"),
    StepKind.FAIL: (">", "]"),
}
_MARKUP: Final = frozenset('"#<>&%`;{}[]()|\\')


def mermaid(graph: Graph) -> str:
    """Return a graph as the text of a Mermaid flowchart; nothing in a label can end the label or add to the drawing.

    Each kind of step has a shape of its own. A dotted edge is taken when something went wrong or took too long.
    """
    ids = {node.name: f"s{number}" for number, node in enumerate(graph.nodes, 1)}
    kinds = {node.name: node.kind for node in graph.nodes}
    lines = ["flowchart TD", f"    start(( )) --> {ids[graph.start]}"]
    for node in graph.nodes:
        before, after = _SHAPES[node.kind]
        lines.append(f'    {ids[node.name]}{before}"{_escaped(node.label)}"{after}')
    for edge in graph.edges:
        text, went_wrong = worded(kinds[edge.source], edge.label)
        label = f'|"{_escaped(text)}"|' if text else ""
        lines.append(f"    {ids[edge.source]} {'-.->' if went_wrong else '-->'}{label} {ids[edge.target]}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Return a text as it may stand in a quoted label: markup as entity codes, line ends as `<br>`."""
    return "<br>".join("".join(map(_character, line)) for line in text.splitlines()) or " "


def _character(character: str) -> str:
    if character in _MARKUP:
        return f"#{ord(character)};"
    return character if character.isprintable() else "\ufffd"
