"""How long a run asks a storage that is away: again and again, as long as it has its lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from stepwell._leases import Ending
from stepwell._model import Status
from stepwell.storage._protocol import StorageError
from stepwell.storage._unreadable import Unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stepwell._leases import Held
    from stepwell._model import Row
    from stepwell._services import Host, Services

__all__ = ["LeaseLost", "StorageRetries"]


class LeaseLost(Exception):  # not an error: the way out of a run
    """The lease is not ours any more."""


class StorageRetries:
    """Calls to the storage under one lease."""

    __slots__ = ("_held", "_host", "_services")

    def __init__(self, services: Services, host: Host, held: Held) -> None:
        self._services = services
        self._host = host
        self._held = held

    async def call(self, ask: Callable[[], Awaitable[Any]], row: Row) -> Any:
        """Ask until there is an answer. Raises LeaseLost where the lease runs out meanwhile, and Unreadable."""
        while True:
            try:
                return await ask()
            except Unreadable:  # no second try can read it
                raise
            except StorageError as error:
                self._host.trouble(str(error), self._held, row)
            await self.pause()

    async def pause(self) -> None:
        """Wait a moment for the storage to come back. Raises LeaseLost where the lease ran out meanwhile."""
        await anyio.sleep(0.1 + 0.4 * self._services.entropy.fraction())
        if not self._held.is_trusted(self._services.loop.clock()):
            self._held.end(Ending.LOST)
            raise LeaseLost

    async def was_cancelled(self, limit: float) -> bool:
        """Tell whether the lease was taken away because a client cancelled the execution: no loss, then.

        Asks once, for up to *limit* seconds.
        """
        if self._services.loop.clock() >= self._held.trusted_until:
            return False
        with anyio.move_on_after(limit, shield=True):
            try:
                stored = await self._services.storage.load(self._held.id)
            except StorageError:
                return False
            return stored is not None and stored.row.status is Status.CANCELLED
        return False
