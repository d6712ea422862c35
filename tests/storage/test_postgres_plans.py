"""How the server runs the statements: by an index, to a few rows, whatever lies in the tables and whatever it knows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import anyio
import asyncpg
import pytest
from msgspec.structs import replace

from stepwell.storage import Query, Row, Status
from stepwell.storage._postgres import _database
from stepwell.storage._postgres._commit import _sent
from stepwell.storage._postgres._find import select
from stepwell.storage._postgres._horizon import BEGINNING
from stepwell.storage._postgres._rows import json as encoded
from stepwell.storage._postgres._sql import Statements
from stepwell.storage._postgres._times import LATEST
from stepwell.storage.postgres import PostgresStorage
from stepwell.testing._scene import Scene, following

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

LIMIT: Final = 20
SQL: Final = Statements('"stepwell"')
FILL: Final = """
    INSERT INTO stepwell.executions (
           id, workflow, version, status, step, visit, attempt, revision, token, signals, pausing, due_at, created_at,
           updated_at, ended_at, worker, tags, metadata, input)
    SELECT kind || lpad(n::text, 6, '0'), CASE kind WHEN 'unserved' THEN 'other' ELSE 'w' END, '1',
           CASE kind WHEN 'ended' THEN 'succeeded' WHEN 'held' THEN 'running' WHEN 'later' THEN 'waiting' ELSE 'queued'
               END,
           's', 1, 0, 1, 1, 0, false, CASE kind WHEN 'ended' THEN NULL WHEN 'later' THEN 4000000000000000 + n
               WHEN 'held' THEN 4000000000000000 ELSE 1000 + n END,
           n, n, CASE kind WHEN 'ended' THEN n END, CASE kind WHEN 'held' THEN 'worker' || (n / 20) END, '[]', '{}',
           '1'
      FROM unnest(ARRAY['due', 'unserved', 'later', 'ended', 'held']) AS k(kind)
     CROSS JOIN generate_series(1, 20000) AS n WHERE kind <> 'held' OR n <= 2000;
    INSERT INTO stepwell.journal (execution_id, seq, visit, attempt, token, at, kind, change)
    SELECT id, seq, 1, 0, 0, 1, 'execution.created', '' FROM stepwell.executions
     CROSS JOIN generate_series(1, 1 + (status = 'succeeded')::integer * 2) AS seq;
    INSERT INTO stepwell.signals (execution_id, id, position, at, step, state, payload)
    SELECT id, 'signal' || n, n, 1, 's', 'pending', '1' FROM stepwell.executions CROSS JOIN generate_series(1, 2) AS n
     WHERE status IN ('queued', 'suspended');
    INSERT INTO stepwell.signals (execution_id, id, position, at, step, state, payload)
    SELECT 'due000001', 'many' || n, n + 2, 1, 's', 'used', '1' FROM generate_series(1, 5000) AS n;
"""
HOT: Final = (
    "SELECT n_tup_upd::bigint, n_tup_hot_upd::bigint FROM pg_stat_user_tables"
    " WHERE schemaname = 'stepwell' AND relname = 'executions'"
)


@pytest.fixture(params=["asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """What the server plans doesn't depend on who asks."""
    return str(request.param)


async def connect(dsn: str, *, pooler: bool = False) -> asyncpg.Connection[Any]:
    settings = {} if pooler else _database._SESSION
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn, server_settings=settings)
    return connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


