"""The only place that runs user code: a step's function goes in, what it did comes out as an event.

`_outcome` is the one place that catches everything. Four endings are told apart: the step's own timeout, and the
lease's three (`_leases.Ending`); all end the scope in which the handler runs. A cancellation that none of them asked
for is a failure of the attempt.
"""

from __future__ import annotations

import logging
import math
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import anyio.lowlevel
import msgspec
from anyio import CancelScope, get_cancelled_exc_class

from stepwell._codec import PayloadError
from stepwell._context import StepContext
from stepwell._definition import StepKind, route_label
from stepwell._errors import ExecutionUnreadable, ScopeLeftOpen, SpuriousCancellation, StepTimedOut, UnknownRoute
from stepwell._failure import describe, failure_of
from stepwell._interrupts import exposed
from stepwell._leases import Ending
from stepwell._log import Log
from stepwell._own_context import call_in_own_context
from stepwell._program import StoredPast
from stepwell._raised import holds, is_caught
from stepwell._transition import Asked, Chose, Ended, HandedBack, Raised, Returned, Signalled, State

if TYPE_CHECKING:
    from stepwell._context import Context
    from stepwell._leases import Held
    from stepwell._limits import Limits
    from stepwell._loop import Loop
    from stepwell._model import Row, Signal, Stored
    from stepwell._program import Program
    from stepwell._threads import Threads
    from stepwell._transition import Event
    from stepwell.storage._transactions import TransactionLost, TransactionRefused

__all__ = ["Calls", "child_outcome", "route_of", "state_of", "unreadable"]

_SLOW_CALL: Final = 0.1
"""seconds of a plain `def` that holds up the loop, beyond which it is warned about"""

_PLACE_LIMIT: Final = 10.0
"""seconds that a `def` activity waits for a free thread, and then stays away"""

logger = Log()


class CallHost(Protocol):
    """Where handlers are called: its threads, and who is told of handlers that don't begin or don't stop."""

    threads: Threads

    def trouble(self, message: str, held: Held, row: Row | None = None) -> None:
        """Report it."""
        ...

    def left_in_thread(self, row: Row) -> None:
        """Hear that a handler was left behind in its thread, which can't be stopped."""
        ...


