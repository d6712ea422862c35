"""Bringing a schema up to date: numbered files, forward only, safe when many processes start at once.

What is wrong is a SchemaError: whoever holds the connection knows which database it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from stepwell.storage import _migrate
from stepwell.storage._postgres._errors import SchemaError
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell.storage._postgres._database import Connection

__all__ = ["prepare", "script"]

_OLDEST: Final = 13
"""the first major version of the server that has all that is used"""
_PLACEHOLDER: Final = "stepwell."
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 5730218))"
_PATIENT: Final = """
    SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '0', true)"""
"""The first one to come makes the tables, and the others wait for it, whatever limits the role has."""

_OWNER: Final = "run `stepwell migrate` with a role that has it, or give a DBA what `stepwell migrate --sql` prints"
_WRITTEN: Final = ("executions", "journal", "signals", "workflows")
_APPENDED: Final = "journal"
"""the one of them that is never updated"""
_STANDING: Final = """
    SELECT quote_ident(current_user) AS role, has_schema_privilege(n.oid, 'USAGE') AS may_use,
           has_table_privilege(m.oid, 'SELECT') AS may_read
      FROM pg_namespace AS n
      LEFT JOIN pg_class AS m ON m.relnamespace = n.oid AND m.relname = 'migrations' AND m.relkind IN ('r', 'p')
     WHERE n.nspname = $1"""
"""By the catalogs, that everybody may read: asking for the table itself is an error for whoever may not see it."""

_RIGHTS: Final = """
    SELECT quote_ident(current_user) AS role, c.relname, has_table_privilege(c.oid, 'SELECT') AS may_select,
           has_table_privilege(c.oid, 'INSERT') AS may_insert, has_table_privilege(c.oid, 'UPDATE') AS may_update
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = ANY ($2::text[])
     ORDER BY c.relname"""


async def prepare(connection: Connection, schema: str, *, migrate: bool) -> tuple[str, ...]:
    """See that the server, the schema and the role are what this library needs; *migrate* what can be.

    Returns the names of the files that were applied. Raises SchemaError, which says what to do.
    """
    version = connection.get_server_version()
    if version.major < _OLDEST:
        raise SchemaError(f"the server is Postgres {version.major}, and at least {_OLDEST} is needed")
    lacking = _lacking(schema, await _version(connection, schema))
    if lacking and not migrate:
        raise SchemaError(_refusal(schema, lacking))
    applied = await _migrated(connection, schema) if lacking else ()
    await _see_rights(connection, schema)
    return applied


def _refusal(schema: str, lacking: tuple[_migrate.Migration, ...]) -> str:
    cure = "run `stepwell migrate` with a role that may create tables, or let the storage do it (migrate=True)"
    if lacking[0].number == 1:
        return f"there are no tables of Stepwell in the schema {schema}; {cure}"
    return f"the schema {schema} is too old, it lacks {', '.join(one.name for one in lacking)}; {cure}"


async def _version(connection: Connection, schema: str) -> int:
    """Return the number of the last file that was applied; 0 for a schema that is not there."""
    standing = await connection.fetchrow(_STANDING, schema.strip('"'))
    if standing is None or standing["may_read"] is None:
        return 0
    if not standing["may_use"]:
        raise _lacks(standing["role"], "USAGE", f"SCHEMA {schema}")
    if not standing["may_read"]:
        raise _lacks(standing["role"], "SELECT", f"{schema}.migrations")
    number: int | None = await connection.fetchval(f"SELECT max(number) FROM {schema}.migrations")  # noqa: S608 (checked)
    return number or 0


async def _see_rights(connection: Connection, schema: str) -> None:
    """See that the role may read, and if it may write anything, all that a worker writes."""
    rights = [dict(record) for record in await connection.fetch(_RIGHTS, schema.strip('"'), _WRITTEN)]
    writes = any(table["may_insert"] or table["may_update"] for table in rights)
    for table in rights:
        is_needed = {"SELECT": True, "INSERT": writes, "UPDATE": writes and table["relname"] != _APPENDED}
        lacks = [right for right, needed in is_needed.items() if needed and not table[f"may_{right.lower()}"]]
        if lacks:
            raise _lacks(table["role"], ", ".join(lacks), f"{schema}.{table['relname']}")


def _lacks(role: str, rights: str, place: str) -> SchemaError:
    return SchemaError(f"the role {role} lacks {rights} on {place}: GRANT {rights} ON {place} TO {role}")


def _lacking(schema: str, version: int) -> tuple[_migrate.Migration, ...]:
    try:
        return _migrate.pending("postgres", version)
    except StorageError as error:
        raise SchemaError(f"schema {schema}: {error}") from None


async def _migrated(connection: Connection, schema: str) -> tuple[str, ...]:
    """Apply what is missing, in one transaction. Who comes meanwhile waits for it, and then finds nothing to do."""
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(_PATIENT)
        await connection.fetchval(_LOCK, schema)
        version = await _version(connection, schema)
        lacking = _lacking(schema, version)
        if lacking and not version:
            await _make_schema(connection, schema)
        for migration in lacking:
            await connection.execute(_in_schema(migration.sql, schema))
            await connection.execute(_in_schema(_migrate.record(migration, "stepwell.migrations"), schema))
        return tuple(migration.name for migration in lacking)


async def _make_schema(connection: Connection, schema: str) -> None:
    """Make the schema if it is missing: a role may be let create tables in one, and no schemas."""
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema.strip('"')):
        try:
            await connection.execute(f"CREATE SCHEMA {schema}")
        except asyncpg.InsufficientPrivilegeError as error:
            text = f"the role lacks CREATE on the database, and so can't make the schema {schema}"
            raise SchemaError(f"{text}; {_OWNER}") from error
    elif not await connection.fetchval("SELECT has_schema_privilege($1, 'CREATE')", schema.strip('"')):
        raise SchemaError(f"the role lacks CREATE on the schema {schema}, and so can't make its tables; {_OWNER}")


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
