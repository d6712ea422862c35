"""Runs one claimed execution: plan, call, decide, commit, and again, for as long as the lease is kept.

What was decided and refused is decided again on fresh state from the same outcomes: user code never runs again for it.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, assert_never

import anyio
import anyio.lowlevel
import msgspec

from stepwell._calls import Calls, child_outcome, state_of
from stepwell._commits import NotTrusted
from stepwell._leases import Ending
from stepwell._model import Row, Status
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
    State,
    StillSuspended,
    Terms,
    plan,
    ride,
    transition,
)
from stepwell.storage._protocol import StorageError
from stepwell.storage._transactions import TransactionLost, TransactionRefused

if TYPE_CHECKING:
    from stepwell._leases import Held
    from stepwell._model import Stored, Unit
    from stepwell._program import Program
    from stepwell._services import Host, Services
    from stepwell._transition import Event, Move
    from stepwell.storage._transactions import StepTransaction

__all__ = ["Run"]

_MAX_RIDERS: Final = 20
_MAX_LOSSES: Final = 5
"""how often a step is called again whose transaction was lost, before that counts as a failure of the attempt"""
_LOCKED_PAUSE: Final = 0.02
"""seconds before a step's own transaction looks again at a row that somebody else has locked"""
_HAND_BACK_LIMIT: Final = 2.5
"""seconds that a hand-back may take once it was asked for from outside, after as much for a commit in flight"""

logger = logging.getLogger("stepwell")


class _Spoiled(Exception):  # not an error: the way out of a task that a handler has spoiled
    """What is in hand is to be committed and the lease handed back, so that another task goes on."""


@dataclass(slots=True)
class _InHand:
    """What has happened and isn't committed yet: user code's outcomes, decided on as often as it takes.

    Its change id stays the same all along, so that a commit which went through unheard is recognised.
    """

    events: list[Event]
    terms: Terms


