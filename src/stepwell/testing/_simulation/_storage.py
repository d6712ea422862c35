"""A process's handle on the one storage: each call goes over the wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from stepwell.storage import Change, Deposit, Moment, Status, Wake

if TYPE_CHECKING:
    from types import TracebackType

    from stepwell.storage import (
        Capability,
        Claims,
        Definition,
        Entry,
        Lease,
        Lifeline,
        Page,
        Query,
        Renewal,
        Storage,
        Stored,
        Unit,
    )
    from stepwell.testing._simulation._network import Network
    from stepwell.testing._simulation._processes import Process

__all__ = ["SimulatedStorage"]

T = TypeVar("T")


class SimulatedStorage:
    """What one process sees of the storage.

    *rate* is how many seconds of its clock pass in one of the storage's. A worker's clock is read for how long it has
    had a lease, and for nothing else; so a clock that goes wrong is a lease that lasts longer or shorter by it.
    """

    def __init__(self, network: Network, process: Process, *, rate: float = 1.0) -> None:
        self._network = network
        self._process = process
        self._rate = rate

    async def __aenter__(self) -> Self:
        await anyio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await anyio.lowlevel.checkpoint()

    async def define(self, definitions: Sequence[Definition], /) -> tuple[Definition, ...]:
        """Make workflows known."""
        return await self._ask("define", lambda storage: storage.define(definitions))

    async def commit(self, units: Sequence[Unit], /) -> Sequence[bool | None]:
        """Commit units."""
        sent = [tuple(self._by_its_clock(part) for part in unit) for unit in units]

        def changed(results: Sequence[bool | None]) -> list[str]:
            return [_id(part) for unit, is_done in zip(sent, results, strict=True) if is_done for part in unit]

        sent_at = anyio.current_time()
        results = await self._ask("commit", lambda storage: storage.commit(sent), changed)
        for unit, is_done in zip(units, results, strict=True):
            for part in unit if is_done else ():
                if isinstance(part, Change) and (seconds := _lease_of(part)) is not None:
                    self._hold(part.row.id, sent_at + seconds)
        return results

    async def claim(
        self,
        worker: str,
        capabilities: Sequence[Capability],
        /,
        *,
        limit: int,
        lease: float,
        held: Sequence[Lease] = (),
    ) -> Claims:
        """Claim what is due."""
        seconds, sent_at = lease * self._rate, anyio.current_time()
        claims = await self._ask(
            "claim",
            lambda storage: storage.claim(worker, capabilities, limit=limit, lease=seconds, held=held),
            lambda claims: [stored.row.id for stored in claims.claimed],
        )
        for stored in claims.claimed:
            self._hold(stored.row.id, sent_at + lease)
        return claims

    async def renew(self, worker: str, leases: Sequence[Lease], /, *, lease: float) -> Renewal:
        """Renew leases."""
        seconds, sent_at = lease * self._rate, anyio.current_time()
        renewal = await self._ask(
            "renew",
            lambda storage: storage.renew(worker, leases, lease=seconds),
            lambda renewal: [one.id for one in leases if one not in renewal.lost],
        )
        for one in set(leases).difference(renewal.lost, renewal.locked):
            self._hold(one.id, sent_at + lease)
        return renewal

    async def load(self, id: str, /) -> Stored | None:
        """Load an execution."""
        return await self._ask("load", lambda storage: storage.load(id))

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Read a journal."""
        return await self._ask("journal", lambda storage: storage.journal(id, after=after, limit=limit))

    async def find(self, query: Query, /) -> Page:
        """Find rows."""
        return await self._ask("find", lambda storage: storage.find(query))

    async def purge(self, age: float, /, *, limit: int) -> int:
        """Delete what ended."""
        return await self._ask("purge", lambda storage: storage.purge(age, limit=limit))

    async def wakeup(self) -> None:
        """Return when a hint comes."""
        await self._network.hint(self._process)

    def lifeline(self) -> Lifeline:
        """Refuse: a lifeline is for a thread, and there are none here."""
        raise NotImplementedError("a simulation has no threads, and so no use for a lifeline")

    async def _ask(
        self, verb: str, work: Callable[[Storage], Awaitable[T]], ids: Callable[[T], Sequence[str]] | None = None
    ) -> T:
        return await self._network.ask(self._process, verb, work, _nothing if ids is None else ids)

    def _by_its_clock(self, part: Change | Wake | Deposit) -> Change | Wake | Deposit:
        """A lease that begins with a start is counted like those of claims."""
        seconds = _lease_of(part) if isinstance(part, Change) else None
        if self._rate == 1 or seconds is None or not isinstance(part, Change):
            return part
        return replace(part, due=Moment(after=seconds * self._rate))

    def _hold(self, id: str, end: float) -> None:
        """Note until when the process may trust that the execution is its own."""
        ends = self._process.lease_ends
        ends[id] = max(end, ends.get(id, end))


def _lease_of(change: Change) -> float | None:
    """Return for how many seconds the change leases its execution, if it does."""
    is_lease = change.row.status is Status.RUNNING and change.due is not None
    return change.due.after if is_lease and change.due is not None else None


def _nothing(_: object) -> Sequence[str]:
    return ()


def _id(part: Change | Wake | Deposit) -> str:
    return part.row.id if isinstance(part, Change) else part.id
