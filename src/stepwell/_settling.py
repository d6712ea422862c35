"""Decides what follows from what a step came to, lets ride along what may, and commits it all.

What was decided and refused is decided again on fresh state from the same outcomes: user code never runs again for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import anyio
import msgspec

from stepwell._commits import NotTrusted
from stepwell._leases import Ending
from stepwell._model import Row, Status
from stepwell._storage_retries import LeaseLost
from stepwell._transition import State, Terms, ride, transition
from stepwell.storage._protocol import StorageError
from stepwell.storage._transactions import TransactionLost
from stepwell.storage._unreadable import Unreadable

if TYPE_CHECKING:
    from stepwell._calls import Calls
    from stepwell._leases import Held
    from stepwell._model import Unit
    from stepwell._services import Host, Services
    from stepwell._storage_retries import StorageRetries
    from stepwell._transition import Event, Move
    from stepwell.storage._transactions import StepTransaction

__all__ = ["Settling", "Spoiled"]

_MAX_RIDERS: Final = 20
_LOCKED_PAUSE: Final = 0.02
"""seconds before a step's own transaction looks again at a row that somebody else has locked"""


class Spoiled(Exception):  # not an error: the way out of a task that a handler has spoiled
    """What is in hand is to be committed and the lease handed back, so that another task goes on."""


@dataclass(slots=True)
class _InHand:
    """What has happened and isn't committed yet: user code's outcomes, decided on as often as it takes.

    Its change id stays the same all along, so that a commit which went through unheard is recognised.
    """

    events: list[Event]
    terms: Terms


class Settling:
    """How one execution stands under a lease, and how it comes to stand otherwise. It is the lease's `Holder`."""

    def __init__(
        self,
        services: Services,
        host: Host,
        workflow: Any,
        held: Held,
        *,
        row: Row,
        calls: Calls,
        retries: StorageRetries,
    ) -> None:
        self._services = services
        self._host = host
        self._workflow = workflow
        self._held = held
        self._calls = calls
        self._retries = retries
        self.row = row
        self.state: State = None  # type: ignore[assignment] # folded first thing, where a fault in it is caught
        self.losses = 0
        """transactions of this attempt that were lost"""
        self._in_hand: _InHand | None = None
        self._move: Move | None = None
        self._transaction: StepTransaction | None = None
        """the one in which the step's result is being committed"""

    async def settle(self, event: Event) -> None:
        """Decide what the event implies, let what may ride along, and commit it all. Raises LeaseLost and Spoiled."""
        in_hand = self.take_in_hand(event)
        terms = in_hand.terms
        move = transition(self._workflow, self.state, event, terms)
        while move.rides and len(in_hand.events) <= _MAX_RIDERS and self.is_trusted(self._services.loop.clock()):
            ahead = move.ahead(self.state)
            event = self._calls.ride_along(ahead)
            in_hand.events.append(event)
            if self._calls.has_spoiled_task and self._transaction is None:
                raise Spoiled
            move = ride(self._workflow, move, ahead, event, terms)
        await self._commit_in_hand(in_hand, move)
        if self._calls.has_spoiled_task and self._transaction is not None:  # there was no other place to commit it
            raise Spoiled

    async def settle_in(self, transaction: StepTransaction, event: Event) -> None:
        """Do so in a transaction of the step's own, with its rows. Raises TransactionLost, too."""
        self._transaction = transaction
        await self.settle(event)

    def forget(self) -> None:
        """Drop what was not committed in a step's transaction: it was rolled back, and must not be without its rows."""
        self._transaction = self._in_hand = None

    def take_in_hand(self, event: Event) -> _InHand:
        """Keep what has happened, for whoever gives the lease back."""
        in_hand = self._in_hand = _InHand([event], self._services.terms(keep_lease=self._host.goes_on()))
        return in_hand

    @property
    def has_work(self) -> bool:
        """Whether something has happened that isn't committed."""
        return self._in_hand is not None

    async def settle_rest(self) -> None:
        """Commit what is in hand, if something is, and give the lease up with it. Raises LeaseLost."""
        if (in_hand := self._in_hand) is not None:
            in_hand.terms = msgspec.structs.replace(in_hand.terms, keep_lease=False)
            await self._commit_in_hand(in_hand, self._decide_again(in_hand))

    def _decide_again(self, in_hand: _InHand) -> Move:
        """Decide on fresh state from the same outcomes; a rider that can't ride any more is left for later."""
        move = transition(self._workflow, self.state, in_hand.events[0], in_hand.terms)
        for event in in_hand.events[1:]:
            if not move.rides:
                break
            move = ride(self._workflow, move, move.ahead(self.state), event, in_hand.terms)
        return move

    async def _commit_in_hand(self, in_hand: _InHand, move: Move) -> None:
        while not await self._commit(move):
            move = self._decide_again(in_hand)

    # -- as the holder of a lease (`_commits.Holder`) ------------------------------------------------------------------

    def is_trusted(self, now: float) -> bool:
        """Tell whether nobody else can have the lease yet, by this process's own clock."""
        return self._held.is_trusted(now)

    def landed(self) -> None:
        """Go on from what was committed."""
        if self._move is None:
            return
        change = self._move.change
        self._stand(change.row, self.state.after(change) if change.row.status is Status.RUNNING else self.state)

    def _stand(self, row: Row, state: State) -> None:
        if (row.step, row.visit) != (self.row.step, self.row.visit):
            self._host.suspects.is_over(self._held)
        self.row, self.state = row, state
        self._in_hand = None
        self.losses = 0
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
            self._host.trouble(str(error), self._held, self.row)
        source = self._transaction or services.storage  # a transaction may have laid a signal down for itself
        try:
            stored = await self._retries.call(lambda: source.load(self._held.id), self.row)
        except Unreadable as error:  # whoever claims it next lets it fail
            self._host.trouble(str(error), self._held, self.row)
            stored = None
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
            elif self.row.status is Status.RUNNING:
                self._lose(row)
            return True
        if not is_ours:
            self._lose(row)
        if not is_known:
            if self._transaction is not None:
                raise TransactionLost(f"the transaction of step {self.row.step!r} was not committed")
            await self._retries.pause()
        self.state = State.of(stored)
        self.row = row
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
