"""The leases of one worker: renewed all in one statement, and each a cancel scope that ends in time.

A lease is trusted until its end by this process's own clock, counted from before the claim or renewal was *sent*, less
a margin. Whoever is not trusted any more is cancelled, whether or not the storage can be reached.

Runs as two tasks of the worker's task group: one renews, one watches; a renewal that hangs must not stop the watch.

While anything is held, the watch also beats (`Pulse`), so that a thread can see whether the event loop turns at all. If
it doesn't, the thread renews in its place (`_watchdog`). All it writes here is `trusted_until`, and never beyond what
one of this worker's own sends warrants: whoever of the two writes last is right.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from enum import Enum
from threading import Event as ThreadEvent
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio import CancelScope

from stepwell._own_context import Turn
from stepwell.storage._protocol import Lease, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stepwell._model import Row
    from stepwell.storage._protocol import Renewal, Storage

__all__ = ["Beat", "Ending", "Held", "Leases", "Pulse", "Timing"]

_UNSTOPPABLE_AFTER: Final = 5.0
"""seconds after its cancellation at which a handler that goes on is reported"""
_BEATS: Final = 3
"""beats in the time for which the loop may stand still"""


class Ending(Enum):
    """Why a held lease's scope was cancelled. The first reason counts."""

    LOST = "lost"
    CANCELLED = "cancelled"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a lease runs, how often it is renewed, how long before its end it isn't trusted any more; in seconds."""

    lease: float
    renew_every: float
    margin: float

    @property
    def stall(self) -> float:
        """How long the event loop may stand still: as long as can't cost a lease, wherever between two renewals."""
        return min(self.margin, (self.lease - self.margin - self.renew_every) / 2)


class Beat(NamedTuple):
    """A sign that the event loop turned."""

    at: float
    """the loop's time"""
    due: float
    """when it is to turn again; infinite while nothing is held"""
    real: float
    """the time of the machine's monotonic clock, which the loop's may not follow: it may be virtual"""


class Pulse:
    """What the event loop shows of itself to a thread, in attributes that are written whole; nothing is locked."""

    __slots__ = ("beat", "is_unseen", "turn", "woken")

    def __init__(self) -> None:
        self.beat = Beat(0.0, math.inf, 0.0)
        self.turn = Turn()
        """whose handler the loop is in"""
        self.is_unseen = False
        """whether the thread sleeps until it is woken"""
        self.woken = ThreadEvent()

    def strike(self, now: float, due: float) -> None:
        """Show that the loop turns now, and when it will again."""
        self.beat = Beat(now, due, time.monotonic())


class Held:
    """A lease that this worker holds, and the scope in which its execution runs."""

    __slots__ = (
        "deadline",
        "ended_at",
        "ending",
        "id",
        "is_reported",
        "row",
        "scope",
        "token",
        "trusted_until",
        "turn",
    )

    def __init__(self, id: str, token: int, trusted_until: float, turn: Turn) -> None:
        self.id = id
        self.token = token
        self.trusted_until = trusted_until
        self.scope = CancelScope()
        self.ending: Ending | None = None
        self.ended_at = math.inf
        self.deadline = math.inf
        """when the timeout of the handler that runs now cancels it"""
        self.row: Row | None = None
        """where the execution stands whose handler runs now; None while none does"""
        self.turn = turn
        """where the handler says that the event loop is in it"""
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

    def unstoppable_at(self, turns_since: float) -> float:
        """Return when a handler that still runs has ignored its cancellation for too long.

        A loop that has turned *since* then only could not cancel it before.
        """
        if self.row is None or self.is_reported:
            return math.inf
        return max(min(self.ended_at, self.deadline), turns_since) + _UNSTOPPABLE_AFTER


