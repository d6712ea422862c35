"""A network that fails: a proxy before a Postgres, on loopback, that knows where a commit is.

Starts tasks: two for each connection, in the task group of `proxied`. It reads the client's messages, which all begin
with a kind and a length, as far as it must: what a prepared statement is, and when one is run. What commits is a
COMMIT, or a statement that adds to the journal outside of a transaction.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from socket import SO_LINGER, SOL_SOCKET
from typing import Final

import anyio
import anyio.lowlevel
from anyio import aclose_forcefully, create_task_group
from anyio.abc import SocketAttribute, SocketStream

__all__ = ["Fault", "Proxy", "proxied"]

GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)
READY: Final = b"Z\x00\x00\x00\x05"
"""how a message of the server begins by which it says that all of what it was asked is done"""
ENDED: Final = b"C57P01"
"""the code with which it says that it ends the connection"""


class Fault(Enum):
    """What happens to a commit."""

    CUT_BEFORE = "cut before COMMIT"
    CUT_AFTER = "cut after COMMIT"
    HANG_AFTER = "hang after COMMIT"
    CLOSE_HALF = "half-close after COMMIT"


class Proxy:
    """A way to the server at *target*. Change its fields at any time; it counts what has struck."""

    def __init__(self, target: tuple[str, int], host: str = "127.0.0.1") -> None:
        self.host: Final = host
        self.port = 0
        self.target = target
        self.struck: Counter[Fault] = Counter()
        self.fault: Fault | None = None
        self.left = 0
        """how many commits the fault is still to strike"""
        self.delay = 0.0
        """seconds that each piece takes, either way"""
        self.is_silent = False
        """whether nothing comes through, either way, and nobody is told"""
        self.endings = 0
        """how many words of the server's that it ends a connection have been passed on"""
        self.keeps_open = False
        """whether clients don't hear when the server closes a connection, only what it has said before"""
        self._links: set[_Link] = set()
        self._heals = anyio.Event()

    def strike(self, fault: Fault, commits: int = 1) -> None:
        """Let the fault strike the next *commits* commits."""
        self.fault, self.left = fault, commits

    async def be_silent(self, seconds: float) -> None:
        """Let nothing through for so long. What was sent meanwhile arrives late, as with TCP."""
        self._heals, self.is_silent = anyio.Event(), True
        try:
            await anyio.sleep(seconds)
        finally:
            self.is_silent = False
            self._heals.set()

    def cut(self) -> int:
        """Reset all connections, those that hang too; return how many there were."""
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def strikes(self) -> Fault | None:
        """Return what a commit that comes by now suffers, and count it."""
        if not self.left or self.fault is None:
            return None
        self.left -= 1
        self.struck[self.fault] += 1
        return self.fault

    async def pass_through(self) -> None:
        """Return when a piece may go on."""
        if self.delay:
            await anyio.sleep(self.delay)
        while self.is_silent:
            await self._heals.wait()

    async def serve(self, client: SocketStream) -> None:
        """Connect a client with the server, until either is gone or a fault strikes."""
        try:
            server = await anyio.connect_tcp(*self.target)
        except OSError:
            await aclose_forcefully(client)
            return
        link = _Link(self, client, server)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: SocketStream, server: SocketStream) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._scope = anyio.CancelScope()
        self._requests = _Requests()
        self._suffers: Fault | None = None

    def reset(self) -> None:
        """End it, and let both sides hear of it as a reset."""
        for stream in (self._client, self._server):
            with suppress(OSError):
                socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 (of AnyIO, not of Django)
                socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self._scope.cancel()

    async def run(self) -> None:
        try:
            with self._scope:
                async with create_task_group() as tasks:
                    tasks.start_soon(self._requests_on)
                    tasks.start_soon(self._answers_on)
        finally:
            with anyio.CancelScope(shield=True):
                await aclose_forcefully(self._client)
                await aclose_forcefully(self._server)

    async def _requests_on(self) -> None:
        with suppress(*GONE):
            while True:
                piece = await self._client.receive()
                commits = self._requests.commits(piece)
                await self._proxy.pass_through()
                if commits and self._suffers is None:
                    self._suffers = self._proxy.strikes()
                if self._suffers is Fault.CUT_BEFORE:
                    self.reset()
                await anyio.lowlevel.checkpoint()
                await self._server.send(piece)
        if self._suffers is None or self._suffers is Fault.CLOSE_HALF:
            self._scope.cancel()

    async def _answers_on(self) -> None:
        with suppress(*GONE):
            while True:
                piece = await self._server.receive()
                await self._proxy.pass_through()
                if self._suffers is None:
                    await self._client.send(piece)
                    self._proxy.endings += ENDED in piece
                elif READY in piece:
                    await self._swallowed()
        if self._proxy.keeps_open:
            await anyio.sleep_forever()
        self._scope.cancel()

    async def _swallowed(self) -> None:
        """The commit is done; its answer gets lost."""
        if self._suffers is Fault.CUT_AFTER:
            self.reset()
        elif self._suffers is Fault.CLOSE_HALF:
            await self._client.send_eof()
        await anyio.sleep_forever()


class _Requests:
    """What a client asks for: the messages, as they come in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_started = False
        self._commits: dict[bytes, bool] = {}
        """the prepared statements, by name, and whether they commit"""
        self._in_transaction = False

    def commits(self, piece: bytes) -> bool:
        """Take a piece in; tell whether something in it commits."""
        self._rest += piece
        found = False
        for kind, body in self._messages():
            found |= self._commit(kind, body)
        return found

    def _messages(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            head = 5 if self._is_started else 4
            if len(self._rest) < head:
                return
            length = int.from_bytes(self._rest[head - 4 : head])
            end = head - 4 + length
            if len(self._rest) < end:
                return
            kind, body, self._rest = self._rest[: head - 4], self._rest[head:end], self._rest[end:]
            self._is_started = True
            if kind:
                yield kind, body

    def _commit(self, kind: bytes, body: bytes) -> bool:
        match kind:
            case b"Q":
                word = body.lstrip()[:6].upper()
                was_open, self._in_transaction = (
                    self._in_transaction,
                    word.startswith(b"BEGIN") or (self._in_transaction and word not in {b"COMMIT", b"ROLLBA"}),
                )
                return was_open and word == b"COMMIT"
            case b"P":
                name, text, *_ = body.split(b"\0")
                self._commits[name] = b".journal" in text and b"INSERT INTO" in text
            case b"B":
                _, name, *_ = body.split(b"\0", 2)
                return self._commits.get(name, False) and not self._in_transaction
            case _:
                pass
        return False


@asynccontextmanager
async def proxied(target: tuple[str, int], host: str = "127.0.0.1") -> AsyncGenerator[Proxy]:
    """Run a proxy before the server at *target* for as long as the block runs."""
    proxy = Proxy(target, host)
    async with await anyio.create_tcp_listener(local_host=host) as listener, create_task_group() as tasks:
        proxy.port = listener.extra(SocketAttribute.local_port)  # noqa: S610 (as above)
        tasks.start_soon(listener.serve, proxy.serve)
        try:
            yield proxy
        finally:
            tasks.cancel_scope.cancel()
