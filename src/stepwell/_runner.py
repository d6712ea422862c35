"""Runs one claimed execution: plan, call, settle, and again, for as long as the lease is kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, assert_never

import anyio
import anyio.lowlevel

from stepwell._calls import Calls, child_outcome, state_of, unreadable
from stepwell._leases import Ending
from stepwell._log import Log
from stepwell._model import Status
from stepwell._settling import Settling, Spoiled
from stepwell._storage_retries import LeaseLost, StorageRetries
from stepwell._transactions import transactional
from stepwell._transition import (
    Call,
    ChildEnded,
    Decide,
    Drained,
    HandedBack,
    Look,
    Raised,
    Resolve,
    Returned,
    StillSuspended,
    plan,
)
from stepwell.storage._protocol import StorageError
from stepwell.storage._transactions import TransactionLost, TransactionRefused
from stepwell.storage._unreadable import Unreadable

if TYPE_CHECKING:
    from stepwell._leases import Held
    from stepwell._model import Stored
    from stepwell._program import Program
    from stepwell._services import Host, Services
    from stepwell._transition import Event

__all__ = ["Run"]

_MAX_LOSSES: Final = 5
"""how often a step is called again whose transaction was lost, before that counts as a failure of the attempt"""
_HAND_BACK_LIMIT: Final = 2.5
"""seconds that a hand-back may take once it was asked for from outside, after as much for a commit in flight"""

logger = Log()


class Run:
    """One claimed execution in this worker's hands."""

    def __init__(self, services: Services, host: Host, program: Program, stored: Stored, held: Held) -> None:
        self._services = services
        self._host = host
        self._workflow = program.workflow
        self._held = held
        self._now = stored.now
        self._stored: Stored | None = stored
        self._retries = StorageRetries(services, host, held)
        self._calls = Calls(program, services.limits, services.loop, held, host)
        self._settling = Settling(
            services, host, program.workflow, held, row=stored.row, calls=self._calls, retries=self._retries
        )

    async def run(self) -> None:
        """Run it until it is done or given up. Cancellation hands the lease back, shielded and within five seconds."""
        held = self._held
        try:
            with held.scope:
                self._settling.state, unreadable = state_of(self._workflow, self._stored or _missing())
                self._stored = None
                await (self._go_on() if unreadable is None else self._settling.settle(unreadable))
                return
            if held.ending is Ending.DRAINED:
                await self._give_up()
        except LeaseLost:
            pass
        except Exception as error:
            if self._calls.has_spoiled_task:  # or the RuntimeError of the lease's scope, if one inside it is open
                await self._leave()
                return
            held.end(Ending.LOST)  # left to lapse: claimed again, it counts against the crash budget
            logger.exception("stepwell: execution %s can't be run", held.id)
            self._host.trouble(f"{type(error).__name__}: {error}", held, self._settling.row)
        except anyio.get_cancelled_exc_class():
            await self._leave()
            raise
        except BaseException:
            await self._give_up()
            raise
        if (
            held.ending is Ending.LOST
            and self._settling.row.status is Status.RUNNING
            and not await self._retries.was_cancelled(_HAND_BACK_LIMIT)
        ):
            self._host.lease_lost(held, self._settling.row)

    async def _go_on(self) -> None:
        settling = self._settling
        # Begin nothing for a worker that is on its way out. From then on, a cancellation strikes while a commit is
        # waited for: to ask before each step as well cost 7 % of its CPU.
        await anyio.lowlevel.checkpoint_if_cancelled()
        while settling.row.status is Status.RUNNING:
            if self._held.ending is not None:
                await anyio.lowlevel.checkpoint_if_cancelled()
            action = plan(self._workflow, settling.state, self._now)
            event: Event | None
            if not isinstance(action, Call):
                event = await self._event_of(action)
            elif not action.step.transactional:
                event = self._held_off() or await self._calls.call(action.step, settling.state)
            else:
                event = await self._call_in_transaction(action.step)
                if event is None:
                    continue
            if self._calls.has_spoiled_task:
                settling.take_in_hand(event)
                raise Spoiled
            await settling.settle(event)

    @property
    def has_open_scope(self) -> bool:
        """Whether a handler left a scope open in the task, so that it breaks its task group when it ends."""
        return self._calls.has_open_scope

    async def _leave(self) -> None:
        """Give up; where only a handler's bad manners call for that, insist for as long as the lease is trusted."""
        is_asked = self._held.ending is not None or anyio.current_effective_deadline() == -math.inf
        limit = 0.0 if is_asked else self._held.trusted_until - anyio.current_time()
        try:
            await self._give_up(max(limit, _HAND_BACK_LIMIT))
        except anyio.get_cancelled_exc_class():  # asyncio's own, pending since the handler: it comes once
            await self._give_up(max(limit, _HAND_BACK_LIMIT))

    async def _give_up(self, limit: float = _HAND_BACK_LIMIT) -> None:
        """Commit what is in hand, and hand the lease back, within *limit* seconds."""
        with anyio.move_on_after(limit, shield=True):
            try:
                if self._holds_on():
                    await self._settling.settle_rest()
                if self._holds_on():
                    await self._settling.settle(Drained() if self._calls.has_begun else HandedBack("drain"))
            except LeaseLost:
                return
            except Exception as error:
                self._held.end(Ending.LOST)
                logger.exception("stepwell: execution %s can't be handed back", self._held.id)
                self._host.trouble(f"{type(error).__name__}: {error}", self._held, self._settling.row)

        has_work = self._settling.has_work or self._calls.has_begun
        if self._holds_on() and has_work and self._held.ending is not Ending.DRAINED:
            # Left to lapse: a worker that stays must not take it for a claim that nobody runs.
            self._held.end(Ending.LOST)

    def _holds_on(self) -> bool:
        return self._settling.row.status is Status.RUNNING and self._held.ending not in (Ending.LOST, Ending.CANCELLED)

    # -- what is next --------------------------------------------------------------------------------------------------

    async def _event_of(self, action: Decide | Look | Resolve) -> Event:
        match action:
            case Decide(event):
                return event
            case Look(child):
                return await self._look(child)
            case Resolve(step, signal):
                return self._held_off() or await self._calls.call(step, self._settling.state, signal)
            case _:
                assert_never(action)

    async def _look(self, child: str) -> Event:
        try:
            stored = await self._retries.call(lambda: self._services.storage.load(child), self._settling.row)
        except Unreadable as error:
            return unreadable(error)
        if stored is None or not stored.row.status.is_terminal:
            return StillSuspended()
        return ChildEnded(stored.row.status, child_outcome(stored.row))

    async def _call_in_transaction(self, step: Any) -> Event | None:
        """Call the step, and commit its result in its own transaction; return what is left to settle outside of it.

        None also where the transaction is gone: the step is called again.
        """
        storage = transactional(self._services.storage, f"step {step.name!r}")
        state = self._settling.state
        event: Event | None = None
        try:
            async with storage.transaction() as transaction:
                event = self._held_off() or await self._calls.call(step, state, connection=transaction.connection)
                if isinstance(event, Returned):
                    await self._settling.settle_in(transaction, event)
                    return None
                if self._calls.has_spoiled_task or not transaction.is_lost(self._calls.error):
                    return event
                raise TransactionLost(f"the transaction of step {step.name!r} is gone: {self._calls.error}")
        except TransactionRefused as error:
            return self._calls.not_committed(step, error)
        except TransactionLost as error:
            self._settling.losses += 1
            if self._settling.losses > _MAX_LOSSES:
                return event if isinstance(event, Raised) else self._calls.not_committed(step, error)
            self._host.trouble(str(error), self._held, self._settling.row)
        except StorageError as error:  # there is no connection to be had
            self._host.trouble(str(error), self._held, self._settling.row)
        finally:
            self._settling.forget()
            self._calls.error = None
        await self._retries.pause()
        return None

    def _held_off(self) -> HandedBack | None:
        """Return what happens instead of a call, where other suspects come first."""
        known = self._settling.state.step
        if known is not None and known.is_suspect and (delay := self._host.suspects.delay(self._held)) > 0:
            return HandedBack("suspect", delay)
        return None


def _missing() -> Any:
    raise AssertionError("a run is run once")
