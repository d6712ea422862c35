"""The storages that tests run on, each with the test's own clock, and under hold where it does real work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib.util import find_spec
from typing import Final, Literal

from stepwell.storage._protocol import Storage
from stepwell.storage.memory import MemoryStorage
from tests.support.held import held
from tests.support.virtual_time import VirtualTime

__all__ = ["STORAGE_KINDS", "Clock", "StorageFactory", "StorageKind", "database"]

Clock = Callable[[], float]
"""Seconds since 1970."""

StorageKind = Literal["memory", "sqlite", "postgres"]
HAS_POSTGRES: Final = find_spec("stepwell.storage.postgres") is not None
STORAGE_KINDS: Final[tuple[StorageKind, ...]] = ("memory", "sqlite", *(("postgres",) if HAS_POSTGRES else ()))

StorageFactory = Callable[[], AbstractAsyncContextManager[Storage]]
"""Opens one more connection to the test's database, for the length of an `async with`."""


@asynccontextmanager
async def database(
    kind: StorageKind, address: str, *, clock: Clock, time: VirtualTime | None
) -> AsyncGenerator[StorageFactory]:
    """Provide the fresh database at this address: a file, or the URL of a database without rows.

    In memory there is one storage for all, opened here; elsewhere each has its own.
    """

    def open_sqlite() -> Storage:
        from stepwell.storage.sqlite import SQLiteStorage  # noqa: PLC0415

        storage = SQLiteStorage(address, clock=clock)
        return storage if time is None else held(storage, time)

    def open_postgres() -> Storage:
        from stepwell.storage.postgres import PostgresStorage  # noqa: PLC0415

        # A hint comes by a connection of its own, unheld: virtual time would jump while it opens, waits and closes.
        storage = PostgresStorage(address, clock=clock, notify=time is None)
        return storage if time is None else held(storage, time)

    match kind:
        case "memory":
            async with MemoryStorage(clock=clock) as memory:
                yield lambda: nullcontext(memory)
        case "sqlite":
            yield open_sqlite
        case "postgres":
            yield open_postgres