class Run:
    """One claimed execution in this worker's hands."""

    def __init__(self, services: Services, host: Host, program: Program, stored: Stored, held: Held) -> None:
        self._services = services
        self._host = host
        self._program = program
        self._workflow = program.workflow
        self._held = held
        self._now = stored.now
        self._stored: Stored | None = stored
        self._row = stored.row
        self._state: State = None  # type: ignore[assignment] # folded first thing, where a fault in it is caught
        self._retries = StorageRetries(services, host, held)
        self._calls = Calls(program, services.limits, services.loop, held, host)
        self._in_hand: _InHand | None = None
        self._move: Move | None = None
        self._transaction: StepTransaction | None = None
        """the one in which the step's result is being committed"""
        self._losses = 0
        """transactions of this attempt that were lost"""

    async def run(self) -> None:
        """Run it until it is done or given up. Cancellation hands the lease back, shielded and within five seconds."""
        held = self._held
        try:
            with held.scope:
                self._state, unreadable = state_of(self._workflow, self._stored or _missing())
                self._stored = None
                await (self._go_on() if unreadable is None else self._settle(unreadable))
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
            self._host.trouble(f"{type(error).__name__}: {error}", held, self._row)
        except anyio.get_cancelled_exc_class():
            await self._leave()
            raise
        except BaseException:
            await self._give_up()
            raise
        if (
            held.ending is Ending.LOST
            and self._row.status is Status.RUNNING
            and not await self._retries.was_cancelled(_HAND_BACK_LIMIT)
        ):
            self._host.lease_lost(held, self._row)

    async def _go_on(self) -> None:
        # Begin nothing for a worker that is on its way out. From then on, a cancellation strikes while a commit is
        # waited for: to ask before each step as well cost 7 % of its CPU.
        await anyio.lowlevel.checkpoint_if_cancelled()
        while self._row.status is Status.RUNNING:
            if self._held.ending is not None:
                await anyio.lowlevel.checkpoint_if_cancelled()
            action = plan(self._workflow, self._state, self._now)
            event: Event | None
            if not isinstance(action, Call):
                event = await self._event_of(action)
            elif not action.step.transactional:
                event = self._held_off() or await self._calls.call(action.step, self._state)
            else:
                event = await self._call_in_transaction(action.step)
                if event is None:
                    continue
            if self._calls.has_spoiled_task:
                self._in_hand = self._take_in_hand(event)
                raise _Spoiled
            await self._settle(event)

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
                if self._holds_on() and (in_hand := self._in_hand) is not None:
                    in_hand.terms = msgspec.structs.replace(in_hand.terms, keep_lease=False)
                    await self._commit_in_hand(in_hand, self._decide_again(in_hand))
                if self._holds_on():
                    await self._settle(Drained() if self._calls.has_begun else HandedBack("drain"))
            except LeaseLost:
                return
            except Exception as error:
                self._held.end(Ending.LOST)
                logger.exception("stepwell: execution %s can't be handed back", self._held.id)
                self._host.trouble(f"{type(error).__name__}: {error}", self._held, self._row)

        has_work = self._in_hand is not None or self._calls.has_begun
        if self._holds_on() and has_work and self._held.ending is not Ending.DRAINED:
            # Left to lapse: a worker that stays must not take it for a claim that nobody runs.
            self._held.end(Ending.LOST)

    def _holds_on(self) -> bool:
        return self._row.status is Status.RUNNING and self._held.ending not in (Ending.LOST, Ending.CANCELLED)

    # -- what is next --------------------------------------------------------------------------------------------------

    async def _event_of(self, action: Decide | Look | Resolve) -> Event:
        match action:
            case Decide(event):
                return event
            case Look(child):
                return await self._look(child)
            case Resolve(step, signal):
                return self._held_off() or await self._calls.call(step, self._state, signal)
            case _:
                assert_never(action)

    async def _look(self, child: str) -> Event:
        stored = await self._retries.call(lambda: self._services.storage.load(child), self._row)
        if stored is None or not stored.row.status.is_terminal:
            return StillSuspended()
        return ChildEnded(stored.row.status, child_outcome(stored.row))

    async def _call_in_transaction(self, step: Any) -> Event | None:
        """Call the step, and commit its result in its own transaction; return what is left to settle outside of it.

        None also where the transaction is gone: the step is called again.
        """
        storage = transactional(self._services.storage, f"step {step.name!r}")
        event: Event | None = None
        try:
            async with storage.transaction() as transaction:
                event = self._held_off() or await self._calls.call(step, self._state, connection=transaction.connection)
                if isinstance(event, Returned):
                    self._transaction = transaction
                    await self._settle(event)
                    return None
                if self._calls.has_spoiled_task or not transaction.is_lost(self._calls.error):
                    return event
                raise TransactionLost(f"the transaction of step {step.name!r} is gone: {self._calls.error}")
        except TransactionRefused as error:
            return self._calls.not_committed(step, error)
        except TransactionLost as error:
            self._losses += 1
            if self._losses > _MAX_LOSSES:
                return event if isinstance(event, Raised) else self._calls.not_committed(step, error)
            self._host.trouble(str(error), self._held, self._row)
        except StorageError as error:  # there is no connection to be had
            self._host.trouble(str(error), self._held, self._row)
        finally:  # what was not committed was rolled back, with the user's rows: it must not be committed without them
            self._transaction = self._in_hand = self._calls.error = None
        await self._retries.pause()
        return None

    def _held_off(self) -> HandedBack | None:
        """Return what happens instead of a call, where other suspects come first."""
        known = self._state.step
        if known is not None and known.is_suspect and (delay := self._host.suspects.delay(self._held)) > 0:
            return HandedBack("suspect", delay)
        return None

    # -- deciding and committing ---------------------------------------------------------------------------------------

    async def _settle(self, event: Event) -> None:
        """Decide what the event implies, let what may ride along, and commit it all. Raises LeaseLost."""
        in_hand = self._in_hand = self._take_in_hand(event)
        terms = in_hand.terms
        move = transition(self._workflow, self._state, event, terms)
        while move.rides and len(in_hand.events) <= _MAX_RIDERS and self.is_trusted(self._services.loop.clock()):
            ahead = move.ahead(self._state)
            event = self._calls.ride_along(ahead)
            in_hand.events.append(event)
            if self._calls.has_spoiled_task and self._transaction is None:
                raise _Spoiled
            move = ride(self._workflow, move, ahead, event, terms)
        await self._commit_in_hand(in_hand, move)
        if self._calls.has_spoiled_task and self._transaction is not None:  # there was no other place to commit it
            raise _Spoiled

    def _take_in_hand(self, event: Event) -> _InHand:
        return _InHand([event], self._services.terms(keep_lease=self._host.goes_on()))

    def _decide_again(self, in_hand: _InHand) -> Move:
        """Decide on fresh state from the same outcomes; a rider that can't ride any more is left for later."""
        move = transition(self._workflow, self._state, in_hand.events[0], in_hand.terms)
        for event in in_hand.events[1:]:
            if not move.rides:
                break
            move = ride(self._workflow, move, move.ahead(self._state), event, in_hand.terms)
        return move

    async def _commit_in_hand(self, in_hand: _InHand, move: Move) -> None:
        while not await self._commit(move):
            move = self._decide_again(in_hand)

    # -- as the holder of a lease (`_commits.Holder`) --

    def is_trusted(self, now: float) -> bool:
        """Tell whether nobody else can have the lease yet, by this process's own clock."""
        return self._held.is_trusted(now)

    def landed(self) -> None:
        """Go on from what was committed."""
        if self._move is None:
            return
        change = self._move.change
        self._stand(change.row, self._state.after(change) if change.row.status is Status.RUNNING else self._state)

    def _stand(self, row: Row, state: State) -> None:
        if (row.step, row.visit) != (self._row.step, self._row.visit):
            self._host.suspects.is_over(self._held)
        self._row, self._state = row, state
        self._in_hand = None
        self._losses = 0
        self._calls.has_begun = False

    async def _commit(self, move: Move) -> bool:
        """Commit; return False where fresh state calls for another decision. Raises LeaseLost if the lease is lost."""
        services = self._services
        self._move = move
        is_known = True
        try:
            if self._transaction is not None:
                is_committed = await self._send_in(self._transaction, move.unit)
            else:
                is_committed = await services.commits.commit(move.unit, self)
            if is_committed:
                return True
        except NotTrusted:
            self._held.end(Ending.LOST)
            raise LeaseLost from None
        except StorageError as error:
            is_known = False
            self._host.trouble(str(error), self._held, self._row)
        source = self._transaction or services.storage  # a transaction may have laid a signal down for itself
        stored = await self._retries.call(lambda: source.load(self._held.id), self._row)
        if stored is None:
            self._held.end(Ending.LOST)
            raise LeaseLost
        row, change = stored.row, move.change
        is_ours = row.token == self._held.token and row.status is Status.RUNNING
        if len(stored.journal) > change.expects and stored.journal[change.expects].change == change.id:
            self.landed()  # only the answer was lost
            services.committed(move.unit)
            if is_ours:
                self._stand(row, State.of(stored))
            elif self._row.status is Status.RUNNING:
                self._lose(row)
            return True
        if not is_ours:
            self._lose(row)
        if not is_known:
            if self._transaction is not None:
                raise TransactionLost(f"the transaction of step {self._row.step!r} was not committed")
            await self._retries.pause()
        self._state = State.of(stored)
        self._row = row
        return False

    async def _send_in(self, transaction: StepTransaction, unit: Unit) -> bool:
        """Commit with the rows of the step's own transaction."""
        while self.is_trusted(self._services.loop.clock()):
            is_committed = await transaction.commit(unit)
            if is_committed is not None:
                if is_committed:
                    self.landed()
                    self._services.committed(unit)
                return is_committed
            await anyio.sleep(_LOCKED_PAUSE)
        raise NotTrusted

    def _lose(self, row: Row) -> NoReturn:
        self._held.end(Ending.CANCELLED if row.status is Status.CANCELLED else Ending.LOST)
        raise LeaseLost


def _missing() -> Any:
    raise AssertionError("a run is run once")
