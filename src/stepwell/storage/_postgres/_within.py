"""Commits that belong to a transaction of the caller's: the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import asyncpg

from stepwell.storage._postgres._commit import decide_and_write
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell._model import Unit
    from stepwell.storage._postgres._database import Database
    from stepwell.storage._postgres._sql import Statements

__all__ = ["commit_within"]

_PAUSE = 0.02
"""seconds between two looks at a row that somebody else has locked"""


async def commit_within(
    database: Database, sql: Statements, connection: Any, unit: Unit, *, now: int | None, channel: str
) -> bool:
    """Write *unit* with the transaction that is open on *connection*; hints go out with its commit.

    A row that somebody else has locked is waited for. Raises StorageError, also where no transaction is open.
    """
    if not callable(getattr(connection, "is_in_transaction", None)):
        raise StorageError(f"connection must be an asyncpg connection, not {type(connection).__name__}")
    if not connection.is_in_transaction():
        raise StorageError(
            "the connection has no open transaction: use it inside `async with connection.transaction():`, so that the "
            "execution exists exactly if your rows do"
        )
    try:
        while True:
            async with connection.transaction():  # a savepoint: what fails here leaves the caller's work alone
                (result,) = await decide_and_write(connection, sql, [unit], now)
            if result is not None:
                break
            await anyio.sleep(_PAUSE)
        if result and channel:
            await connection.execute("SELECT pg_notify($1, '')", channel)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise database.error(error) from error
    return result