class Calls:
    """Calls the functions of one workflow's steps under one lease."""

    def __init__(self, program: Program, limits: Limits, loop: Loop, held: Held, host: CallHost) -> None:
        self._program = program
        self._workflow = program.workflow
        self._limits = limits
        self._clock = loop.clock
        self._scope = loop.scope
        self._held = held
        self._host = host
        self._threads = host.threads
        self._input = f"the input of execution {held.id!r}"
        self.has_begun = False
        """whether a handler was started since this was last set to false"""
        self.has_open_scope = False
        """whether a handler left a cancel scope open"""
        self.has_spoiled_task = False
        """whether a handler did that, or cancelled the task natively: the lease is handed back, another task goes on"""
        self.error: BaseException | None = None
        """what made the last call a failure"""

    async def call(self, step: Any, state: State, signal: Signal | None = None, connection: Any = None) -> Event:
        """Run the step's function, or a wait's resolver on its signal; return what it came to."""
        try:
            arguments: tuple[Any, ...] = (self._context(state, connection),)
            if signal is not None:
                what = f"the signal {signal.id!r} to step {step.name!r}"
                arguments = (*arguments, self._program.inputs[step.name].decode(signal.payload, what=what))
        except PayloadError as error:
            return self._failed(step, error, "payload", is_final=True)
        ticket = None
        if step.kind is StepKind.ACTIVITY and not step.is_async:
            ticket = await self._threads.place(_PLACE_LIMIT)
            if ticket is None:
                return self._no_place(step, state.row)
        outcome = await self._outcome(step, arguments, state.row, ticket)
        return outcome if isinstance(outcome, Raised) else self._interpret(step, outcome.value, signal)

    def ride_along(self, ahead: State) -> Event:
        """Run a plain `def` decision or terminal whose outcome goes into the commit that arrives at it."""
        step = self._workflow.steps[ahead.row.step or ""]
        value: Any = None
        try:
            with self._scope():
                try:
                    value = self._call_in_line(step, (self._context(ahead),), ahead.row)
                except PayloadError as error:
                    return self._failed(step, error, "payload", is_final=True)
                except get_cancelled_exc_class():
                    return self._failed(step, SpuriousCancellation(self._workflow.name, step.name), "cancellation")
                except BaseException as error:
                    if _stops_the_worker(error):
                        raise
                    return self._failed(step, error, "error")
        except RuntimeError:
            return self._left_open(step)
        return self._interpret(step, value, None)

    def _left_open(self, step: Any) -> Raised:
        """Our own scope can't be left, which is told by a RuntimeError: the handler left one open inside it."""
        self.has_spoiled_task = self.has_open_scope = True
        return self._failed(step, ScopeLeftOpen(self._workflow.name, step.name), "error")

    def _context(self, state: State, connection: Any = None) -> Context[Any]:
        row = state.row
        return StepContext(
            self._program.input.decode(row.input, what=self._input),
            row,
            StoredPast(self._program, state.history),
            log=partial(_log, row),
            connection=connection,
        )

    def _no_place(self, step: Any, row: Row) -> Event:
        """Hand the claim back where every thread is taken: by handlers that were abandoned, for no others wait here."""
        message = (
            f"step {step.name!r} of execution {row.id!r} found no free thread in {_PLACE_LIMIT:g} s: all "
            f"{self._threads.limit} are taken, {self._threads.abandoned} of them by handlers that were abandoned and "
            "have not ended; it is tried again later, here or by another worker"
        )
        logger.warning("stepwell: %s", message)
        self._host.trouble(message, self._held, row)
        return HandedBack("no thread", _PLACE_LIMIT)

    async def _outcome(self, step: Any, arguments: tuple[Any, ...], row: Row, ticket: object | None) -> _Value | Raised:
        """Call the handler inside the lease's scope and its timeout's; whatever it does becomes a value here."""
        held, now = self._held, self._clock()
        if not held.is_trusted(now):
            held.end(Ending.LOST)
        if held.scope.cancel_called:
            if ticket is not None:
                self._threads.give_back(ticket)
            await anyio.lowlevel.checkpoint_if_cancelled()
        timeout = self._program.timeouts[step.name] if step.is_async or ticket is not None else None
        self.has_begun = True
        held.row, held.deadline = row, math.inf if timeout is None else now + timeout
        try:
            with self._scope(deadline=held.deadline) as limit:
                try:
                    if step.is_async:
                        value = await call_in_own_context(step.function, arguments, held.turn, held)
                    elif ticket is None:
                        value = self._call_in_line(step, arguments, row)
                    else:
                        told = partial(self._host.left_in_thread, row)
                        value = await self._threads.run(ticket, step.function, arguments[0], abandoned=told)
                    if not self._has_timed_out(limit):
                        return _Value(value)
                except get_cancelled_exc_class():
                    if _is_ours(limit, held):
                        raise
                    self.has_spoiled_task = True
                    return self._failed(step, SpuriousCancellation(self._workflow.name, step.name), "cancellation")
                except BaseException as error:  # the one place that catches it all, around user code
                    if _stops_the_worker(error):
                        raise
                    if _is_ours_to_end(held):  # what a handler raises while it is being stopped is not its failure
                        await anyio.lowlevel.checkpoint_if_cancelled()
                    if not self._has_timed_out(limit):
                        return self._failed(step, error, "error")
        except RuntimeError:  # raised where our own scope is left: everything else was caught within
            return self._left_open(step)
        finally:
            held.row = None
            held.deadline = math.inf
        return self._failed(step, StepTimedOut(self._workflow.name, step.name, timeout or 0.0), "timeout")

    def _has_timed_out(self, limit: CancelScope) -> bool:
        """Tell whether the handler took longer than it may, also where it kept the loop from cancelling it."""
        return limit.cancel_called or self._clock() >= self._held.deadline

    def _call_in_line(self, step: Any, arguments: tuple[Any, ...], row: Row) -> Any:
        held = self._held
        began = self._clock()
        before, held.row, held.turn.whose = held.row, row, held
        try:
            return exposed(copy_context().run, step.function, *arguments)
        finally:
            held.row, held.turn.whose = before, None
            took = self._clock() - began
            if took > _SLOW_CALL:
                logger.warning(
                    "stepwell: step %s of %s held up the event loop for %.2f s; make it `async def`, or an activity",
                    step.name,
                    self._workflow.name,
                    took,
                )

    def _interpret(self, step: Any, value: Any, signal: Signal | None) -> Event:
        """Turn what the handler returned into an event; what can't be used is a failure of the attempt."""
        limits = self._limits
        what = f"the result of step {step.name!r} of workflow {self._workflow.name!r}"
        try:
            match step.kind:
                case StepKind.ACTIVITY:
                    return Returned(self._program.outputs[step.name].encode(value, limits=limits, what=what))
                case StepKind.SUCCEED | StepKind.FAIL:
                    return Ended(self._program.outputs[step.name].encode(value, limits=limits, what=what))
                case StepKind.SUBWORKFLOW:
                    return Asked(self._program.inputs[step.name].canonical(value, limits=limits, what=what))
                case _:
                    route = route_of(self._workflow, step, value)
                    return Chose(route) if signal is None else Signalled(signal.id, signal.payload, route)
        except PayloadError as error:
            return self._failed(step, error, "payload")
        except UnknownRoute as error:
            return self._failed(step, error, "unknown_route")

    def not_committed(self, step: Any, error: TransactionRefused | TransactionLost) -> Raised:
        """Return what comes of a step whose transaction can't be committed."""
        return self._failed(step, error.__cause__ or error, "transaction")

    def _failed(self, step: Any, error: BaseException, code: str, *, is_final: bool = False) -> Raised:
        self.error = error
        failure = failure_of(error, code=code, limit=self._limits.error)
        return Raised(
            msgspec.json.encode(failure).decode(),
            _catch_label(self._workflow, step.name, error),
            is_final or any(is_caught(error, kind) for kind in step.retry.give_up_on),
        )


