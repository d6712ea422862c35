"""What differs between two graphs of one workflow, for people: what a refused change consists of."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["difference"]

_SHOWN: Final = 20


def difference(before: str, after: str) -> str:
    """Return the lines that tell how two graphs, as JSON text, differ in what executions depend on."""
    old, new = _facts(msgspec.json.decode(before)), _facts(msgspec.json.decode(after))
    lines = [f"  - {fact}" for fact in old if fact not in new] + [f"  + {fact}" for fact in new if fact not in old]
    if not lines:
        return "  the steps and edges are the same; a type of the input, an output or a signal has changed"
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"  … and {len(lines) - _SHOWN} more"]
    return "\n".join(lines)


def _facts(graph: dict[str, Any]) -> dict[str, None]:
    """Return the facts of a graph in order; labels, descriptions, retries and timeouts are none."""
    facts = {f"start: {graph['start']}": None}
    facts.update({f"step {node['name']}: {node['kind']}": None for node in graph["nodes"]})
    facts.update({f"edge {edge['from']} → {edge['to']} ({edge['label']})": None for edge in graph["edges"]})
    return facts
