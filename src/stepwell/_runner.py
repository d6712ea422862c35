"""Runs one claimed execution: plan, call, decide, commit, and again, for as long as the lease is kept.

What was decided and refused is decided again on fresh state from the same outcomes: user code never runs again for it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, assert_never

import anyio
import msgspec

from stepwell._calls import Calls
from stepwell._commits import NotTrusted
from stepwell._leases import Ending
from stepwell._model import Row, Status
from stepwell._transition import (
    Call,
    ChildEnded,
    Decide,
    Drained,
    HandedBack,
    Look,
    Resolve,
    State,
    StillSuspended,
    Terms,
    plan,
    ride,
    transition,
)
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stepwell._commits import Commits
    from stepwell._entropy import Entropy
    from stepwell._leases import Held
    from stepwell._limits import Limits
    from stepwell._model import Signal, Stored
    from stepwell._program import Program
    from stepwell._threads import Threads
    from stepwell._transition import Event, Move
    from stepwell.storage._protocol import Storage

__all__ = ["Host", "Run", "Services"]

_MAX_RIDERS: Final = 20
_HAND_BACK_LIMIT: Final = 5.0
"""seconds that a hand-back may take once the worker is told to go"""
_SUSPECT_DELAY: Final = 1.0

logger = logging.getLogger("stepwell")


@dataclass(frozen=True, slots=True)
class Services:
    """What every run of one engine shares."""

    storage: Storage
    commits: Commits
    entropy: Entropy
    limits: Limits
    max_crashes: int
    committed: Callable[[Any], None]
    """told of a unit whose commit was found out about later"""
    change_id: Callable[[], str]


class Host(Protocol):
    """What a run asks of the worker that it belongs to."""

    threads: Threads

    def goes_on(self) -> bool:
        """Tell whether the next step may begin under this lease."""
        ...

    def may_run_suspect(self, held: Held) -> bool:
        """Tell whether an execution that lost its worker before may run now: one at a time does."""
        ...

    def trouble(self, message: str, held: Held, row: Row | None = None) -> None:
        """Report what is wrong with the worker, its storage or a handler, rather than with a step."""
        ...

    def lease_lost(self, held: Held, row: Row) -> None:
        """Report that this worker lost the lease."""
        ...


class _Gone(Exception):  # noqa: N818 -- not an error: the way out of a run
    """The lease is not ours any more."""


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
        self._calls = Calls(program, services.limits, held, host.threads, host)
        self._outcome_in_hand: Event | None = None

    async def run(self) -> None:
        """Run it until it is done or given up. Cancellation hands the lease back, shielded and within five seconds."""
        held = self._held
        try:
            with held.scope:
                self._state = State.of(self._stored or _missing())
                self._stored = None
                await self._go_on()
                return
            if held.ending is Ending.DRAINED:
                await self._give_up()
        except _Gone:
            pass
        except Exception as error:
            held.end(Ending.LOST)  # left to lapse: claimed again, it counts against the crash budget
            logger.exception("stepwell: execution %s can't be run", held.id)
            self._host.trouble(f"{type(error).__name__}: {error}", held, self._row)
        except BaseException:
            await self._give_up()
            raise
        if held.ending is Ending.LOST:
            self._host.lease_lost(held, self._row)

    async def _go_on(self) -> None:
        while self._row.status is Status.RUNNING:
            event = await self._next_event()
            self._outcome_in_hand = event
            await self._settle(event)
            self._outcome_in_hand = None
            self._calls.has_begun = False

    async def _give_up(self) -> None:
        """Commit what is in hand, or hand the lease back."""
        if self._row.status is not Status.RUNNING or self._held.ending in (Ending.LOST, Ending.CANCELLED):
            return
        event = self._outcome_in_hand or (Drained() if self._calls.has_begun else HandedBack("drain"))
        with anyio.move_on_after(_HAND_BACK_LIMIT, shield=True):
            try:
                await self._settle(event)
            except _Gone:
                return

    # -- what is next --------------------------------------------------------------------------------------------------

    async def _next_event(self) -> Event:
        action = plan(self._workflow, self._state, self._now)
        match action:
            case Decide(event):
                return event
            case Look(child):
                return await self._look(child)
            case Call(step):
                return await self._call(step)
            case Resolve(step, signal):
                return await self._call(step, signal)
            case _:
                assert_never(action)

    async def _look(self, child: str) -> Event:
        stored = await self._insist(lambda: self._services.storage.load(child))
        if stored is None or not stored.row.status.is_terminal:
            return StillSuspended()
        row = stored.row
        error = "null" if row.error is None else _public_error(row.error)
        outcome = f'{{"status":"{row.status}","output":{row.output or "null"},"error":{error},"id":{_json(row.id)}}}'
        return ChildEnded(row.status, outcome)

    async def _call(self, step: Any, signal: Signal | None = None) -> Event:
        known = self._state.step
        if known is not None and known.lost and not self._host.may_run_suspect(self._held):
            return HandedBack("suspect", _SUSPECT_DELAY)
        return await self._calls.call(step, self._state, signal)

    # -- deciding and committing ---------------------------------------------------------------------------------------

    async def _settle(self, event: Event) -> None:
        """Decide what the event implies, let what may ride along, and commit it all. Raises _Gone if the lease is."""
        terms = Terms(
            self._services.change_id(), self._host.goes_on(), self._services.max_crashes, self._services.entropy.fraction()
        )
        events = [event]
        move = transition(self._workflow, self._state, event, terms)
        while move.rides and len(events) <= _MAX_RIDERS:
            ahead = move.ahead(self._state)
            event = self._calls.ride_along(ahead)
            events.append(event)
            move = ride(self._workflow, move, ahead, event, terms)
        while not await self._commit(move):
            move = self._decide_again(events, terms)
        self._row = move.change.row
        if self._row.status is Status.RUNNING:
            self._state = self._state.after(move.change)

    def _decide_again(self, events: list[Event], terms: Terms) -> Move:
        """Decide on fresh state from the same outcomes; a rider that can't ride any more is left for later."""
        move = transition(self._workflow, self._state, events[0], terms)
        for event in events[1:]:
            if not move.rides:
                break
            move = ride(self._workflow, move, move.ahead(self._state), event, terms)
        return move

    async def _commit(self, move: Move) -> bool:
        """Commit; return False where fresh state calls for another decision. Raises _Gone if the lease is lost."""
        services = self._services
        is_known = True
        try:
            if await services.commits.commit(move.unit, self._held):
                return True
        except NotTrusted:
            self._held.end(Ending.LOST)
            raise _Gone from None
        except StorageError as error:
            is_known = False
            self._host.trouble(str(error), self._held, self._row)
        stored = await self._insist(lambda: services.storage.load(self._held.id))
        if stored is None:
            self._held.end(Ending.LOST)
            raise _Gone
        change = move.change
        if len(stored.journal) > change.expects and stored.journal[change.expects].change == change.id:
            services.committed(move.unit)  # it went through; only the answer was lost
            return True
        if stored.row.token != self._held.token or stored.row.status is not Status.RUNNING:
            self._held.end(Ending.CANCELLED if stored.row.status is Status.CANCELLED else Ending.LOST)
            raise _Gone
        if not is_known:
            await self._pause()
        self._state = State.of(stored)
        self._row = stored.row
        return False

    async def _insist(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask the storage until it answers, for as long as the lease is trusted."""
        while True:
            try:
                return await ask()
            except StorageError as error:
                self._host.trouble(str(error), self._held, self._row)
            await self._pause()

    async def _pause(self) -> None:
        """Wait a moment for the storage to come back, unless the lease ran out meanwhile."""
        await anyio.sleep(0.1 + 0.4 * self._services.entropy.fraction())
        if not self._held.is_trusted():
            self._held.end(Ending.LOST)
            raise _Gone


def _public_error(text: str) -> str:
    """Return a row's error as the parent's handlers see it: the failure, or what the `fail` step returned."""
    error = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return bytes(error.get("failure") or error.get("value") or b"null").decode()


def _json(value: str) -> str:
    return msgspec.json.encode(value).decode()


def _missing() -> Any:
    raise AssertionError("a run is run once")
