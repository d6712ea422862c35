"""The SQL of the SQLite storage: what it reads, and that no value ever becomes a part of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from stepwell.storage import Change, Entry, Kind, Query, Row, Status
from stepwell.storage._sqlite import _claim, _commit, _find, _purge, _rows
from stepwell.storage._sqlite._file import DatabaseFile
from stepwell.storage._sqlite._statements import Many

HOSTILE = "'; DROP TABLE executions; --"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    file = DatabaseFile(tmp_path / "flows.db", synchronous="FULL", busy_timeout=1)
    opened = file.open_writer(lambda: True)
    yield opened
    opened.close()


def plan(connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...] | list[Any] | None = None) -> list[str]:
    bound = parameters if parameters is not None else [None] * sql.count("?")
    return [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bound)]


def scanned_tables(steps: list[str]) -> list[str]:
    tables = ("executions", "inputs", "journal", "signals", "workflows")
    return [step for step in steps if any(step.startswith(f"SCAN {table}") for table in tables)]


def of_one_row(statement: Many) -> str:
    return statement._by_size[-1][1]


def test_a_claim_reads_a_range_of_its_index_for_each_pair(connection: sqlite3.Connection) -> None:
    steps = plan(connection, _claim.DUE, [0, 10, "[]"])
    assert "SEARCH executions USING INDEX executions_due (workflow=? AND version=? AND due_at<?)" in steps
    assert scanned_tables(steps) == []
    assert not any("TEMP B-TREE" in step for step in steps)


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        (_claim._CLAIMED, ["worker", 0, "[]"]),
        (_claim._CLAIM, ["worker", 0, 0, "[]"]),
        (_claim._HELD, ["worker"]),
        (_claim._RENEW, [0, "[]"]),
        (_claim._IN_USE, ["workflow", "1"]),
        (_commit._STANDINGS, ["[]"]),
        (_commit._TAKEN, ["[]"]),
        (_rows.STORED, ["[]"] * 3),
        (_rows.JOURNAL, ["id", 0, 10]),
        *((statement, ["[]"]) for statement in _purge.DELETE),
        *((of_one_row(statement), None) for statement in _commit._ORDER),
        *((statement._by_size[0][1], None) for statement in _commit._ORDER),
    ],
)
def test_no_statement_scans_a_table(connection: sqlite3.Connection, sql: str, parameters: list[Any] | None) -> None:
    assert scanned_tables(plan(connection, sql, parameters)) == []


def test_a_purge_reads_a_range_of_its_index_in_order(connection: sqlite3.Connection) -> None:
    details = connection.execute(f"EXPLAIN QUERY PLAN {_purge.DOOMED}", {"until": 0, "limit": 10})
    steps = [detail for *_, detail in details]
    assert "SEARCH root USING INDEX executions_ended (ended_at>? AND ended_at<?)" in steps
    assert [step for step in steps if step.startswith("SCAN") and "executions" in step] == []
    assert [step for step in steps if "child" in step and "INDEX executions_of_parent" not in step] == []
    assert sum("TEMP B-TREE" in step for step in steps) == 1, "only what was found is put in the order of families"


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(), "executions_created"),
        (Query(after=(1, "id")), "executions_created"),
        (Query(workflow="w"), "executions_of_workflow"),
        (Query(workflow="w", after=(1, "id")), "executions_of_workflow"),
        (Query(status=(Status.FAILED,)), "executions_of_status"),
        (Query(parent="p"), "executions_of_parent"),
        (Query(tag="t"), "executions_created"),
    ],
)
def test_a_page_is_read_in_order_from_an_index(connection: sqlite3.Connection, query: Query, index: str) -> None:
    steps = plan(connection, *_find.select(query))
    assert any(f"executions USING INDEX {index}" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps)


@pytest.mark.parametrize("query", [Query(ids=("a", "b")), Query(id_prefix="order:")])
def test_what_is_known_by_its_id_is_found_by_its_id(connection: sqlite3.Connection, query: Query) -> None:
    assert scanned_tables(plan(connection, *_find.select(query))) == []


def test_no_value_becomes_a_part_of_a_statement(connection: sqlite3.Connection) -> None:
    query = Query(
        ids=(HOSTILE,),
        workflow=HOSTILE,
        version=HOSTILE,
        status=(Status.FAILED, Status.QUEUED),
        tag=HOSTILE,
        metadata={HOSTILE: HOSTILE},
        parent=HOSTILE,
        id_prefix=HOSTILE,
        created_after=1,
        created_before=2,
        after=(3, HOSTILE),
        limit=4,
    )
    sql, values = _find.select(query)
    assert "DROP" not in sql
    assert sql.count("?") == len(values)
    assert connection.execute(sql, values).fetchall() == []


def test_a_query_beyond_all_numbers_is_answered(connection: sqlite3.Connection) -> None:
    query = Query(created_after=-(2**70), created_before=2**70, after=(2**70, "id"), metadata={"n": 2**70})
    assert connection.execute(*_find.select(query)).fetchall() == []


VALUES = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    1.5,
    "1",
    "true",
    'é"',
    "",
    [],
    [1],
    [1.0],
    {},
    {"a": {"c": None}, "b": [2]},
    2**63 - 1,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_metadata_is_found_by_its_json_value(connection: sqlite3.Connection, value: object) -> None:
    row = Row(id="", workflow="w", version="1", status=Status.QUEUED, step="s", visit=1, attempt=0, revision=1)
    rows = [replace(row, id=str(number), metadata={"k": other}) for number, other in enumerate(VALUES)]
    units = [(Change(id="c", row=row, expects=0, entries=(Entry(Kind.CREATED),)),) for row in rows]
    _commit.commit(connection, units, 0)
    found = connection.execute(*_find.select(Query(metadata={"k": value}))).fetchall()
    assert [json.dumps(_rows.row(columns).metadata["k"]) for columns in found] == [json.dumps(value)]


def test_a_page_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="limit must be from 1 to 1000, not 0"):
        _find.select(Query(limit=0))


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("order", "ordes"),
        ("100%_", "100%`"),
        ("\ud7ff", "\ue000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff\U0010ffff", None),
        ("\U0001f600", "\U0001f601"),
    ],
    ids=ascii,
)
def test_a_prefix_is_a_range(prefix: str, end: str | None) -> None:
    assert _find._end_of(prefix) == end


def test_what_a_row_lacks_is_null_in_every_table(connection: sqlite3.Connection) -> None:
    row = Row(id="lacking", workflow="w", version="1", status=Status.QUEUED, step=None, visit=1, attempt=0, revision=1)
    _commit.commit(connection, [(Change(id="c", row=row, expects=0, entries=(Entry(Kind.CREATED),)),)], 0)
    found = connection.execute("SELECT step, due_at, timer_at, worker, parent, output, error, ended_at FROM executions")
    assert found.fetchone() == (None,) * 8
    assert connection.execute("SELECT step, worker, route, ref, payload FROM journal").fetchone() == (None,) * 5


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 255, 256, 257, 1_000])
def test_any_number_of_rows_is_written(connection: sqlite3.Connection, rows: int) -> None:
    connection.execute("CREATE TABLE numbers (number INTEGER)")
    statement = Many("INSERT INTO numbers (number) VALUES ", 1)
    assert statement.run(connection, [(number,) for number in range(rows)]) == rows
    found = [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY rowid")]
    assert found == list(range(rows))
