"""The statement for a Query: constant fragments put together, every value bound."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from stepwell.storage._sqlite._rows import EXECUTION, json

if TYPE_CHECKING:
    from stepwell._model import Query

__all__ = ["select"]

_MAX_LIMIT: Final = 1_000

_SELECT: Final = f"""
    SELECT {EXECUTION} FROM executions LEFT JOIN inputs ON inputs.execution_id = executions.id WHERE true
"""  # noqa: S608 (made of constants)
_ORDER: Final = " ORDER BY executions.created_at DESC, executions.id DESC LIMIT ?"

_IDS: Final = " AND executions.id IN (SELECT value FROM json_each(?))"
_ONE_STATUS: Final = " AND status = ?"
_ANY_STATUS: Final = " AND status IN (SELECT value FROM json_each(?))"
_TAG: Final = " AND EXISTS (SELECT 1 FROM json_each(executions.tags) WHERE value = ?)"
_METADATA: Final = (
    " AND EXISTS (SELECT 1 FROM json_each(executions.metadata) WHERE key = ? AND type = ? AND value IS ?)"
)
_AFTER: Final = " AND (executions.created_at, executions.id) < (?, ?)"

_MAX_INTEGER: Final = 2**63 - 1
_SURROGATES: Final = range(0xD800, 0xE000)


def select(query: Query) -> tuple[str, list[Any]]:
    """Return the statement that finds the page, and one row more if there is more, with its parameters.

    Raises ValueError if `query.limit` is below 1 or above 1,000.
    """
    if not 1 <= query.limit <= _MAX_LIMIT:
        msg = f"limit must be from 1 to {_MAX_LIMIT}, not {query.limit}"
        raise ValueError(msg)
    parts = [_SELECT]
    values: list[Any] = []

    def where(fragment: str, *bound: object) -> None:
        parts.append(fragment)
        values.extend(_within(value) if isinstance(value, int) else value for value in bound)

    for fragment, value in (
        (" AND workflow = ?", query.workflow),
        (" AND version = ?", query.version),
        (" AND parent = ?", query.parent),
        (" AND executions.created_at > ?", query.created_after),
        (" AND executions.created_at < ?", query.created_before),
        (_TAG, query.tag),
    ):
        if value is not None:
            where(fragment, value)
    if query.ids:
        where(_IDS, json(query.ids))
    match [status.value for status in query.status]:
        case []:
            pass
        case [status]:
            where(_ONE_STATUS, status)
        case several:
            where(_ANY_STATUS, json(several))
    if query.id_prefix:
        where(" AND executions.id >= ?", query.id_prefix)
        if (end := _end_of(query.id_prefix)) is not None:
            where(" AND executions.id < ?", end)
    for key, value in query.metadata.items():
        where(_METADATA, key, *_typed(value))
    if query.after is not None:
        where(_AFTER, *query.after)
    where(_ORDER, query.limit + 1)
    return "".join(parts), values


def _within(number: int) -> int:
    """Return *number*, or the one next to it that SQLite can hold: no time or type lies beyond."""
    return max(-_MAX_INTEGER, min(number, _MAX_INTEGER))


def _end_of(prefix: str) -> str | None:
    """Return the first text after all that begin with *prefix*; None if nothing comes after them.

    SQLite compares UTF-8 byte by byte, which is the order of the code points.
    """
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def _typed(value: object) -> tuple[str, object]:
    """Return *value* as `json_each` shows it: type and value, so that true isn't 1, nor 1 the text '1'."""
    match value:
        case None:
            return "null", None
        case bool():
            return ("true", 1) if value else ("false", 0)
        case int():
            return "integer", value if -_MAX_INTEGER <= value <= _MAX_INTEGER else float(value)
        case float():
            return "real", value
        case str():
            return "text", value
        case _:
            text = json(value)
            return "object" if text.startswith("{") else "array", text
