"""The leases of one worker: renewed all in one statement, and each a cancel scope that ends in time.

A lease is trusted until its end by this process's own clock, counted from before the claim or renewal was *sent*, less
a margin. Whoever is not trusted any more is cancelled, whether or not the storage can be reached.

Runs as two tasks of the worker's task group: one renews, one watches; a renewal that hangs must not stop the watch.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CancelScope

from stepwell.storage._protocol import Lease, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stepwell.storage._protocol import Renewal, Storage

__all__ = ["Ending", "Held", "Leases"]

_STUBBORN_AFTER: Final = 5.0
"""seconds after its cancellation at which a handler that goes on is reported"""


class Ending(Enum):
    """Why a held lease's scope was cancelled. The first reason counts."""

    LOST = "lost"
    CANCELLED = "cancelled"
    DRAINED = "drained"


class Held:
    """A lease that this worker holds, and the scope in which its execution runs."""

    __slots__ = ("deadline", "ended_at", "ending", "id", "is_reported", "scope", "step", "token", "trusted_until")

    def __init__(self, id: str, token: int, trusted_until: float) -> None:
        self.id = id
        self.token = token
        self.trusted_until = trusted_until
        self.scope = CancelScope()
        self.ending: Ending | None = None
        self.ended_at = math.inf
        self.deadline = math.inf
        """when the timeout of the handler that runs now cancels it"""
        self.step: str | None = None
        """the step whose handler runs now"""
        self.is_reported = False

    @property
    def lease(self) -> Lease:
        """The lease as the storage knows it."""
        return Lease(self.id, self.token)

    def is_trusted(self, now: float) -> bool:
        """Tell whether nobody else can have the lease yet, by this process's own clock."""
        return self.ending is not Ending.LOST and now < self.trusted_until

    def end(self, ending: Ending) -> None:
        """Cancel whatever runs under the lease."""
        if self.ending is None or (ending is Ending.LOST and self.ending is Ending.DRAINED):
            self.ending = ending
            self.ended_at = anyio.current_time()
        self.scope.cancel(ending.value)

    def stubborn_at(self) -> float:
        """Return when a handler that still runs has ignored its cancellation for too long."""
        if self.step is None or self.is_reported:
            return math.inf
        return min(self.ended_at, self.deadline) + _STUBBORN_AFTER


class Leases:
    """All leases that one worker holds, by execution id."""

    def __init__(
        self,
        storage: Storage,
        worker: str,
        *,
        lease: float,
        renew_every: float,
        margin: float,
        unknown: Callable[[Lease], None],
        stubborn: Callable[[Held], None],
        failed: Callable[[StorageError], None],
    ) -> None:
        """Renew for *lease* seconds every *renew_every*; tell of unknown leases, stubborn handlers and failures."""
        self._storage = storage
        self._worker = worker
        self._lease = lease
        self._renew_every = renew_every
        self._margin = margin
        self._unknown = unknown
        self._stubborn = stubborn
        self._failed = failed
        self._held: dict[str, Held] = {}
        self._moved = anyio.Event()
        self._next_look = math.inf
        self._abandoned: set[Lease] = set()
        """leases that are left to lapse: given up for lost, though nobody has claimed them yet"""
        self.claims_sent = 0
        self.claims_answered = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self, id: str, token: int, *, sent_at: float) -> Held:
        """Hold a lease that a claim brought which was sent at that time of the loop's clock.

        One that is heard of late, when a later claim of this worker has brought the execution once more, is lost.
        """
        held = Held(id, token, sent_at + self._lease - self._margin)
        known = self._held.get(id)
        if known is not None and known.token > token:
            held.end(Ending.LOST)
            return held
        self._held[id] = held
        if held.trusted_until < self._next_look:
            self._moved.set()
        return held

    def drop(self, held: Held) -> None:
        """Hold it no more; one that was given up for lost is left to lapse."""
        if held.ending is Ending.LOST:
            self._abandoned.add(held.lease)
        if self._held.get(held.id) is held:
            del self._held[held.id]

    def end(self, id: str, ending: Ending) -> None:
        """Cancel whatever runs for that execution, if it is held here."""
        held = self._held.get(id)
        if held is not None:
            held.end(ending)
            self._moved.set()

    def all(self) -> list[Lease]:
        """Return all leases as the storage knows them."""
        return [held.lease for held in self._held.values()]

    def lose(self, leases: Iterable[Lease]) -> None:
        """End those that the storage says are another's, or nobody's, by now."""
        for lease in leases:
            held = self._held.get(lease.id)
            if held is not None and held.token == lease.token:
                held.end(Ending.LOST)
                self._moved.set()

    def end_all(self, ending: Ending) -> None:
        """Cancel whatever runs."""
        for held in list(self._held.values()):
            held.end(ending)
        self._moved.set()

    async def watch(self) -> None:
        """Cancel each execution whose lease isn't trusted any more, and report handlers that go on regardless."""
        while True:
            now = anyio.current_time()
            self._next_look = min((self._look(held, now) for held in list(self._held.values())), default=math.inf)
            self._moved = anyio.Event()
            with anyio.move_on_after(self._next_look - now):
                await self._moved.wait()

    def _look(self, held: Held, now: float) -> float:
        """Do what is due for one lease; return when to look again."""
        if held.trusted_until <= now:
            held.end(Ending.LOST)
        if held.stubborn_at() <= now:
            self._report(held)
        is_over = held.ending in (Ending.LOST, Ending.CANCELLED)
        return min(held.stubborn_at(), math.inf if is_over else held.trusted_until)

    def _report(self, held: Held) -> None:
        """Fence a handler off that ignores its cancellation: its lease is not renewed any more, and someone is told."""
        held.is_reported = True
        self._stubborn(held)
        held.end(Ending.LOST)

    async def renew(self) -> None:
        """Renew all leases, every so often and for ever."""
        is_renewed = True
        while True:
            pause = self._renew_every if is_renewed else min(1.0, self._renew_every / 4)
            await anyio.sleep(pause)
            is_renewed = await self._renew_once()

    async def _renew_once(self) -> bool:
        """Renew what is still ours; return False where the storage didn't answer."""
        leases = [held.lease for held in self._held.values() if held.ending is not Ending.LOST]
        sent_at = anyio.current_time()
        claims_quiet = self.claims_sent == self.claims_answered
        claims_before = self.claims_sent
        try:
            with anyio.fail_after(self._lease / 2):
                renewal = await self._storage.renew(self._worker, leases, lease=self._lease)
        except StorageError as error:
            self._failed(error)
            return False
        except TimeoutError:
            self._failed(StorageError(f"the storage didn't answer a renewal within {self._lease / 2:g} s"))
            return False
        self._take_in(leases, renewal, sent_at, no_claims=claims_quiet and claims_before == self.claims_sent)
        return True

    def _take_in(self, leases: list[Lease], renewal: Renewal, sent_at: float, *, no_claims: bool) -> None:
        lost = set(renewal.lost)
        unmoved = lost.union(renewal.locked)
        for lease in leases:
            held = self._held.get(lease.id)
            if held is not None and held.token == lease.token and lease not in unmoved:
                held.trusted_until = max(held.trusted_until, sent_at + self._lease - self._margin)
        self.lose(renewal.lost)
        self._abandoned.intersection_update(renewal.unknown)
        if no_claims:  # else its answer may be on its way
            for lease in renewal.unknown:
                if lease.id not in self._held and lease not in self._abandoned:
                    self._unknown(lease)
