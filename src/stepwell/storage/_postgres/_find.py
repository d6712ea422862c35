"""The statement for a Query: constant fragments put together, every value bound."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from stepwell.storage._postgres._rows import json
from stepwell.storage._postgres._times import within

if TYPE_CHECKING:
    from stepwell._model import Query

__all__ = ["select"]

_MAX_LIMIT: Final = 1_000
_SURROGATES: Final = range(0xD800, 0xE000)


def select(beginning: str, query: Query) -> tuple[str, list[Any]]:
    """Return the statement that finds the page, and one row more if there is more, with its parameters.

    Raises ValueError if `query.limit` is below 1 or above 1,000.
    """
    if not 1 <= query.limit <= _MAX_LIMIT:
        msg = f"limit must be from 1 to {_MAX_LIMIT}, not {query.limit}"
        raise ValueError(msg)
    parts = [beginning]
    values: list[Any] = []

    def where(fragment: str, *bound: object) -> None:
        for value in bound:
            values.append(within(value) if isinstance(value, int) else value)
            fragment = fragment.replace("?", f"${len(values)}", 1)
        parts.append(fragment)

    for fragment, value in (
        (" AND e.workflow = ?", query.workflow),
        (" AND e.version = ?", query.version),
        (" AND e.parent = ?", query.parent),
        (" AND e.created_at > ?", query.created_after),
        (" AND e.created_at < ?", query.created_before),
        (" AND jsonb_exists(e.tags, ?::text)", query.tag),
    ):
        if value is not None:
            where(fragment, value)
    if query.ids:
        where(" AND e.id = ANY(?::text[])", list(query.ids))
    match [status.value for status in query.status]:
        case []:
            pass
        case [status]:
            where(" AND e.status = ?", status)
        case several:
            where(" AND e.status = ANY(?::text[])", several)
    if query.id_prefix:
        where(" AND e.id >= ?", query.id_prefix)
        if (end := _end_of(query.id_prefix)) is not None:
            where(" AND e.id < ?", end)
    for key, value in query.metadata.items():
        where(" AND e.metadata -> ?::text = ?::text::jsonb", key, json(value))
    if query.after is not None:
        where(" AND (e.created_at, e.id) < (?, ?)", *query.after)
    where(" ORDER BY e.created_at DESC, e.id DESC LIMIT ?", query.limit + 1)
    return "".join(parts), values


def _end_of(prefix: str) -> str | None:
    """Return the first text after all that begin with *prefix*; None if nothing comes after them.

    The C collation compares UTF-8 byte by byte, which is the order of the code points.
    """
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)
