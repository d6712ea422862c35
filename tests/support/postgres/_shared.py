"""One database that is emptied between tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import anyio
import asyncpg

__all__ = ["SharedDatabase"]

USER_SCHEMAS: Final = "nspname !~ '^pg_' AND nspname <> 'information_schema'"

CATALOGS: Final = {
    "pg_attrdef": "adrelid IN (SELECT oid FROM relations)",
    "pg_attribute": "attrelid IN (SELECT oid FROM relations)",
    "pg_class": "oid IN (SELECT oid FROM relations)",
    "pg_constraint": "connamespace IN (SELECT oid FROM schemas)",
    "pg_namespace": "oid IN (SELECT oid FROM schemas)",
    "pg_proc": "pronamespace IN (SELECT oid FROM schemas)",
    "pg_trigger": "tgrelid IN (SELECT oid FROM relations)",
    "pg_type": "typnamespace IN (SELECT oid FROM schemas)",
}
"""The catalogs in which DDL leaves its traces, and which of their rows are about the user's objects."""

TRACES: Final = " UNION ALL ".join(
    f"SELECT '{catalog}', count(*), max(xmin::text::bigint), sum(xmin::text::bigint) FROM {catalog} WHERE {condition}"  # noqa: S608
    for catalog, condition in CATALOGS.items()
)
DEFINITIONS: Final = f"""
WITH schemas AS MATERIALIZED (SELECT oid FROM pg_namespace WHERE {USER_SCHEMAS}),
relations AS MATERIALIZED (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM schemas))
SELECT string_agg(traces::text, ' ' ORDER BY traces::text) FROM ({TRACES}) traces
"""  # noqa: S608
"""Every row of a catalog tells which transaction wrote it: a digest of these changes with every DDL."""

TABLES: Final = f"""
SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON relnamespace = pg_namespace.oid
WHERE relkind = 'r' AND {USER_SCHEMAS} ORDER BY 1
"""  # noqa: S608

SEQUENCES: Final = f"""
SELECT format('%I.%I', schemaname, sequencename) AS name, coalesce(last_value, start_value) AS value,
    last_value IS NOT NULL AS is_called
FROM pg_sequences WHERE {USER_SCHEMAS.replace("nspname", "schemaname")}
"""  # noqa: S608

LEAVE: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
PATIENCE: Final = 10.0
"""Seconds that emptying may take; a new database is faster than that."""


@dataclass
class SharedDatabase:
    """A database, and what it looked like when it was new."""

    dsn: str
    connection: asyncpg.Connection[asyncpg.Record]
    check: str
    """the query that tells whether anything but the rows to delete is other than it was"""
    state: str
    """its answer when the database was new"""
    reset: str
    """the statement that deletes the rows"""
    uses: int = 1

    @classmethod
    async def open(cls, dsn: str) -> SharedDatabase:
        """Look at a new database. Rows that are in it already belong there (a schema's version, say)."""
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn)
        tables: list[str] = [row[0] for row in await connection.fetch(TABLES)]
        filled = [one for one in tables if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {one})")]  # noqa: S608
        kept = [f"(SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {one} t)" for one in filled]  # noqa: S608
        check = f"SELECT concat_ws(' ', ({DEFINITIONS}), {', '.join([*kept, 'NULL'])})"
        # In one statement: foreign keys are looked at when it is over, so the order doesn't matter.
        emptied = [one for one in tables if one not in filled]
        deletes = ", ".join(f"t{number} AS (DELETE FROM {one})" for number, one in enumerate(emptied))  # noqa: S608
        sequences = await connection.fetch(SEQUENCES)
        restarts = [f"setval('{name}', {value}, {is_called})" for name, value, is_called in sequences]
        reset = f"{'WITH ' if deletes else ''}{deletes} SELECT {', '.join([*restarts, 'NULL'])}"
        return cls(dsn, connection, check, str(await connection.fetchval(check)), reset)

    async def is_emptied(self) -> bool:
        """Make it as it was; tell whether that can be done by deleting rows."""
        self.uses += 1
        try:
            with anyio.fail_after(PATIENCE):
                while await self.connection.fetch(LEAVE):  # noqa: ASYNC110 (there is no event to wait for)
                    # Asked to wait itself, Postgres looks every 100 ms only.
                    await anyio.sleep(0.001)
            if await self.connection.fetchval(self.check, timeout=PATIENCE) != self.state:
                return False
            await self.connection.execute(self.reset, timeout=PATIENCE)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # the test broke it: TimeoutError, too
            return False
        return True

    def terminate(self) -> None:
        """Break off its own connection."""
        self.connection.terminate()
