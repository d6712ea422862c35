"""The demo on a database of a test's own, and what must be true of it in the end."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

from stepwell import Engine, Execution, JournalEntry, SQLiteStorage, Status
from tests.support.processes import Child, run_script
from tests.support.virtual_time import Backend

COMMAND = Path(__file__).with_name("command.py")
ROWS = 626
PROBLEMS = 21
BATCHES = 16


class Demo:
    def __init__(self, folder: Path, backend: Backend) -> None:
        self.folder = folder / "state"
        self.database = self.folder / "demo.db"
        self.arguments = ["demo", "--backend", backend, "--db", str(self.database), "--pace", "0.1"]

    def running(self, *options: str) -> AbstractAsyncContextManager[Child]:
        return run_script(COMMAND, *self.arguments, *options)

    async def signal(self, execution: str, step: str) -> None:
        """Approve from another process."""
        words = ["signal", "--db", str(self.database), execution, step, '{"approved": true}']
        async with run_script(COMMAND, *words) as sender:
            await sender.line("taken")
            assert await sender.ended() == 0

    async def executions(self) -> dict[str, Execution]:
        async with SQLiteStorage(self.database) as storage, Engine(storage) as engine:
            return {found.id: await engine.get(found.id) for found in (await engine.find()).executions}

    async def journal(self, id: str) -> list[JournalEntry]:
        async with SQLiteStorage(self.database) as storage, Engine(storage) as engine:
            return await engine.journal(id)

    def airports(self, query: str) -> list[tuple[object, ...]]:
        return _rows(self.folder / "demo-airports.db", query)

    def shop(self, query: str) -> list[tuple[object, ...]]:
        return _rows(self.folder / "demo-shop.db", query)

    def check_loaded(self) -> None:
        """Every row is there once, every batch was committed once, and the problems are marked."""
        counts = self.airports("SELECT count(*), count(DISTINCT code), count(problem) FROM airports")
        assert counts == [(ROWS, ROWS, PROBLEMS)]
        assert self.airports("SELECT batch FROM batches ORDER BY batch") == [(batch,) for batch in range(BATCHES)]

    def check_shop(self) -> None:
        """The money went back once; the declined card was charged nothing, and its order is on hold."""
        assert self.shop("SELECT idempotency_key, order_number, amount FROM payouts") == [
            ("refund-1:pay_back", "A-1001", 8000)
        ]
        assert self.shop("SELECT idempotency_key, order_number FROM reservations") == [("payment-1:reserve", "B-1001")]
        assert self.shop("SELECT * FROM bookings") == []
        assert self.shop("SELECT idempotency_key, customer FROM messages") == [("payment-1:notify", "Grace")]
        assert self.shop("SELECT number, state FROM orders ORDER BY number") == [
            ("A-1001", "refunded"),
            ("B-1001", "on hold"),
        ]

    async def check_ended_well(self) -> None:
        """All three, and the fraud check, have succeeded, each by its own way."""
        self.check_loaded()
        self.check_shop()
        executions = await self.executions()
        assert {id: execution.status for id, execution in executions.items()} == dict.fromkeys(
            ["import-1", "payment-1", "refund-1", "refund-1/screen"], Status.SUCCEEDED
        )
        assert executions["payment-1"].steps["charge"].route == "catch:CardDeclined"
        assert executions["payment-1"].output["state"] == "on hold"
        assert executions["refund-1"].steps["review"].route == "approved"
        assert executions["refund-1/screen"].parent == "refund-1"


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()
