"""What strikes: processes, the network, and the database. Each is a function that tells whether it struck anybody.

A nemesis undoes what it did before it returns, whatever stops it.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Final

import anyio
import asyncpg
from anyio import to_thread

from tests.chaos.soak.crew import LEASE, Crew, Slot
from tests.support.postgres import Server
from tests.support.postgres.outsider import Outsider, outsider
from tests.support.wire import Fault, Proxy

__all__ = ["OF_POSTGRES", "OF_PROCESSES", "OF_SQLITE", "Field", "Nemesis"]

AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""what an outsider meets who asks a server that another nemesis has stopped"""


@dataclass
class Field:
    """All that can be struck. *server* and *wires* are those of Postgres, *file* that of SQLite."""

    crew: Crew
    chance: random.Random
    server: Server | None = None
    role: str = ""
    wires: tuple[Proxy, ...] = ()
    file: Path | None = None
    struck: Counter[str] = field(default_factory=Counter[str])
    """how often each nemesis struck somebody"""
    failed: Counter[str] = field(default_factory=Counter[str])
    """how often one met a server that another had stopped"""

    def slot(self) -> Slot:
        return self.chance.choice(self.crew.slots)

    def wire(self) -> Proxy:
        return self.chance.choice(self.wires)

    @asynccontextmanager
    async def dba(self) -> AsyncGenerator[Outsider]:
        assert self.server is not None
        async with outsider(self.server.dsn) as dba:
            yield dba

    async def alter(self, *settings: str) -> None:
        """Change the role of the workers, and let their connections be opened anew."""
        async with self.dba() as dba:
            await dba.execute(*(f"ALTER ROLE {self.role} {setting}" for setting in settings))
            await dba.cut()


Nemesis = Callable[[Field], Awaitable[bool]]


# -- processes -----------------------------------------------------------------------------------------------------


async def kill(at: Field) -> bool:
    """End a process where it stands."""
    return at.slot().send(SIGKILL)


async def freeze(at: Field) -> bool:
    """Stop a process for longer than its lease."""
    return await _stopped(at.slot(), LEASE * at.chance.uniform(1.2, 2.0))


async def stutter(at: Field) -> bool:
    """Stop a process again and again, for less than its lease."""
    slot, struck = at.slot(), False
    for _ in range(6):
        struck |= await _stopped(slot, at.chance.uniform(0.05, 0.5))
        await anyio.sleep(at.chance.uniform(0, 0.1))
    return struck


async def ask_to_go(at: Field) -> bool:
    """Ask a process to go, once, twice or three times; one that takes its time hears it again until it has gone."""
    slot = at.slot()
    process = slot.process
    struck = slot.send(SIGTERM)
    for _ in range(at.chance.randint(0, 2)):
        await anyio.sleep(at.chance.uniform(0, 0.3))
        if slot.process is process:
            slot.send(SIGTERM)
    return struck


async def _stopped(slot: Slot, seconds: float) -> bool:
    if slot.is_frozen:
        return False
    slot.is_frozen = True
    try:
        struck = slot.send(SIGSTOP)
        await anyio.sleep(seconds)
    finally:
        slot.send(SIGCONT)
        slot.is_frozen = False
    return struck


# -- the network ---------------------------------------------------------------------------------------------------


async def _commits(at: Field, *, fault: Fault) -> bool:
    """Let the fault strike a few commits of one process."""
    wire, before = at.wire(), sum(wire.struck[fault] for wire in at.wires)
    wire.strike(fault, at.chance.randint(1, 3))
    with anyio.move_on_after(3):
        while wire.left:  # noqa: ASYNC110 (the proxy has no event for it)
            await anyio.sleep(0.05)
    wire.left = 0
    return sum(wire.struck[fault] for wire in at.wires) > before


async def partition(at: Field) -> bool:
    """Let one process hear nothing, for longer than its lease; its connections are reset afterwards, or not."""
    wire = at.wire()
    await wire.be_silent(LEASE * at.chance.uniform(0.5, 1.8))
    if at.chance.random() < 0.5:
        wire.cut()
    return True


async def slow_down(at: Field) -> bool:
    """Let all that one process hears and says take its time."""
    wire = at.wire()
    wire.delay = at.chance.uniform(0.05, 0.4)
    try:
        await anyio.sleep(3)
    finally:
        wire.delay = 0.0
    return True


async def reset(at: Field) -> bool:
    """Reset all connections of one process."""
    return at.wire().cut() > 0


# -- the server ----------------------------------------------------------------------------------------------------


async def terminate_backends(at: Field) -> bool:
    """End all backends, a few times."""
    struck = 0
    async with at.dba() as dba:
        for _ in range(3):
            struck += await dba.cut()
            await anyio.sleep(0.2)
    return struck > 0


