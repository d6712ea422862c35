"""What differs between two graphs of one workflow, for people: what a refused change consists of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, cast

import msgspec

from stepwell._failure import escaped, shorten

__all__ = ["difference", "differing"]

_SHOWN: Final = 20
_PATHS: Final = 3
"""paths that are told"""
_PATH: Final = 80
"""characters of each"""


def difference(before: str, after: str) -> str:
    """Return the lines that tell how two graphs, as JSON text, differ in what executions depend on."""
    old, new = _facts(msgspec.json.decode(before)), _facts(msgspec.json.decode(after))
    lines = [f"  - {fact}" for fact in old if fact not in new] + [f"  + {fact}" for fact in new if fact not in old]
    if not lines:
        return "  the steps and edges are the same; a type of the input, an output or a signal has changed"
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"  … and {len(lines) - _SHOWN} more"]
    return "\n".join(lines)


def differing(before: str, after: str) -> str:
    """Return the paths at which two JSON texts differ, such as `$.address.city`; never a value, which may be secret."""
    try:
        paths = list(islice(_paths("$", msgspec.json.decode(before), msgspec.json.decode(after)), _PATHS + 1)) or ["$"]
    except msgspec.MsgspecError:  # what is stored was damaged
        paths = ["$"]
    more = [] if len(paths) <= _PATHS else ["others"]
    told = [escaped(shorten(path, _PATH)) for path in paths[:_PATHS]] + more
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def _paths(path: str, before: Any, after: Any) -> Iterator[str]:
    """Yield the paths at which two values differ, as deep down as can be told."""
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for key in dict.fromkeys((*old, *new)):
            if key in old and key in new:
                yield from _paths(f"{path}.{key}", old[key], new[key])
            else:
                yield f"{path}.{key}"
        return
    if isinstance(before, list) and isinstance(after, list):
        left, right = cast("Sequence[Any]", before), cast("Sequence[Any]", after)
        if len(left) == len(right):
            for place, pair in enumerate(zip(left, right, strict=True)):
                yield from _paths(f"{path}[{place}]", *pair)
            return
    if before != after:
        yield path


def _facts(graph: dict[str, Any]) -> dict[str, None]:
    """Return the facts of a graph in order; labels, descriptions, retries and timeouts are none."""
    facts = {f"start: {graph['start']}": None}
    facts.update({f"step {node['name']}: {node['kind']}": None for node in graph["nodes"]})
    facts.update({f"edge {edge['from']} → {edge['to']} ({edge['label']})": None for edge in graph["edges"]})
    return facts
