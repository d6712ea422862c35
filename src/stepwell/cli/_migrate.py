"""`stepwell migrate`."""

from __future__ import annotations

from typing import Final, Literal

from stepwell import StorageError
from stepwell.cli._database import SCHEMA, Database, Server, script_of, usable
from stepwell.cli._errors import USAGE, CommandError
from stepwell.cli._text import say

__all__ = ["DIALECTS", "migrate_database", "print_script"]

DIALECTS: Final = ("sqlite", "postgres")


async def migrate_database(database: Database) -> int:
    """Bring the tables up to date, and tell what was done."""
    async with usable(database) as storage:
        applied = storage.applied
    done = f"applied {', '.join(applied)}" if applied else "up to date, nothing to do"
    say(f"{database}: {done}")
    return 0


def print_script(database: Database, *, dialect: Literal["sqlite", "postgres"] | None, schema: str | None) -> int:
    """Print the SQL that makes the tables, for whoever runs it by hand. Nothing is connected to."""
    if dialect == "sqlite" and schema is not None:
        raise CommandError("--schema goes with --dialect postgres; an SQLite file has none", exit_code=USAGE)
    chosen = dialect or ("postgres" if isinstance(database, Server) else "sqlite")
    try:
        print(script_of(chosen, SCHEMA if schema is None else schema), end="")
    except StorageError as error:
        raise CommandError(str(error), exit_code=USAGE) from None
    return 0
