"""The database that a command works on: an SQLite file, or one of a Postgres server."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from stepwell import SQLiteStorage, StorageError
from stepwell.cli._errors import USAGE, CommandError

if TYPE_CHECKING:
    from stepwell import PostgresStorage

__all__ = [
    "SCHEMA",
    "VARIABLE",
    "Database",
    "Server",
    "default_path",
    "existing",
    "files_beside",
    "named",
    "options_of",
    "script_of",
    "usable",
]

VARIABLE: Final = "STEPWELL_DB"
"""the variable of the environment that says what --db would"""
SCHEMA: Final = "stepwell"
_URL: Final = re.compile(r"[a-z]{2,}:/|postg[a-z]*//|:.*@|(host|dbname|user|pass[a-z]*)=", re.IGNORECASE | re.DOTALL)
"""What is meant as a DSN, well written or not, and so may hold a password. A drive of Windows has one letter."""
_PATIENCE: Final = 30.0
"""seconds that a command waits for the server whose work it is to begin something"""


@dataclass(frozen=True, slots=True)
class Server:
    """A schema of a database of a Postgres server."""

    dsn: str = field(repr=False)
    schema: str
    address: str
    """the DSN without its password"""

    def __str__(self) -> str:
        return self.address if self.schema == SCHEMA else f"{self.address}, schema {self.schema}"


Database: TypeAlias = Path | Server


def default_path() -> Path:
    """Return the demo's database, which the other commands look at too: where this platform keeps a user's state."""
    home = Path.home()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_STATE_HOME") or home / ".local" / "state"
    return Path(base) / "stepwell-demo" / "demo.db"


def named(given: str | None, schema: str | None) -> Database:
    """Return the database that --db names, or else the environment, or else the demo's. Raises CommandError."""
    text = given if given is not None else os.environ.get(VARIABLE) or str(default_path())
    if not text:
        raise CommandError("--db is empty; name a file, or postgresql://…", exit_code=USAGE)
    if _URL.search(text) and not os.path.exists(text):
        return _server(text, SCHEMA if schema is None else schema)
    if schema is not None:
        raise CommandError("--schema goes with postgresql://…; an SQLite file has none", exit_code=USAGE)
    return Path(text)


def _server(dsn: str, schema: str) -> Server:
    try:
        return Server(dsn, schema, _postgres(dsn, schema).address)
    except StorageError as error:  # about the words themselves: nothing was connected to
        raise CommandError(str(error), exit_code=USAGE) from None


def options_of(database: Database) -> list[str]:
    """Return the words that make another command use this database; never a password."""
    if isinstance(database, Path):
        return [] if database == _default() else ["--db", str(database)]
    words = [] if os.environ.get(VARIABLE) == database.dsn else ["--db", database.address]
    return words if database.schema == SCHEMA else [*words, "--schema", database.schema]


def _default() -> Path:
    return Path(os.environ.get(VARIABLE) or default_path())


def files_beside(database: Database) -> Path:
    """Return the path beside which the demo keeps its own files: the database itself, if that is a file."""
    if isinstance(database, Path):
        return database
    digest = sha256(f"{database.address} {database.schema}".encode()).hexdigest()[:8]
    return default_path().with_name(f"postgres-{digest}.db")


def existing(database: Database) -> SQLiteStorage | PostgresStorage:
    """Return the storage of a database of Stepwell. Raises CommandError where there is none; none is made."""
    if isinstance(database, Server):  # somebody waits at the terminal: say at once what is wrong
        return _postgres(database.dsn, database.schema, migrate=False)
    if not database.is_file():
        raise CommandError(f"there is no database {database}; name one with --db, or run `stepwell demo` to get one")
    if "executions" not in _tables(database):
        raise CommandError(f"{database} is not a database of Stepwell")
    return SQLiteStorage(database)


def usable(database: Database) -> SQLiteStorage | PostgresStorage:
    """Return the storage of a database that is there or can be made. Raises CommandError for one of something else."""
    if isinstance(database, Server):
        _make_folder(files_beside(database))
        return _postgres(database.dsn, database.schema, wait=_PATIENCE)
    _make_folder(database)
    if database.exists() and (tables := _tables(database)) and "executions" not in tables:
        raise CommandError(f"{database} is a database of something else; choose another one with --db")
    return SQLiteStorage(database)


def script_of(dialect: Literal["sqlite", "postgres"], schema: str) -> str:
    """Return the SQL that makes the tables."""
    return SQLiteStorage.script() if dialect == "sqlite" else _postgres_class().script(schema)


def _postgres(dsn: str, schema: str, *, migrate: bool = True, wait: float = 0.0) -> PostgresStorage:
    """Return the storage, not opened yet. Raises StorageError, and CommandError where the driver is missing."""
    return _postgres_class()(dsn, schema=schema, migrate=migrate, wait=wait)


def _postgres_class() -> type[PostgresStorage]:
    try:
        from stepwell import PostgresStorage  # noqa: PLC0415 (only here is its driver needed)
    except ImportError as error:  # it says what to install
        raise CommandError(str(error)) from error
    return PostgresStorage


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{path.parent} can't be made ({error.strerror}); choose another place with --db") from error


def _tables(path: Path) -> set[str]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise CommandError(f"{path} can't be read as an SQLite database: {error}") from error
