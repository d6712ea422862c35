"""The schema and its versions."""

from __future__ import annotations

import re
import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from stepwell.storage import StorageError, _migrate
from stepwell.storage._migrate import Migration, pending, script
from stepwell.storage._sqlite._file import DatabaseFile

SECOND = Migration(
    2, "0002_more", "-- One; more.\nCREATE TABLE more (id INTEGER) STRICT;\nINSERT INTO more VALUES (1);\n"
)
BROKEN = Migration(3, "0003_broken", "CREATE TABLE half (id INTEGER) STRICT;\nINSERT INTO nowhere VALUES (1);\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flows.db"


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> list[Migration]:
    """The migrations of a later release."""
    migrations = [*pending("sqlite", 0), SECOND]

    def of(dialect: _migrate.Dialect) -> tuple[Migration, ...]:
        return tuple(migrations)

    monkeypatch.setattr(_migrate, "_all", of)
    return migrations


def open_and_close(path: Path) -> None:
    DatabaseFile(path, synchronous="FULL", busy_timeout=1).open_writer(lambda: True).close()


def schema(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return found


def applied(path: Path) -> list[tuple[int, str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT number, name FROM migrations ORDER BY number").fetchall()
    connection.close()
    return found


def test_files_are_numbered_without_gaps() -> None:
    folder = resources.files("stepwell.storage").joinpath("sql", "sqlite")
    names = sorted(file.name for file in folder.iterdir())
    assert all(re.fullmatch(r"\d{4}_[a-z_]+\.sql", name) for name in names)
    assert [migration.number for migration in pending("sqlite", 0)] == list(range(1, len(names) + 1))


def test_a_schema_lacks_what_came_after_it(newer: list[Migration]) -> None:
    assert pending("sqlite", 1) == (SECOND,)
    assert pending("sqlite", 2) == ()


def test_a_schema_of_the_future_is_refused_with_both_versions() -> None:
    with pytest.raises(StorageError, match=r"has version 7, and this Stepwell knows versions up to 1: .* upgrade"):
        pending("sqlite", 7)


def test_an_older_file_is_brought_up_to_date(path: Path, newer: list[Migration]) -> None:
    newer.pop()
    open_and_close(path)
    newer.append(SECOND)
    open_and_close(path)
    open_and_close(path)
    assert applied(path) == [(1, "0001_core"), (2, "0002_more")]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT id FROM more").fetchall() == [(1,)]
    connection.close()


def test_a_migration_that_fails_leaves_nothing(path: Path, newer: list[Migration]) -> None:
    open_and_close(path)
    before = schema(path)
    newer.append(BROKEN)
    with pytest.raises(sqlite3.OperationalError, match="no such table: nowhere"):
        open_and_close(path)
    assert schema(path) == before
    assert applied(path) == [(1, "0001_core"), (2, "0002_more")]


def test_a_database_made_by_the_script_is_up_to_date(path: Path, tmp_path: Path) -> None:
    by_hand = tmp_path / "by_hand.db"
    connection = sqlite3.connect(by_hand)
    connection.executescript(script("sqlite"))
    connection.close()
    open_and_close(path)
    open_and_close(by_hand)
    assert schema(by_hand) == schema(path)
    assert applied(by_hand) == applied(path)


def test_all_tables_are_strict_and_all_are_explained() -> None:
    sql = script("sqlite")
    tables = re.findall(r"CREATE TABLE (\w+) \(.*?\n\) ([^;]*);", sql, re.DOTALL)
    assert tables
    assert all("STRICT" in options for _, options in tables)
    header = sql[: sql.index("CREATE TABLE")]
    assert all(re.search(rf"^--   {name} ", header, re.MULTILINE) for name, _ in tables)
