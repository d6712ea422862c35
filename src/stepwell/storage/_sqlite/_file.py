"""The database file: how it is opened, watched, waited for, and what its errors mean.

Rule 1: only `open_writer` creates a file, readable by its owner alone; every later connection must find it there.
Rule 2: a file that was moved, deleted or replaced while open is an error, never a second, silent database.
Rule 3: whoever waits for the write lock asks for it again and again after short, random pauses. SQLite's own waiting
pauses longer each time, so that a late comer overtakes whoever waited longest.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

from stepwell.storage import _migrate
from stepwell.storage._protocol import StorageError
from stepwell.storage._sqlite._rows import NOT_UTF8, Text
from stepwell.storage._unreadable import Unreadable

__all__ = ["DatabaseFile", "Synchronous", "rollback"]

Synchronous = Literal["FULL", "NORMAL"]

T = TypeVar("T")

_OLDEST_SQLITE: Final = (3, 37, 0)
"""the first with STRICT tables"""
_JITTER: Final = random.SystemRandom()
"""not the generator that user code may seed, and expects to go on from there"""
_PAUSES: Final = (0.000_2, 0.005)
"""shortest and longest pause, in seconds, before the write lock is asked for again"""
_CHECK_EVERY: Final = 0.05
"""seconds"""
_OWNER_ONLY: Final = 0o600
_SYNCHRONOUS: Final[dict[Synchronous, str]] = {
    "FULL": "PRAGMA synchronous = FULL",
    "NORMAL": "PRAGMA synchronous = NORMAL",
}
_CHECKPOINT: Final = "PRAGMA wal_autocheckpoint = 4000"
"""pages; with four times SQLite's own number, a page that changes often is copied to the database less often"""
_CURES: Final = {
    sqlite3.SQLITE_FULL: "the disk, or the size that the file may have, is full: free some space",
    sqlite3.SQLITE_READONLY: "the file, or the folder it lies in, is read-only: make both writable",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened: the folder must be writable, for SQLite keeps files next to this one",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database: name another one",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a backup, or try `sqlite3 FILE .recover`",
    sqlite3.SQLITE_IOERR: "the disk reported an error",
}


def _always() -> bool:
    return True


