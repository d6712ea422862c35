"""Reads, side by side with the writer: a few read-only connections, each used by one caller at a time.

A statement sees one moment. One that is cancelled is interrupted, and ended before its connection is used again: an
open statement would keep the connection at that moment, and every later answer would be stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
import sqlite_anyio

from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell.storage._sqlite._file import DatabaseFile

__all__ = ["Readers"]

_CONNECTIONS: Final = 4


class Readers:
    """Read-only connections to one file, opened when they are needed."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._idle: list[sqlite_anyio.Connection] = []
        self._places = anyio.Semaphore(_CONNECTIONS)
        self._is_closed = False

    async def select(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of one statement. Raises StorageError."""
        async with self._places:
            if self._is_closed:
                raise StorageError(f"{self._file.name}: the storage was closed")
            try:
                self._file.check()
                connection = self._idle.pop() if self._idle else await self._open()
                rows = await _all(connection, sql, parameters)
            except Exception as error:  # also that there is no thread to be had
                raise self._file.error(error) from error
            self._idle.append(connection)
            return rows

    async def close(self) -> None:
        """Wait for those who read, refuse those who come later, and close the connections."""
        self._is_closed = True
        for _ in range(_CONNECTIONS):
            await self._places.acquire()
        while self._idle:
            await self._idle.pop().close()

    async def _open(self) -> sqlite_anyio.Connection:
        return await sqlite_anyio.connect(self._file.uri, uri=True)


async def _all(connection: sqlite_anyio.Connection, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    try:
        cursor = await connection.execute(sql, parameters)
        return await cursor.fetchall()
    except BaseException:
        await connection.close()  # shielded by itself
        raise
