"""Statements that write many rows at once.

Between any two statements the writer thread gives the interpreter to the event loop's thread, and may get it back only
5 ms later, when that one is busy. A loop over single rows so becomes slower by orders of magnitude just when there is
most to do (measured: 320 steps/s instead of 22,000, beside a busy loop). One statement for many rows pays once.

What Python's driver can't bind as it is, it asks its adapters about, which costs five times as much as a number does
(measured: 290 instead of 55 ns), and None is such a thing. So NaN is bound in its place: SQLite has no NaN and makes it
NULL (https://sqlite.org/floatingpoint.html), and no value of ours is a float. For the same reason a row holds 0 or 1
instead of a bool, and the text of an enum's member.

`OR FAIL` spares SQLite a copy of every page it is about to change: nothing is left of a statement that fails anyway,
since its transaction is rolled back. That alone makes the statements faster than single ones.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

__all__ = ["Many", "insert", "update"]

_SIZES: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)
"""rows a statement; with these, any number of rows takes few statements, and few are ever compiled"""
_NULL: Final = math.nan


class Many:
    """A statement that takes a list of rows as VALUES. The text depends on nothing but their number."""

    __slots__ = ("_by_size",)

    def __init__(self, before: str, width: int, after: str = "") -> None:
        row = f"({', '.join('?' * width)})"
        self._by_size = [(size, f"{before}{', '.join([row] * size)}{after}") for size in _SIZES]

    def run(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run it for *rows*, none of which may depend on another; return how many rows of the table it touched."""
        touched = done = 0
        left = len(rows)
        for size, sql in self._by_size:
            while left >= size:
                part = rows[done : done + size]
                values = [_NULL if value is None else value for value in chain.from_iterable(part)]
                touched += connection.execute(sql, values).rowcount
                done += size
                left -= size
        return touched


def insert(table: str, columns: Sequence[str]) -> Many:
    """Return the statement that inserts rows with these columns."""
    return Many(f"INSERT OR FAIL INTO {table} ({', '.join(columns)}) VALUES ", len(columns))  # noqa: S608 (constants)


def update(table: str, columns: Sequence[str], *, key: Sequence[str], index: str | None = None) -> Many:
    """Return the statement that sets *columns* where *key* matches; a row is columns, then key.

    *index* is the one to find them by; without it they are found by the primary key.
    """
    found_by = "" if index is None else f"INDEXED BY {index} "
    settings = ", ".join(f"{column} = new.column{place}" for place, column in enumerate(columns, 1))
    where = " AND ".join(f"{table}.{column} = new.column{place}" for place, column in enumerate(key, len(columns) + 1))
    before = f"UPDATE OR FAIL {table} {found_by}SET {settings} FROM (VALUES "
    return Many(before, len(columns) + len(key), f") AS new WHERE {where}")
