"""The database that a command works on."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from stepwell import SQLiteStorage
from stepwell.cli._errors import CommandError

__all__ = ["default_path", "existing", "options_of", "usable"]


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


def options_of(path: Path) -> list[str]:
    """Return the words that make another command use this database."""
    return [] if path == default_path() else ["--db", str(path)]


def existing(path: Path) -> SQLiteStorage:
    """Return the storage of a database of Stepwell. Raises CommandError where there is none; none is made."""
    if not path.is_file():
        raise CommandError(f"there is no database {path}; name one with --db, or run `stepwell demo` to get one")
    if "executions" not in _tables(path):
        raise CommandError(f"{path} is not a database of Stepwell")
    return SQLiteStorage(path)


def usable(path: Path) -> SQLiteStorage:
    """Return the storage of a database that is there or can be made. Raises CommandError for one of something else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{path.parent} can't be made ({error.strerror}); choose another place with --db") from error
    if path.exists() and (tables := _tables(path)) and "executions" not in tables:
        raise CommandError(f"{path} is a database of something else; choose another one with --db")
    return SQLiteStorage(path)


def _tables(path: Path) -> set[str]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise CommandError(f"{path} can't be read as an SQLite database: {error}") from error
