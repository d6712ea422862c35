"""What the disk and SQLite give without Stepwell: one connection, plain statements, a write-ahead log, FULL.

A step here is what a step can't do without: its execution's row is updated, and 200 bytes are added to a journal.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["Raw", "commit_times", "created_per_second", "steps_per_second"]

_ROWS: Final = 1_000
_PAYLOAD: Final = "x" * 200
_TABLES: Final = """
CREATE TABLE executions (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE journal (id INTEGER PRIMARY KEY, execution_id TEXT NOT NULL, payload TEXT NOT NULL);
"""
_CREATE: Final = "INSERT INTO executions (id, revision, status) VALUES (?, 0, 'queued')"
_UPDATE: Final = "UPDATE executions SET revision = revision + 1 WHERE id = ?"
_INSERT: Final = "INSERT INTO journal (execution_id, payload) VALUES (?, ?)"


class Raw:
    """A database of its own, with some executions in it."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_TABLES)
        self._number = 0
        self._connection.execute("BEGIN IMMEDIATE")
        for number in range(_ROWS):
            self._connection.execute(_CREATE, (_id(number),))
        self._connection.execute("COMMIT")

    def commit(self, steps: int) -> None:
        """Commit so many steps in one transaction."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for number in range(self._number, self._number + steps):
            id = _id(number % _ROWS)
            execute(_UPDATE, (id,))
            execute(_INSERT, (id, _PAYLOAD))
        execute("COMMIT")
        self._number += steps

    def create(self, amount: int) -> None:
        """Commit so many new executions in one transaction, each with a line of its journal."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for number in range(self._number, self._number + amount):
            id = _id(_ROWS + number)
            execute(_CREATE, (id,))
            execute(_INSERT, (id, _PAYLOAD))
        execute("COMMIT")
        self._number += amount

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def _id(number: int) -> str:
    return f"execution-{number:08d}"


def steps_per_second(folder: Path, *, commits: int, together: int) -> float:
    """Return how many steps a second so many commits write, of *together* steps each."""
    return _per_second(folder, Raw.commit, commits, together)


def created_per_second(folder: Path, *, commits: int, together: int) -> float:
    """Return how many executions a second so many commits create, of *together* executions each."""
    return _per_second(folder, Raw.create, commits, together)


def _per_second(folder: Path, write: Callable[[Raw, int], None], commits: int, together: int) -> float:
    raw = Raw(folder)
    try:
        for _ in range(commits // 10 + 1):
            write(raw, together)
        begun = time.perf_counter()
        for _ in range(commits):
            write(raw, together)
        return commits * together / (time.perf_counter() - begun)
    finally:
        raw.close()


def commit_times(folder: Path, *, commits: int) -> list[float]:
    """Return how long each of so many commits of one step takes, in seconds."""
    raw = Raw(folder)
    try:
        for _ in range(commits // 10 + 1):
            raw.commit(1)
        times: list[float] = []
        for _ in range(commits):
            begun = time.perf_counter()
            raw.commit(1)
            times.append(time.perf_counter() - begun)
        return times
    finally:
        raw.close()
