"""The schema's history: numbered `.sql` files per dialect, applied in order, never undone.

Rule 1: a file that was released is never changed; what comes later is a file with the next number.
Rule 2: whoever opens a database brings it up to date, under its write lock, so any number may start at once.
Rule 3: a database that is newer than the library is refused, never guessed at.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final, Literal

from msgspec import Struct

from stepwell.storage._protocol import StorageError

__all__ = ["Dialect", "Migration", "pending", "record", "script"]

Dialect = Literal["sqlite", "postgres"]

_RECORD: Final = "INSERT INTO {table} (number, name) VALUES ({number}, '{name}');"


class Migration(Struct, frozen=True):
    """One step of the schema: the statements of one file."""

    number: int
    name: str
    sql: str


@cache
def _all(dialect: Dialect) -> tuple[Migration, ...]:
    folder = resources.files("stepwell.storage").joinpath("sql", dialect)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(
        Migration(int(file.name.partition("_")[0]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in files
    )


def pending(dialect: Dialect, version: int) -> tuple[Migration, ...]:
    """Return what a schema of this *version* lacks, in order; all of it for version 0, an empty database.

    Raises StorageError if the schema is newer than this library.
    """
    migrations = _all(dialect)
    latest = migrations[-1].number
    if version > latest:
        msg = (
            f"its schema has version {version}, and this Stepwell knows versions up to {latest}: "
            "it was opened by a newer release, so upgrade this one"
        )
        raise StorageError(msg)
    return tuple(migration for migration in migrations if migration.number > version)


def record(migration: Migration, table: str = "migrations") -> str:
    """Return the statement that notes *migration* as applied."""
    return _RECORD.format(table=table, number=migration.number, name=migration.name)


def script(dialect: Dialect) -> str:
    """Return all statements that make the schema from nothing, for whoever wants to run them by hand.

    A database that was made so is recognised as up to date.
    """
    parts = (f"{migration.sql.rstrip()}\n\n{record(migration)}\n" for migration in pending(dialect, 0))
    return "BEGIN;\n\n" + "\n".join(parts) + "\nCOMMIT;\n"