async def crash_server(at: Field) -> bool:
    """Let the server crash and come back."""
    assert at.server is not None
    await to_thread.run_sync(at.server.restart, "immediate")
    return True


async def stop_server(at: Field) -> bool:
    """Let the server be away for longer than a lease."""
    assert at.server is not None
    await to_thread.run_sync(at.server.stop, "fast")
    try:
        await anyio.sleep(1.3 * LEASE)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(at.server.start)
    return True


async def _altered(at: Field, *, setting: str, undone: str, seconds: float) -> bool:
    """Give the role of the workers a setting for a while; then let them have other connections."""
    await at.alter(setting)
    try:
        await anyio.sleep(seconds)
    finally:
        with anyio.CancelScope(shield=True):
            await at.alter(undone)
    return True


async def hold_rows(at: Field) -> bool:
    """Lock some executions for longer than a lease."""
    async with at.dba() as dba:
        await dba.execute("BEGIN")
        query = f"SELECT id FROM {at.role}.executions WHERE ended_at IS NULL ORDER BY id LIMIT 20 FOR UPDATE"  # noqa: S608
        locked = len(await dba.column(query))
        await anyio.sleep(1.2 * LEASE)
        await dba.execute("ROLLBACK")
    return locked > 0


async def lock_table(at: Field) -> bool:
    """Lock the journal against writers for a moment."""
    async with at.dba() as dba:
        await dba.execute("BEGIN", f"LOCK TABLE {at.role}.journal IN SHARE MODE")
        await anyio.sleep(0.5)
        await dba.execute("ROLLBACK")
    return True


async def keep_transaction(at: Field) -> bool:
    """Keep a transaction open, so that what is dead can't be cleaned up."""
    async with at.dba() as dba:
        await dba.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await dba.value(f"SELECT count(*) FROM {at.role}.workflows")  # noqa: S608
        await anyio.sleep(8)
        await dba.execute("ROLLBACK")
    return True


async def make_plans_stale(at: Field) -> bool:
    """Change a table and its statistics under prepared statements."""
    table = f"{at.role}.executions"
    async with at.dba() as dba:
        await dba.execute(
            "SET lock_timeout = '5s'",
            f"ALTER TABLE {table} ADD COLUMN stale integer",
            f"ANALYZE {table}",
            f"ALTER TABLE {table} DROP COLUMN stale",
        )
    return True


# -- SQLite --------------------------------------------------------------------------------------------------------


async def hold_write_lock(at: Field) -> bool:
    """Keep all others from writing for longer than a lease."""
    return await _transaction(at, "BEGIN IMMEDIATE", LEASE * at.chance.uniform(0.3, 1.5))


async def keep_reading(at: Field) -> bool:
    """Keep a read transaction open, so that the log can't be checkpointed."""
    return await _transaction(at, "BEGIN", 4.0)


async def _transaction(at: Field, begin: str, seconds: float) -> bool:
    assert at.file is not None
    connection = sqlite3.connect(at.file, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        await to_thread.run_sync(connection.execute, begin)
        await to_thread.run_sync(connection.execute, "SELECT count(*) FROM workflows")
        await anyio.sleep(seconds)
    except sqlite3.OperationalError:  # the others didn't let it in
        return False
    finally:
        connection.close()
    return True


OF_PROCESSES: Final[dict[str, Nemesis]] = {
    "kill": kill,
    "freeze": freeze,
    "stutter": stutter,
    "ask to go": ask_to_go,
}
OF_SQLITE: Final[dict[str, Nemesis]] = {"hold the write lock": hold_write_lock, "keep reading": keep_reading}
OF_POSTGRES: Final[dict[str, Nemesis]] = {
    **{fault.value: partial(_commits, fault=fault) for fault in Fault},
    "partition": partition,
    "slow down": slow_down,
    "reset": reset,
    "terminate backends": terminate_backends,
    "crash the server": crash_server,
    "stop the server": stop_server,
    "be read-only": partial(
        _altered,
        setting="SET default_transaction_read_only = on",
        undone="RESET default_transaction_read_only",
        seconds=1.0,
    ),
    "be serializable": partial(
        _altered,
        setting="SET default_transaction_isolation = 'serializable'",
        undone="RESET default_transaction_isolation",
        seconds=2.0,
    ),
    "be in a hurry": partial(
        _altered, setting="SET statement_timeout = '30ms'", undone="RESET statement_timeout", seconds=2.0
    ),
    "few connections": partial(_altered, setting="CONNECTION LIMIT 4", undone="CONNECTION LIMIT -1", seconds=2.0),
    "hold rows": hold_rows,
    "lock a table": lock_table,
    "keep a transaction": keep_transaction,
    "make plans stale": make_plans_stale,
}
