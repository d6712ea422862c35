"""Bringing a schema up to date: numbered files, forward only, safe when many processes start at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from stepwell.storage import _migrate
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell.storage._postgres._database import Connection

__all__ = ["check", "migrate", "script"]

_OLDEST: Final = 130_000
"""the first server that has all that is used"""
_PLACEHOLDER: Final = "stepwell."
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 5730218))"
_IS_THERE: Final = "SELECT to_regclass($1) IS NOT NULL"


async def _version(connection: Connection, schema: str) -> int:
    """Return the number of the last file that was applied; 0 for a schema that is not there."""
    try:
        if not await connection.fetchval(_IS_THERE, f"{schema}.migrations"):
            return 0
        number: int | None = await connection.fetchval(f"SELECT max(number) FROM {schema}.migrations")  # noqa: S608 (checked)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StorageError(f"the role may not read the schema {schema}: {error}; grant it USAGE and SELECT") from error
    return number or 0


async def check(connection: Connection, schema: str) -> None:
    """See that the schema is what this library needs. Raises StorageError, which says what to do."""
    lacking = _migrate.pending("postgres", await _version(connection, schema))
    if lacking:
        raise StorageError(
            f"the schema {schema} lacks {len(lacking)} migrations ({lacking[0].name} first): run `stepwell migrate`, "
            "or let the storage do it (migrate=True) with a role that may create tables"
        )


async def migrate(connection: Connection, schema: str) -> list[str]:
    """Apply what is missing, in one transaction; return the names of the files that were applied.

    Others that come at the same time wait for it, and then find nothing to do. Raises StorageError for a schema that is
    newer than this library.
    """
    if connection.get_server_version() < (_OLDEST // 10_000, 0):
        raise StorageError(f"the server is Postgres {connection.get_server_version().major}, at least 13 is needed")
    if not _migrate.pending("postgres", await _version(connection, schema)):
        return []
    async with connection.transaction(isolation="read_committed"):
        await connection.fetchval(_LOCK, schema)
        applied: list[str] = []
        for migration in _migrate.pending("postgres", await _version(connection, schema)):
            if migration.number == 1:
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            await connection.execute(_in_schema(migration.sql, schema))
            await connection.execute(_in_schema(_migrate.record(migration, "stepwell.migrations"), schema))
            applied.append(migration.name)
        return applied


def _in_schema(sql: str, schema: str) -> str:
    return sql.replace(_PLACEHOLDER, f"{schema}.")


def script(schema: str) -> str:
    """Return all statements that make the schema from nothing, for whoever wants to run them by hand.

    A database that was made so is recognised as up to date.
    """
    parts = [f"CREATE SCHEMA IF NOT EXISTS {schema};"]
    for migration in _migrate.pending("postgres", 0):
        parts += [migration.sql.rstrip(), _migrate.record(migration, "stepwell.migrations")]
    return "BEGIN;\n\n" + _in_schema("\n\n".join(parts), schema) + "\n\nCOMMIT;\n"