def _log(row: Row) -> logging.LoggerAdapter[logging.Logger]:
    place = {"execution": row.id, "workflow": row.workflow, "step": row.step}
    return logging.LoggerAdapter(logging.getLogger("stepwell"), {**place, "visit": row.visit, "attempt": row.attempt})


@dataclass(frozen=True, slots=True)
class _Value:
    """What a handler returned."""

    value: Any


def _catch_label(workflow: Any, step: str, error: BaseException) -> str | None:
    """Return the label of the first catch of *step* that takes this error."""
    catches: tuple[tuple[type[BaseException], str], ...] = workflow.catches.get(step, ())
    for caught, label in catches:
        if is_caught(error, caught):
            return label
    return None


def _is_ours(limit: CancelScope, held: Held) -> bool:
    """Tell whether a cancellation that comes out of a handler was asked for by the engine or by whoever runs it."""
    return limit.cancel_called or _is_ours_to_end(held)


def _is_ours_to_end(held: Held) -> bool:
    return held.scope.cancel_called or anyio.current_effective_deadline() == -math.inf


def _stops_the_worker(error: BaseException) -> bool:
    """Ctrl-C is nobody's failure, also where a task group of the handler's has wrapped it."""
    return holds(error, KeyboardInterrupt)


def state_of(workflow: Any, stored: Stored) -> tuple[State, Raised | None]:
    """Fold what was claimed; where it can't be read, return what follows: it fails, and holds up nobody else."""
    row = stored.row
    try:
        if stored.unreadable:
            raise ExecutionUnreadable(row.id, stored.unreadable)
        if row.step not in workflow.steps:
            raise ExecutionUnreadable(row.id, f"its step, {describe(row.step)}, is none of its workflow's")
        return State.of(stored), None
    except ExecutionUnreadable as error:
        return State.unread(row), unreadable(error)


def unreadable(error: Exception) -> Raised:
    """Return what follows where what a step needs can't be read: it fails, and holds up nobody else."""
    failure = failure_of(error, code="unreadable")
    logger.error("stepwell: it fails, and the others go on: %s", failure.message)
    return Raised(msgspec.json.encode(failure).decode(), None, is_final=True)


def child_outcome(row: Row) -> str:
    """Return how a child ended as its parent's handlers see it; an error is the failure, or what a `fail` step gave."""
    error = "null"
    if row.error is not None:
        told = msgspec.json.decode(row.error, type=dict[str, msgspec.Raw])
        error = bytes(told.get("failure") or told.get("value") or b"null").decode()
    id = msgspec.json.encode(row.id).decode()
    return f'{{"status":"{row.status}","output":{row.output or "null"},"error":{error},"id":{id}}}'


def route_of(workflow: Any, step: Any, value: Any) -> str:
    """Return the label of the edge that a decision or resolver chose. Raises UnknownRoute if there is none."""
    known = workflow.routes[step.name]
    try:
        route = route_label(value)
    except TypeError:
        raise UnknownRoute(workflow.name, step.name, value, tuple(known)) from None
    if route not in known or (route == "timeout" and step.kind is StepKind.WAIT):
        raise UnknownRoute(workflow.name, step.name, value, tuple(known))
    return route