class Plans:
    """Explains statements that were prepared on one connection."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection

    async def prepare(self, name: str, sql: str, types: str) -> None:
        await self.connection.execute(f"PREPARE {name} ({types}) AS {sql}")

    async def explain(self, name: str, values: str) -> list[dict[str, Any]]:
        """Run it, undo it, and return the nodes of its plan with what they really did."""
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            text = await self.connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE {name}({values})"
            )
        finally:
            await transaction.rollback()
        return list(nodes(json.loads(text)[0]["Plan"]))


NOW_TEXT: Final = "2000000000000000"


def literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def sent(*ids: str) -> str:
    """Return Changes that go on under a lease, as a commit takes them."""
    row = Row(
        id="", workflow="w", version="1", status=Status.RUNNING, step="s", visit=1, attempt=0, revision=1, token=1
    )
    rows = [replace(row, id=id, worker="worker1") for id in ids]
    changes = [_sent(following(row, status=Status.RUNNING, due=None)) for row in rows]
    return literal(encoded(changes))


STATEMENTS: Final = {
    "claim": (SQL.claim, "bigint, text[], text[], integer, text, bigint, bigint, bigint"),
    "commit": (SQL.commit, "bigint, json"),
    "standings": (SQL.standings, "text[]"),
    "clock_and_locked": (SQL.clock_and_locked, "bigint, text[], text[], text[]"),
    "write": (SQL.write, "json, json, json, json, json"),
    "renew": (SQL.renew, "bigint, text, text[], integer[], bigint"),
    "held": (SQL.held, "text"),
    "load": (SQL.load, "bigint, text"),
    "journal": (SQL.journal, "text, integer, integer"),
    "wait": (SQL.wait, "text[]"),
}
IDS: Final = [f"due{number:06}" for number in range(1, 21)]
HELD: Final = [f"held{number:06}" for number in range(20, 40)]


def array(values: list[str]) -> str:
    return f"ARRAY[{','.join(map(literal, values))}]"


def arguments() -> dict[str, str]:
    changed = json.dumps(
        [
            {
                "id": id,
                "status": "running",
                "step": "s",
                "visit": 1,
                "attempt": 1,
                "revision": 2,
                "token": 1,
                "signals": 0,
                "pausing": False,
                "due_at": 1,
                "updated_at": 1,
            }
            for id in IDS
        ]
    )
    lines = json.dumps(
        [
            {"execution_id": id, "seq": 2, "at": 1, "change": "c", "kind": "k", "visit": 1, "attempt": 1, "token": 1}
            for id in IDS
        ]
    )
    marks = json.dumps([{"execution_id": id, "id": "signal1", "state": "used"} for id in IDS])
    return {
        "claim": f"{NOW_TEXT}, ARRAY['w', 'missing'], ARRAY['1', '1'], {LIMIT}, 'me', 60000000, {BEGINNING}, {LATEST}",
        "commit": f"{NOW_TEXT}, {sent(*IDS)}",
        "standings": array(IDS),
        "clock_and_locked": f"{NOW_TEXT}, {array(IDS)}, {array(IDS)}, {array(['signal1'] * len(IDS))}",
        "write": f"'[]', {literal(changed)}, {literal(lines)}, '[]', {literal(marks)}",
        "renew": f"{NOW_TEXT}, 'worker1', {array(HELD)}, ARRAY[{','.join(['1'] * len(HELD))}], 60000000",
        "held": "'worker1'",
        "load": f"{NOW_TEXT}, 'ended000100'",
        "journal": "'ended000100', 0, 1000",
        "wait": array(IDS),
    }


@pytest.fixture(
    params=["planned when empty", "planned when full", "analysed", "behind a pooler", "behind one, analysed"]
)
async def plans(request: pytest.FixtureRequest, postgres_database: str) -> AsyncIterator[Plans]:
    """Statements as a storage prepares them, at different times in the life of the tables; then a backlog."""
    pooler = "behind" in request.param
    connection = await connect(postgres_database, pooler=pooler)
    plans = Plans(connection)
    # A pooler's statements are planned anew each time, for the values that they come with.
    await connection.execute(f"SET plan_cache_mode = {'force_custom_plan' if pooler else 'force_generic_plan'}")
    if request.param == "planned when empty":
        await connection.execute("ANALYZE")
    for name, (sql, types) in STATEMENTS.items():
        await plans.prepare(name, sql, types)
    if request.param == "planned when empty":
        for name, values in arguments().items():
            await plans.explain(name, values)
        # Writes alone don't make the server plan again; autovacuum's ANALYZE would.
    await connection.execute(FILL)
    if "analysed" in request.param:
        await connection.execute("ANALYZE")
    yield plans
    await connection.close()


def scans(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        node
        for node in found
        if node.get("Relation Name") in {"executions", "journal", "signals", "workflows"}
        and node["Node Type"] != "ModifyTable"
    ]


def buffers(found: list[dict[str, Any]]) -> int:
    return int(found[0]["Shared Hit Blocks"] + found[0]["Shared Read Blocks"])


def told(node: dict[str, Any]) -> str:
    words = (
        "Node Type",
        "Relation Name",
        "Index Name",
        "Index Cond",
        "Actual Rows",
        "Actual Loops",
        "Shared Hit Blocks",
    )
    return " ".join(str(node.get(word)) for word in words)


def rows_of(node: dict[str, Any]) -> float:
    return float(node["Actual Rows"]) * float(node["Actual Loops"])


async def test_statements_reach_a_few_rows_by_an_index(plans: Plans) -> None:
    for name, values in arguments().items():
        found = await plans.explain(name, values)
        for node in scans(found):
            what = f"{name}: {told(node)}"
            if node["Actual Loops"] and node["Node Type"] != "Bitmap Heap Scan":
                assert "Index Cond" in node, what
            assert rows_of(node) <= 3 * LIMIT, what
            assert float(node.get("Rows Removed by Filter", 0)) * float(node["Actual Loops"]) <= 3 * LIMIT, what
        assert buffers(found) < 3_000, f"{name}: {[told(node) for node in found]}"

    await claims_read_a_bounded_range_of_their_index_in_order(plans)


async def claims_read_a_bounded_range_of_their_index_in_order(plans: Plans) -> None:
    found = await plans.explain("claim", arguments()["claim"])
    due = [node for node in scans(found) if node.get("Index Name") == "executions_due"]
    assert len(due) == 1
    assert all(word in due[0]["Index Cond"] for word in ("workflow", "version", "due_at <="))
    assert rows_of(due[0]) == LIMIT
    for node in found:
        if node["Node Type"] == "Sort":
            assert rows_of(node) <= 2 * LIMIT, told(node)
    nothing = f"{NOW_TEXT}, ARRAY['missing', 'w'], ARRAY['1', '2'], {LIMIT}, 'me', 60000000, {BEGINNING}, {LATEST}"
    found = await plans.explain("claim", nothing)
    assert sum(rows_of(node) for node in scans(found)) == 0
    assert buffers(found) < 100


PAGES: Final = [
    (Query(), "executions_created"),
    (Query(after=(1_000, "id")), "executions_created"),
    (Query(workflow="w"), "executions_of_workflow"),
    (Query(status=(Status.FAILED,)), "executions_unhappy"),
    (Query(parent="p"), "executions_of_parent"),
    (Query(ids=("due000001", "due000002")), "executions_id"),
]


async def test_a_page_is_read_from_an_index(postgres_database: str) -> None:
    connection = await connect(postgres_database)
    try:
        await connection.execute(FILL)
        await connection.execute("ANALYZE")
        for query, index in PAGES:
            sql, values = select(SQL.find, query)
            text = await connection.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", *values)
            found = list(nodes(json.loads(text)[0]["Plan"]))
            assert [node.get("Index Name") for node in scans(found)] == [index]
            # Those of the same moment as the last one are read too, to be put in order.
            assert sum(rows_of(node) for node in scans(found)) <= 2 * query.limit
    finally:
        await connection.close()


async def test_steps_that_go_on_under_a_lease_write_no_index(postgres_database: str) -> None:
    async with PostgresStorage(postgres_database) as storage:
        scene = Scene(storage)
        await scene.create_many(scene.row(str(number)) for number in range(50))
        rows = [stored.row for stored in (await scene.claims()).claimed]
        connection = await connect(postgres_database)
        await storage.load("nobody")
        for _ in range(10):
            assert all(await storage.commit([(following(row, status=Status.RUNNING, due=None),) for row in rows]))
            rows = [(await scene.stored_row(row.id)) for row in rows]
    try:
        updates = hot = 0
        with anyio.fail_after(20):
            while updates < 550:  # told by the server's processes as they end
                updates, hot = await connection.fetchrow(HOT) or (0, 0)
    finally:
        await connection.close()
    assert updates == 50 + 500  # claims, and commits
    assert hot >= 480, f"{hot} of {updates}"
