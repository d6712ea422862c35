"""Hints from other processes: LISTEN on a connection of its own, NOTIFY outside of every transaction that matters.

All commits of one database that hold a NOTIFY share a lock, so that one in the group commit would put all workers in a
queue. It is sent after the commit instead, by one task, one at a time: what is committed while one is under way shares
the next. It carries nothing but who sent it, and nothing is lost with it but time.

Starts a task: the sender. Runs in an asyncio loop.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import CancelScope

from stepwell.storage._postgres._errors import DRIVER
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    import asyncpg

    from stepwell.storage._postgres._database import Connection, Database

__all__ = ["Listener"]

_PING_EVERY: Final = 15.0
_PING_LIMIT: Final = 5.0
"""seconds between two looks whether the server is still there, and until it counts as gone"""
_PAUSE: Final = 0.01
"""seconds between two hints that are sent"""
_CLOSE_LIMIT: Final = 1.0

_SEND: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"
"""Nothing is lost with a hint, so its commit doesn't wait for the disk."""


class Listener:
    """Sends hints to all who listen on a channel, and hears theirs."""

    def __init__(self, database: Database, channel: str, me: str) -> None:
        """Listen on *channel* for whoever isn't *me*; without a channel, only this process hears itself."""
        self._database = database
        self._channel = channel
        self._me = me
        self._connection: asyncpg.Connection[Any] | None = None
        self._rings = 0
        self._rung = asyncio.Event()
        """set at the next ring, and replaced: all who wait hear each ring"""
        self._away: list[int] = []
        """the last ring that each of those heard who will come back; to go on from the oldest is always safe"""
        self._waiting = 0
        self._to_send = asyncio.Event()
        self._is_sending = False
        self._sender: asyncio.Task[None] | None = None
        self._at_connection = asyncio.Lock()
        """connecting and pinging: one at a time, for all who wait"""
        self._connecting = CancelScope()
        self._answered_at = -math.inf
        self._is_closed = False

    def send(self) -> None:
        """Let others know that something may be due or has changed, soon; also other engines on this storage."""
        if self._waiting + len(self._away) > 1:  # one who listens alone made the change, and knows
            self._ring()
        if not self._channel:
            return
        self._to_send.set()
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            self._is_sending = True
            with suppress(Exception):  # a hint that can't be sent is none; whoever commits finds out what is wrong
                await self._database.unit(_notify, self._channel, self._me)
            self._is_sending = False
            await asyncio.sleep(_PAUSE)

    async def heard(self) -> None:
        """Return when somebody else has sent a hint, or when hints may have been missed. Raises StorageError."""
        since = heapq.heappop(self._away) if self._away else self._rings
        self._waiting += 1
        try:
            await (self._wait(since) if self._channel else self._next_ring(since))
            if self._is_closed:  # to come back at once, again and again, would stop the loop
                raise StorageError(f"{self._database.address.name}: the storage is closed")
            heapq.heappush(self._away, self._rings)
        finally:
            self._waiting -= 1

    async def _next_ring(self, since: int) -> None:
        if self._rings == since and not self._is_closed:
            await self._rung.wait()

    async def _wait(self, since: int) -> None:
        async with self._at_connection:  # whoever else waits finds the connection there
            if not self._is_closed and (self._connection is None or self._connection.is_closed()):
                with CancelScope() as self._connecting:
                    self._connection = await self._listen()
                return  # what was sent before is lost: look once
        while self._rings == since and not self._is_closed:
            with anyio.move_on_after(_PING_EVERY):
                await self._next_ring(since)
            if self._rings == since:
                await self._ping()

    async def _listen(self) -> asyncpg.Connection[Any]:
        await self._drop()
        connection = await self._database.connect()
        try:
            await connection.add_listener(self._channel, self._hear)
            connection.add_termination_listener(self._lost)
        except DRIVER as error:
            connection.terminate()
            raise self._database.error(error) from error
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _hear(self, _connection: object, _pid: int, _channel: str, sender: object) -> None:
        if sender != self._me:
            self._ring()

    def _lost(self, connection: object) -> None:
        if connection is self._connection:
            self._ring()

    def _ring(self) -> None:
        self._rings += 1
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    async def _ping(self) -> None:
        """See whether the server is still there; ring if it isn't."""
        async with self._at_connection:
            connection, now = self._connection, anyio.current_time()
            if now - self._answered_at < _PING_EVERY / 2:
                return  # somebody else has just looked
            if connection is not None and not connection.is_closed():
                try:
                    with anyio.fail_after(_PING_LIMIT):
                        await connection.execute("SELECT 1")
                except DRIVER:
                    connection.terminate()
                else:
                    self._answered_at = now
                    return
            self._ring()

    async def close(self) -> None:
        """Send the last hint, and hear nothing any more; whoever waits returns."""
        self._is_closed = True
        self._ring()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender
            if self._to_send.is_set() or self._is_sending:  # what was handed back at the end, say, is due for others
                with suppress(Exception), anyio.move_on_after(_CLOSE_LIMIT):  # to connect anew may take longer
                    await self._database.unit(_notify, self._channel, self._me, limit=_CLOSE_LIMIT)
        self._connecting.cancel()
        await self._drop()
        async with self._at_connection:  # whoever was about to connect, or to ping
            await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with (
                anyio.move_on_after(_CLOSE_LIMIT, shield=True),
                suppress(*DRIVER),
            ):
                await connection.close()
            if not connection.is_closed():
                connection.terminate()


async def _notify(connection: Connection, channel: str, me: str) -> None:
    await connection.execute(_SEND, channel, me)
