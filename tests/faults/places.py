"""Where cases are played: an empty storage of each kind, opened anew for every case.

On a database no hints come: they would come from a thread, at no moment that could be played again, and virtual time
would jump while a thread hears that nobody waits for them any more. What is due is found by looking.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import anyio

from stepwell import SQLiteStorage
from stepwell.storage import Storage
from stepwell.storage.memory import MemoryStorage
from tests.support.held import held
from tests.support.storages import StorageKind
from tests.support.virtual_time import VirtualTime

__all__ = ["Place", "in_files", "in_memory", "on_postgres", "opened_again", "place_for"]

Place = Callable[[VirtualTime], AbstractAsyncContextManager[Storage]]


class WithoutHints(SQLiteStorage):
    """A file that tells nobody of what others commit."""

    async def wakeup(self) -> None:
        await anyio.sleep_forever()


def in_memory(time: VirtualTime) -> AbstractAsyncContextManager[Storage]:
    """Open a storage that is gone with the case."""
    return MemoryStorage(clock=time.clock())


def in_files(folder: Path) -> Place:
    """Open a file of its own for each case, and delete that of the case before."""
    numbers = count(1)

    def open_one(time: VirtualTime) -> AbstractAsyncContextManager[Storage]:
        for old in folder.glob("case*"):
            old.unlink()
        return opened_again("sqlite", str(folder / f"case{next(numbers)}.db"), time, time.clock())

    return open_one


def on_postgres(emptied: Callable[[], str]) -> Place:
    """Open the database whose URL *emptied* gives, when it has made it empty."""
    return lambda time: opened_again("postgres", emptied(), time, time.clock())


def opened_again(
    kind: str, address: str, time: VirtualTime, clock: Callable[[], float]
) -> AbstractAsyncContextManager[Storage]:
    """Open a database, whatever it holds."""
    if kind == "sqlite":
        return held(WithoutHints(address, clock=clock, synchronous="NORMAL"), time)
    from stepwell.storage.postgres import PostgresStorage  # noqa: PLC0415 (its driver is only needed here)

    class Silent(PostgresStorage):
        async def wakeup(self) -> None:
            await anyio.sleep_forever()

    return held(Silent(address, clock=clock, notify=False, connections=2), time)


def place_for(kind: StorageKind, folder: Path, emptied: Callable[[], str]) -> Place:
    """Return where cases are played on a storage of this kind."""
    match kind:
        case "memory":
            return in_memory
        case "sqlite":
            return in_files(folder)
        case "postgres":
            return on_postgres(emptied)