class DatabaseFile:
    """A database by its path, and which file that was when it was opened."""

    def __init__(self, path: str | os.PathLike[str], *, synchronous: Synchronous, busy_timeout: float) -> None:
        self.name = os.fspath(path)
        self._path = Path(os.path.realpath(self.name))
        self._synchronous: Synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._known: dict[str, tuple[int, int]] = {}
        self._check_at = 0.0
        self.applied: tuple[str, ...] = ()
        """the names of the migrations that `open_writer` had to apply"""

    @property
    def uri(self) -> str:
        """Under which a connection that can't write opens it."""
        return f"{self._path.as_uri()}?mode=ro"

    def open_writer(self, is_wanted: Callable[[], bool]) -> sqlite3.Connection:
        """Create the file and its tables where they are missing; return a connection that writes."""
        self._admit()
        connection = self.connect(is_wanted)
        try:
            self._prepare(connection, is_wanted)
            self._known = {path: _identity(path) for path in self._files()}
        except BaseException:
            connection.close()
            raise
        return connection

    def connect(self, is_wanted: Callable[[], bool] = _always) -> sqlite3.Connection:
        """Return a connection that writes to a file that is there."""
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",
            timeout=0,  # waiting is done by `patiently`
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            uri=True,
        )
        connection.text_factory = Text()
        try:
            for setting in ("PRAGMA trusted_schema = OFF", _SYNCHRONOUS[self._synchronous], _CHECKPOINT):
                self._patiently(partial(connection.execute, setting), is_wanted)
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self, connection: sqlite3.Connection, is_wanted: Callable[[], bool] = _always) -> None:
        """Begin a transaction that holds the write lock; stop waiting for it when it isn't wanted any more."""
        rollback(connection)
        self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"), is_wanted)

    def check(self) -> None:
        """Raise StorageError if the path leads to another file than it did; looks at most every 50 ms."""
        now = time.monotonic()
        if now < self._check_at:
            return
        for path, identity in self._known.items():
            if _identity(path) != identity:
                msg = (
                    f"{path} was deleted, moved or replaced while it was open; "
                    "close this storage, put the file back, and open it again"
                )
                raise StorageError(msg)
        self._check_at = now + _CHECK_EVERY

    def error(self, cause: BaseException) -> StorageError:
        """Return *cause* as the error of this storage: which file, and what to do."""
        if isinstance(cause, sqlite3.OperationalError) and not hasattr(cause, "sqlite_errorcode"):
            # Raised by Python's driver, of which nothing else has no code; its own message shows what is stored.
            return Unreadable(f"{self.name}: something can't be read: {NOT_UTF8}")
        if isinstance(cause, StorageError):
            text = str(cause)
        elif isinstance(cause, sqlite3.Error):
            text = f"{self._cure(cause)} ({cause})"
        else:
            text = f"{type(cause).__name__}: {cause}"
        error = StorageError(f"{self.name}: {text}")
        error.__cause__ = cause
        return error

    def _cure(self, cause: sqlite3.Error) -> str:
        code = _code(cause)
        if code == sqlite3.SQLITE_BUSY:
            return f"another connection held the write lock for more than {self._busy_timeout} s"
        return _CURES.get(code, "SQLite refused")

    def _admit(self) -> None:
        """Create the file if it is missing, or say why it can't be one."""
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            msg = f"Python's SQLite is {sqlite3.sqlite_version}, and at least 3.37 is needed"
            raise StorageError(msg)
        if self.name in ("", ":memory:"):
            msg = "an SQLite storage needs a file; for one that lives in memory use MemoryStorage()"
            raise StorageError(msg)
        if os.path.isdir(self._path):
            msg = "this is a folder; name a file in it"
            raise StorageError(msg)
        if not os.path.isdir(self._path.parent):
            msg = f"there is no folder {self._path.parent}; create it first"
            raise StorageError(msg)
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))
        except FileExistsError:
            if not os.access(self._path, os.W_OK):  # SQLite would open it all the same, to be read only
                raise StorageError(_CURES[sqlite3.SQLITE_READONLY]) from None
        except OSError as error:
            msg = f"the file can't be created: {error.strerror}"
            raise StorageError(msg) from error

    def _prepare(self, connection: sqlite3.Connection, is_wanted: Callable[[], bool]) -> None:
        (mode,) = self._patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone(), is_wanted)
        if mode != "wal":
            msg = f"SQLite can't keep a write-ahead log here (it says {mode!r}): put the file on a local disk"
            raise StorageError(msg)
        if not _migrate.pending("sqlite", self._patiently(lambda: _version(connection), is_wanted)):
            return
        self.begin(connection, is_wanted)
        try:
            lacking = _migrate.pending("sqlite", _version(connection))
            for migration in lacking:
                for statement in _statements(migration.sql):
                    connection.execute(statement)
                connection.execute(_migrate.record(migration))
            connection.execute("COMMIT")
        except BaseException:
            rollback(connection)
            raise
        self.applied = tuple(migration.name for migration in lacking)

    def _files(self) -> tuple[str, ...]:
        """Return the files that make up an open database."""
        return tuple(f"{self._path}{suffix}" for suffix in ("", "-wal", "-shm"))

    def _patiently(self, attempt: Callable[[], T], is_wanted: Callable[[], bool]) -> T:
        """Attempt it until nobody is in the way, for as long as the busy timeout allows and it *is_wanted*."""
        until = time.monotonic() + self._busy_timeout
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= until or not is_wanted():
                    raise
            time.sleep(_JITTER.uniform(*_PAUSES))


def rollback(connection: sqlite3.Connection) -> None:
    """Leave no transaction open; some errors have ended it already. What fails here is tried again by `begin`."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _code(error: sqlite3.Error) -> int:
    """Return the primary code; 0 where Python raised the error itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _identity(path: str) -> tuple[int, int]:
    """Return which file this is, whatever it is called."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    except OSError as error:
        raise StorageError(f"{path} can't be looked at: {error.strerror}") from error
    return found.st_dev, found.st_ino


def _version(connection: sqlite3.Connection) -> int:
    is_there = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").fetchone()
    if not is_there:
        return 0
    (version,) = connection.execute("SELECT max(number) FROM migrations").fetchone()
    return version or 0


def _statements(sql: str) -> list[str]:
    """Split a file into its statements: `executescript` would commit the transaction that they belong to."""
    statements: list[str] = []
    lines: list[str] = []
    for line in sql.splitlines():
        lines.append(line)
        if sqlite3.complete_statement("\n".join(lines)):
            statements.append("\n".join(lines))
            lines = []
    return statements