class Leases:
    """All leases that one worker holds, by execution id."""

    def __init__(
        self,
        storage: Storage,
        worker: str,
        timing: Timing,
        *,
        unknown: Callable[[Lease], None],
        unstoppable: Callable[[Held], None],
        stalled: Callable[[Beat, float], None],
        failed: Callable[[StorageError], None],
    ) -> None:
        """Renew, and tell of what is wrong.

        That is: unknown leases, handlers that ignore their cancellation, a loop that didn't turn
        (since which beat, and for how long), and renewals that failed.
        """
        self._storage = storage
        self._worker = worker
        self._lease = timing.lease
        self._renew_every = timing.renew_every
        self.trust_of_a_lease = timing.lease - timing.margin
        """seconds from when it was sent for which a claim or a renewal is trusted"""
        self._beat_every = timing.stall / _BEATS
        self.patience = timing.stall - self._beat_every
        """seconds that a beat may be late"""
        self._unknown = unknown
        self._unstoppable = unstoppable
        self._stalled = stalled
        self._failed = failed
        self.pulse = Pulse()
        self._turns_since = -math.inf
        """when the loop began to turn again after it was last blocked"""
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
        held = Held(id, token, sent_at + self.trust_of_a_lease, self.pulse.turn)
        known = self._held.get(id)
        if known is not None and known.token > token:
            held.end(Ending.LOST)
            return held
        self._held[id] = held
        if held.trusted_until < self._next_look:
            self._moved.set()
        if self.pulse.beat.due == math.inf:
            self._begin_to_beat()
        return held

    def _begin_to_beat(self) -> None:
        """Owe a beat from now on: the handler may block the loop before the watch comes to it."""
        now = anyio.current_time()
        self.pulse.strike(now, now + self._beat_every)
        if self.pulse.is_unseen:
            self.pulse.woken.set()

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
        pulse = self.pulse
        while True:
            now = anyio.current_time()
            if now - pulse.beat.due > self.patience:
                self._turns_since = now
                self._stalled(pulse.beat, now - pulse.beat.at)
            self._next_look = min((self._look(held, now) for held in list(self._held.values())), default=math.inf)
            self._moved = anyio.Event()
            pulse.strike(now, now + self._beat_every if self._held else math.inf)
            with anyio.move_on_after(min(self._next_look, pulse.beat.due) - now):
                await self._moved.wait()

    def _look(self, held: Held, now: float) -> float:
        """Do what is due for one lease; return when to look again."""
        if held.trusted_until <= now:
            held.end(Ending.LOST)
        if held.unstoppable_at(self._turns_since) <= now:
            self._report(held)
        is_over = held.ending in (Ending.LOST, Ending.CANCELLED)
        return min(held.unstoppable_at(self._turns_since), math.inf if is_over else held.trusted_until)

    def _report(self, held: Held) -> None:
        """Fence a handler off that ignores its cancellation: its lease is not renewed any more, and someone is told."""
        held.is_reported = True
        self._unstoppable(held)
        held.end(Ending.LOST)

    # -- from the thread that stands in for a loop that doesn't turn ---------------------------------------------------

    def trusted(self, now: float) -> list[Held]:
        """Return what is held, and neither given up nor run out. From any thread."""
        held = list(self._held.values())
        return [one for one in held if one.ending is not Ending.LOST and one.trusted_until > now]

    def extend(self, held: Iterable[Held], renewal: Renewal, *, sent_at: float) -> None:
        """Trust what was renewed, as far as this send warrants it. What is lost the loop's own renewal will tell."""
        unmoved = {*renewal.lost, *renewal.locked}
        for one in held:
            if one.lease not in unmoved:
                one.trusted_until = max(one.trusted_until, sent_at + self.trust_of_a_lease)

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
        abandoned = frozenset(self._abandoned)  # none of which is named here
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
        self._abandoned -= abandoned.difference(renewal.unknown)  # they have lapsed
        self._take_in(leases, renewal, sent_at, no_claims=claims_quiet and claims_before == self.claims_sent)
        return True

    def _take_in(self, leases: list[Lease], renewal: Renewal, sent_at: float, *, no_claims: bool) -> None:
        named = [self._held.get(lease.id) for lease in leases]
        held = [one for one, lease in zip(named, leases, strict=True) if one is not None and one.token == lease.token]
        self.extend(held, renewal, sent_at=sent_at)
        self.lose(renewal.lost)
        if no_claims:  # else its answer may be on its way
            for lease in renewal.unknown:
                if lease.id not in self._held and lease not in self._abandoned:
                    self._unknown(lease)
