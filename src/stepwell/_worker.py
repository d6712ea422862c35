"""A worker: claims what is due as slots free up, runs each claim in a task of its own, and drains when told to go.

Starts tasks: one per claimed execution, one that renews all leases, one that watches them. All live in the task group
of `Worker.run`, so none outlives it.

Leaving: stop claiming, let running steps end for up to `grace` seconds, then cancel them and hand their leases back.
When the worker itself is cancelled, steps are cancelled at once.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import CancelScope, create_task_group

from stepwell._claims import Claim, Place, hand_back
from stepwell._contained import ContainedTasks
from stepwell._interrupts import sheltered
from stepwell._leases import Ending, Leases
from stepwell._model import Status
from stepwell._notices import claim_notices
from stepwell._reports import Reports
from stepwell._runner import Run
from stepwell._threads import Threads
from stepwell._unstoppable import Unstoppable
from stepwell._wakeups import Bell
from stepwell._watchdog import Watchdog
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._definition import Workflow
    from stepwell._leases import Beat, Held, Timing
    from stepwell._listeners import Listeners
    from stepwell._model import Row, Stored
    from stepwell._program import Program
    from stepwell._registry import Registry
    from stepwell._services import Services
    from stepwell._unstoppable import OnUnstoppable
    from stepwell.storage._protocol import Lease

__all__ = ["Worker"]

_CLAIM_LIMIT: Final = 5.0
"""seconds"""
_BACKOFF: Final = 0.1
_MAX_BACKOFF: Final = 10.0
"""seconds between two claims from a storage that is away, however long the poll interval"""
_MIN_SUSPECT_DELAY: Final = 1.0
_MAX_SUSPECT_DELAY: Final = 60.0
"""seconds"""
_HINTS_EVERY: Final = 0.05
"""seconds between two looks that hints from elsewhere bring about while all slots are taken"""
_HELD_EVERY: Final = 0.05
"""seconds between two claims that ask which leases are lost, unless there was a hint from elsewhere"""
_STATUSES: Final = frozenset(map(str, Status))
_EXIT_LIMIT: Final = 10.0
"""seconds beyond its grace that a worker which has to exit may take, to hand back what it runs"""


class Worker:
    """Runs executions until it is stopped. Made by the engine; `id` is this one's alone, whatever its name."""

    def __init__(
        self,
        id: str,
        services: Services,
        registry: Registry,
        timing: Timing,
        *,
        concurrency: int,
        listeners: Listeners,
        single_step: bool = False,
    ) -> None:
        self.id = id
        self.threads = Threads(concurrency)
        self._services = services
        self._registry = registry
        self._timing = timing
        self._concurrency = concurrency
        self._listeners = listeners
        self._single_step = single_step
        self._is_stopping = False
        self._is_closed = False
        self._running = 0
        self._grace = 0.0
        self._failures = 0
        """claims in a row that failed"""
        self._suspect: Held | None = None
        self._suspect_since = 0.0
        self._bell = Bell()
        self._asked_at = 0.0
        self._asked_held_at = -math.inf
        self._is_hinted = False
        """whether something happened elsewhere since it was last asked which leases are lost"""
        self._lost_claims: list[Lease] = []
        self._steps: ContainedTasks | None = None
        """while executions that are being started may be claimed at once"""
        self._is_idle = False
        """whether the last claim found that nothing more was due"""
        self._reports = Reports(id, listeners)
        self._unstoppable = Unstoppable(self.threads, concurrency, self._reports, self._exit)
        self.leases = Leases(
            services.storage,
            id,
            timing,
            unknown=self._tell_unknown,
            unstoppable=self._give_up,
            stalled=self._tell_stalled,
            failed=lambda error: self.trouble(f"leases can't be renewed: {error}"),
        )
        self._watchdog = Watchdog(services.storage, id, self.leases, timing)

    @property
    def abandoned(self) -> int:
        """How many handlers run on that can't be stopped: those whose slots are used again, and those in threads."""
        return len(self._unstoppable)

    # -- what a run asks (Host) ----------------------------------------------------------------------------------------

    def goes_on(self) -> bool:
        """Tell whether the next step may begin under this lease."""
        return not (self._single_step or self._is_stopping)

    def suspect_delay(self, held: Held) -> float:
        """Return 0 if an execution that lost its worker may run now, else the seconds after which to ask again.

        One at a time does. The longer it takes, the more seldom the others come back, each with two journal entries.
        """
        now = anyio.current_time()
        if self._suspect is None:
            self._suspect, self._suspect_since = held, now
        if self._suspect is held:
            return 0.0
        return min(max(now - self._suspect_since, _MIN_SUSPECT_DELAY), _MAX_SUSPECT_DELAY)

    def suspect_is_over(self, held: Held) -> None:
        """Let another suspect run: this one's step has ended, one way or the other."""
        if self._suspect is held:
            self._suspect = None
            self._bell.ring()

    def trouble(self, message: str, held: Held | None = None, row: Row | None = None) -> None:
        """Tell of what is wrong with the worker, its storage or a handler, rather than with a step."""
        self._reports.trouble(message, row)

    def lease_lost(self, held: Held, row: Row) -> None:
        """Tell that this worker lost a lease; what ran under it was cancelled."""
        self._reports.lease_lost(row)

    def left_in_thread(self, row: Row) -> None:
        """Tell of a handler that was left behind in its thread, which can't be stopped."""
        self._unstoppable.left_in_thread(row, leaving=self._is_stopping)

    def _tell_unknown(self, lease: Lease) -> None:
        self._lost_claims.append(lease)
        self._bell.ring()

    def _tell_stalled(self, beat: Beat, seconds: float) -> None:
        block = self._watchdog.block
        self._reports.blocked(seconds, block if block is not None and block.beat is beat else None)

    def _give_up(self, held: Held) -> None:
        """Go on without a handler that ignores its cancellation."""
        if self._unstoppable.give_up(held):
            self._running -= 1
        self.suspect_is_over(held)
        self._bell.ring()

    def _exit(self) -> None:
        self._watchdog.exit_after(self._grace + _EXIT_LIMIT)
        self.stop()

    # -- living and leaving --------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Claim nothing any more, and begin no further step."""
        self._is_stopping = True
        self._bell.ring()

    def close(self) -> None:
        """Stop at once: cancel what runs, and whatever a claim that is on its way still brings."""
        self._is_closed = True
        self.stop()
        self.leases.end_all(Ending.DRAINED)

    async def run(
        self,
        bell: Bell,
        *,
        poll_interval: float,
        grace: float,
        on_unstoppable: OnUnstoppable,
        ready: Callable[[], None],
    ) -> None:
        """Claim and run until stopped, then drain for up to *grace* seconds; or until cancelled, then stop at once.

        Raises UnstoppableHandler if the worker is to exit for one.
        """
        self._grace, self._unstoppable.policy = grace, on_unstoppable
        async with self._renewing(), create_task_group() as tasks:
            self._steps = steps = ContainedTasks(tasks)
            self._bell = bell
            ready()
            try:
                while not self._is_stopping:
                    may_be_more = await self._claim(steps)
                    self._is_idle = not (may_be_more or self._failures)
                    if not self._is_stopping:
                        await self._wait(poll_interval, may_be_more=may_be_more)
                with anyio.move_on_after(grace):
                    while self._running and not self._is_closed:
                        await bell.wait(math.inf)
            finally:
                self._steps = None
            self.leases.end_all(Ending.DRAINED)
            steps.close()
        if self._unstoppable.fatal is not None:
            raise self._unstoppable.fatal

    async def run_once(self, limit: int) -> int:
        """Claim up to *limit* executions, run one step of each, and return how many were claimed."""
        claimed = await self._ask(limit)
        async with self._renewing(), create_task_group() as tasks:
            steps = ContainedTasks(tasks)
            for claim in claimed:
                self._start(steps, claim)
            steps.close()
        return len(claimed)

    @asynccontextmanager
    async def _renewing(self) -> AsyncGenerator[None]:
        """Keep leases alive until the last step has ended, whatever becomes of the worker's own scope."""
        async with create_task_group() as siblings:
            scopes = [CancelScope(shield=True), CancelScope(shield=True)]

            async def live(scope: CancelScope, work: Callable[[], Any]) -> None:
                with scope:
                    await work()

            siblings.start_soon(sheltered, live, scopes[0], self.leases.renew)
            siblings.start_soon(sheltered, live, scopes[1], self.leases.watch)
            try:
                with self._watchdog.watching():
                    yield
            finally:
                for scope in scopes:
                    scope.cancel()

    # -- claiming ------------------------------------------------------------------------------------------------------

    async def _claim(self, steps: ContainedTasks) -> bool:
        """Claim as many executions as there are free slots; return whether there may be more that are due."""
        self._is_idle = False  # from here on the free slots are spoken for
        free = max(self._concurrency - self._running, 0)
        try:
            if self._registry.has_news or self._lost_claims:
                with anyio.fail_after(_CLAIM_LIMIT):
                    for refused in await self._registry.publish(self._services.storage):
                        self.trouble(str(refused))
                    await self._hand_back_lost_claims()
            claimed = await self._ask(free)
        except (StorageError, TimeoutError) as error:
            self._failures += 1
            self.trouble(f"nothing can be claimed: {str(error) or 'the storage does not answer'}")
            return False
        self._failures = 0
        for claim in claimed:
            self._start(steps, claim)
        return len(claimed) == free

    async def _ask(self, limit: int) -> list[Claim]:
        """Claim, and learn in the same round trip which leases are ours no more."""
        programs = dict(self._registry.programs)
        self._asked_at = sent_at = anyio.current_time()
        self._is_hinted |= self._bell.heard_from_elsewhere()
        held: list[Lease] = []
        if not limit or self._is_hinted or sent_at - self._asked_held_at >= _HELD_EVERY:
            held, self._asked_held_at, self._is_hinted = self.leases.all(), sent_at, False
        self.leases.claims_sent += 1
        try:
            with anyio.fail_after(_CLAIM_LIMIT, shield=True):  # cancelled, it would leave leases that nobody runs
                claims = await self._services.storage.claim(
                    self.id,
                    list(programs),
                    limit=limit,
                    lease=self._timing.lease,
                    held=held,
                )
        except TimeoutError:
            raise StorageError(f"the storage didn't answer a claim within {_CLAIM_LIMIT:g} s") from None
        finally:
            self.leases.claims_answered += 1
        self.leases.lose(claims.lost)
        return [Claim(stored, programs[stored.row.workflow, stored.row.version], sent_at) for stored in claims.claimed]

    async def _hand_back_lost_claims(self) -> None:
        """Give back leases from a claim whose answer was lost: nobody runs them, so no attempt has begun."""
        while self._lost_claims:
            await hand_back(self._services, self.id, self._lost_claims[-1], self._workflow_of)
            self._lost_claims.pop()

    def _workflow_of(self, row: Row) -> Workflow[Any, Any]:
        return self._registry.find(row.workflow, row.version).workflow

    # -- executions that are claimed as they are started (`_claims`) ---------------------------------------------------

    def place(self, program: Program) -> Place | None:
        """Keep a free slot for an execution that is being started; None where what is due already has to come first."""
        is_full = self._running >= self._concurrency
        if self._steps is None or is_full or not self._is_idle or self._is_stopping:
            return None
        self._running += 1
        self.leases.claims_sent += 1
        return Place(self, program, self._timing.lease)

    def fill(self, claim: Claim) -> bool:
        """Begin to run the claim in the place that was kept; False if the worker starts nothing any more."""
        if self._steps is None:
            return False
        self.leases.claims_answered += 1
        self._running -= 1
        self._start(self._steps, claim)
        return True

    def vacate(self) -> None:
        """Keep the place no longer."""
        self.leases.claims_answered += 1
        self._running -= 1
        self._bell.ring()

    # -- running what was claimed --------------------------------------------------------------------------------------

    def _start(self, steps: ContainedTasks, claim: Claim) -> None:
        stored, row = claim.stored, claim.stored.row
        held = self.leases.take(row.id, row.token, sent_at=claim.sent_at)
        if self._is_closed:
            held.end(Ending.DRAINED)
        if self._listeners.is_needed:
            for event in claim_notices(row, _found(stored)):
                self._services.after(row.id, partial(self._listeners.tell, event))
        run = Run(self._services, self, claim.program, stored, held)
        self._running += 1
        steps.start(partial(self._run, run, held), partial(getattr, run, "has_open_scope"))

    async def _run(self, run: Run, held: Held) -> None:
        try:
            await run.run()
        finally:
            is_awaited = self._running >= self._concurrency or self._suspect is held or self._is_stopping
            self.leases.drop(held)
            if self._suspect is held:
                self._suspect = None
            if not self._unstoppable.has_ended(held):
                self._running -= 1
            if is_awaited:
                self._bell.ring()
            if held.ending is Ending.LOST:
                self._bell.ring(self._timing.lease)  # by then it has lapsed

    async def _wait(self, poll_interval: float, *, may_be_more: bool) -> None:
        """Wait until there is something to claim for: a wake-up, a slot if more is due, or the time to poll.

        A worker whose slots are all taken lets local hints pass, and asks after hints from elsewhere (a lease of its
        own may have been taken away) now and then.
        """
        if self._failures:
            poll_interval = min(poll_interval, _BACKOFF * 2 ** min(self._failures, 10), _MAX_BACKOFF)
        jittered = poll_interval * (0.75 + 0.25 * self._services.entropy.fraction())  # never later than was promised
        end = anyio.current_time() + jittered
        if not may_be_more and not self._failures:
            await self._bell.wait(jittered)
        while (self._failures or self._running >= self._concurrency) and not self._is_stopping:
            left = end - anyio.current_time()
            if left <= 0:
                return
            await self._bell.wait(left)
            if self._failures:
                continue  # hints don't shorten the back-off
            if self._bell.heard_from_elsewhere():
                self._is_hinted = True
                end = min(end, self._asked_at + _HINTS_EVERY)


def _found(stored: Stored) -> Status:
    """Return where a claim found the execution, as its entry says; one that can't be read says nothing."""
    ref = stored.journal[-1].ref if stored.journal else None
    return Status(ref) if ref in _STATUSES else Status.QUEUED
