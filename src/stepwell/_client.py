"""What clients ask of executions: load, decide, commit; and where something moved meanwhile, decide again."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import get_cancelled_exc_class

from stepwell._calls import route_of
from stepwell._checks import InvalidArgument
from stepwell._claims import hand_back
from stepwell._codec import Codec, codec_for
from stepwell._commits import has_landed
from stepwell._context import StepContext
from stepwell._difference import differing
from stepwell._errors import (
    EngineClosed,
    ExecutionCancelled,
    ExecutionConflict,
    ExecutionEnded,
    ExecutionFailed,
    ExecutionNotFound,
    NotResumable,
    SignalRejected,
    StepTimedOut,
    UnknownRoute,
    UnknownStep,
)
from stepwell._execution import JournalEntry, read_error
from stepwell._failure import Failure, describe, failure_of, type_name
from stepwell._log import Log
from stepwell._model import NOW, Deposit, Kind, Signal, Status
from stepwell._model import Query as RowQuery
from stepwell._program import StoredPast
from stepwell._raised import is_a
from stepwell._transition import (
    Accepted,
    Cancelled,
    Paused,
    Resumed,
    Signalled,
    State,
    accept,
    begin,
    transition,
)
from stepwell.storage._protocol import StorageError
from stepwell.storage._unreadable import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepwell._claims import Place
    from stepwell._commits import Commits, Holder
    from stepwell._model import Change, Moment, Row, Stored, Unit
    from stepwell._program import Program
    from stepwell._services import Services
    from stepwell._transition import Event
    from stepwell.storage._protocol import Lease

__all__ = ["Client", "check_same", "known_id"]

_TRIES: Final = 5
"""how often a commit whose outcome is unknown is looked up and sent again before the client hears of it"""

logger = Log()

_HAND_BACK_LIMIT: Final = 2.5
"""seconds for which a start that is cancelled may still give a lease back"""
_MAX_ENTRIES: Final = 10_000
_ANYTHING: Final[Codec] = codec_for(Any)


class Client:
    """Starts, signals, cancels, pauses and resumes executions for those who use the engine."""

    def __init__(self, services: Services, place: Callable[[Program], Place | None]) -> None:
        """Ask *place* for a free slot of a worker here when an execution is started."""
        self._services = services
        self._place = place

    async def load(self, id: str) -> Stored:
        """Return the execution. Raises ExecutionNotFound."""
        stored = await self._services.storage.load(known_id(id))
        if stored is None:
            raise ExecutionNotFound(id)
        return stored

    async def start(
        self,
        program: Program,
        input: str,
        *,
        id: str | None,
        tags: tuple[str, ...],
        metadata: Mapping[str, Any],
        due: Moment,
        pinned: bool,
    ) -> str:
        """Create an execution and return its id; the same id with the same content is the same execution."""
        create = partial(
            begin,
            program.workflow,
            id=self._services.entropy.id() if id is None else id,
            input=input,
            change_id=self._services.change_id(),
            tags=tags,
            metadata=metadata,
            due=due,
        )
        place = self._place(program) if due == NOW else None
        lane = self._services.commits if id is None else self._services.starts
        if place is None:
            change = create()
            is_new = await self._commit((change,), lane=lane)
        else:
            change = create(claimant=place.claimant)
            is_new = await self._commit_in(place, change, program, lane)
        if not is_new:
            try:
                stored = await self.load(change.row.id)
            except ExecutionNotFound:  # a purge came in between
                again = partial(self.start, program, input, id=id, tags=tags, metadata=metadata)
                return await again(due=due, pinned=pinned)
            check_same(stored, program, input, pinned=pinned)
        return change.row.id

    async def _commit_in(self, place: Place, change: Change, program: Program, lane: Commits) -> bool:
        """Commit a start that a worker here claims with it. A lease that comes of it and that nobody runs goes back."""
        is_refused = False
        try:
            place.expect(change)
            is_refused = not await self._commit((change,), place, lane)
        finally:
            unclaimed = place.close()
            if unclaimed is not None and not is_refused:
                await self._hand_back(place, unclaimed, program)
        return not is_refused

    async def _hand_back(self, place: Place, unclaimed: Lease, program: Program) -> None:
        """Give back, also where the caller is cancelled, what may have been committed and isn't run; else it lapses."""
        with anyio.move_on_after(_HAND_BACK_LIMIT, shield=True):
            try:
                await hand_back(
                    self._services,
                    place.worker,
                    unclaimed,
                    lambda _: program.workflow,
                    started_by=place.change_id,
                )
            except (StorageError, EngineClosed) as error:
                logger.warning("stepwell: execution %s was not handed back: %s; its lease lapses", unclaimed.id, error)

    async def signal(
        self, program_of: Callable[[Stored], Program], id: str, step: str, payload: Any, signal_id: str
    ) -> None:
        """Have a signal used at once where its wait is open, or keep it for when its wait opens."""
        while True:
            stored = await self.load(id)
            program = program_of(stored)
            workflow = program.workflow
            if step in program.inputs:
                what = f"the signal to step {step!r} of workflow {workflow.name!r}"
                text = program.inputs[step].canonical(payload, limits=self._services.limits, what=what)
            else:
                text = "null"
            signal = Signal(signal_id, step, text)
            state = State.of(stored)
            taken = accept(workflow, stored, state, signal, max_pending=self._services.limits.pending_signals)
            if taken is Accepted.DUPLICATE:
                return
            unit: Unit = (Deposit(id=id, signal=signal, expects=stored.row.signals),)
            if taken is Accepted.USABLE:
                event = Signalled(signal_id, text, await self._resolve(program, state, signal))
                terms = self._services.terms(keep_lease=False)
                unit = (*unit, *transition(workflow, state, event, terms).unit)
            if await self._commit(unit):
                return

    async def _resolve(self, program: Program, state: State, signal: Signal) -> str:
        """Let the open wait's resolver choose the route, here and now. Raises what the sender should learn of."""
        workflow, row = program.workflow, state.row
        step: Any = workflow.steps[signal.step]
        given = program.input.decode(row.input, what=f"the input of execution {row.id!r}")
        context = StepContext(given, row, StoredPast(program, state.history))
        payload = program.inputs[step.name].decode(signal.payload)
        timeout = program.timeouts[step.name]
        with anyio.move_on_after(timeout) as limit:
            try:
                chosen = step.function(context, payload)
                if step.is_async:
                    chosen = await chosen
                return route_of(workflow, step, chosen)
            except (KeyboardInterrupt, UnknownRoute):
                raise
            except BaseException as error:  # user code: whatever it raises is told to the sender
                if is_a(error, get_cancelled_exc_class()) and anyio.current_effective_deadline() == -math.inf:
                    raise
                if not limit.cancel_called:
                    raise SignalRejected(row.id, step.name, failure_of(error).summary) from error
        timed_out = StepTimedOut(workflow.name, step.name, timeout or 0.0)
        raise SignalRejected(row.id, step.name, str(timed_out)) from timed_out

    async def outcome(self, row: Row, programs: Mapping[tuple[str, str], Program]) -> Any:
        """Return an ended execution's output, by its workflow's type where that is known.

        Raises ExecutionFailed and ExecutionCancelled.
        """
        if row.status is Status.CANCELLED:
            raise ExecutionCancelled(row.id, row.workflow, _reason(await self.load(row.id)))
        if row.status is not Status.SUCCEEDED:
            error, step = read_error(row.error)
            failure = error if isinstance(error, Failure) else None
            raise ExecutionFailed(row.id, row.workflow, step, failure, error if failure is None else None)
        program = programs.get((row.workflow, row.version))
        codec = _ANYTHING if program is None else program.result
        return codec.decode(row.output or "null", what=f"the output of execution {row.id!r}")

    async def journal(self, id: str, after: int, limit: int) -> list[JournalEntry]:
        """Return lines of an execution's journal. Raises ExecutionNotFound and InvalidArgument."""
        if type(limit) is not int or not 1 <= limit <= _MAX_ENTRIES:
            raise InvalidArgument(f"limit must be a whole number from 1 to {_MAX_ENTRIES:,}, not {describe(limit)}")
        if type(after) is not int or not 0 <= after < 2**63:
            raise InvalidArgument(f"after must be the seq of an entry, or 0, not {describe(after)}")
        storage = self._services.storage
        entries = await storage.journal(known_id(id), after=after, limit=limit)
        if not entries and not (await storage.find(RowQuery(ids=(id,), limit=1))).rows:
            raise ExecutionNotFound(id)
        return [JournalEntry.of(entry) for entry in entries]

    async def cancel(self, id: str, reason: str) -> Status:
        """Cancel an execution and its open children, whole or not at all; return how it stands then."""
        while True:
            chain = await self._with_children(await self.load(id))
            if chain[0].row.status.is_terminal:
                return chain[0].row.status
            unit: list[Any] = []
            for place, stored in enumerate(chain):
                if not stored.row.status.is_terminal:
                    event = Cancelled(reason, by_parent=place > 0)
                    unit.extend(self._move(None, stored, event))
            if await self._commit(tuple(unit)):
                return Status.CANCELLED

    async def _with_children(self, stored: Stored) -> list[Stored]:
        chain = [stored]
        while (child := _open_child(chain[-1])) is not None:
            try:
                found = await self._services.storage.load(child)
            except Unreadable:  # it fails when it is claimed
                break
            if found is None:
                break
            chain.append(found)
        return chain

    async def pause(self, id: str, reason: str) -> None:
        """Pause an execution; nothing happens where it is paused, or about to be, already."""
        while True:
            stored = await self.load(id)
            row = stored.row
            if row.status.is_terminal:
                raise ExecutionEnded(id, row.status, "pause")
            if row.pausing or row.status is Status.PAUSED:
                return
            if await self._commit(self._move(None, stored, Paused(reason))):
                return

    async def resume(self, program_of: Callable[[Stored], Program], id: str, attempts: int) -> None:
        """Let a paused execution go on, or give the failed step of a failed one more attempts."""
        while True:
            stored = await self.load(id)
            _check_resumable(stored)
            program = program_of(stored)
            failed = State.of(stored).history.failed_step
            if stored.row.status is Status.FAILED and failed not in program.workflow.steps:
                raise UnknownStep(program.workflow.name, failed or "", tuple(program.workflow.steps))
            if await self._commit(self._move(program, stored, Resumed(attempts))):
                return

    def _move(self, program: Program | None, stored: Stored, event: Event) -> Unit:
        """Decide what the event implies; pausing and cancelling need no definition."""
        workflow: Any = None if program is None else program.workflow
        terms = self._services.terms(keep_lease=False)
        return transition(workflow, State.of(stored), event, terms).unit

    async def _commit(self, unit: Unit, holder: Holder | None = None, lane: Commits | None = None) -> bool:
        """Commit; where the outcome is unknown, look for it, and send it again if it isn't there.

        Raises StorageError when the storage doesn't answer for too long: then it may be committed or not.
        """
        for attempt in range(1, _TRIES + 1):
            is_refused = False
            try:
                if await (lane or self._services.commits).commit(unit, holder):
                    return True
                if attempt == 1:
                    return False
                is_refused = True  # perhaps by an earlier try of its own, which went through after all
            except StorageError:
                if attempt == _TRIES:
                    raise
                await anyio.sleep(0.05 * 2**attempt * (0.5 + self._services.entropy.fraction()))
            try:
                if await has_landed(self._services.storage, unit):
                    self._services.committed(unit)
                    return True
                if is_refused:
                    return False
            except StorageError:
                if attempt == _TRIES:
                    raise
        raise AssertionError("unreachable")


def known_id(id: str) -> str:
    """Return an id that may be an execution's. Raises InvalidArgument, and ExecutionNotFound for what can't be one."""
    if type(id) is not str:
        raise InvalidArgument(f"the execution id must be text, not {type_name(id)}: {describe(id)}")
    if not id.isprintable():
        raise ExecutionNotFound(id)
    return id


def _reason(stored: Stored) -> str:
    """Return why an execution was cancelled."""
    ending = next((entry for entry in reversed(stored.journal) if entry.kind is Kind.CANCELLED), None)
    value = None if ending is None else JournalEntry.of(ending).value
    return value if isinstance(value, str) else ""


def _open_child(stored: Stored) -> str | None:
    step = State.of(stored).step
    return step.child if step is not None and step.is_open else None


def check_same(stored: Stored, program: Program, input: str, *, pinned: bool) -> None:
    """The execution that has the id must be the one that was to be started."""
    row, workflow = stored.row, program.workflow
    if row.workflow != workflow.name:
        raise ExecutionConflict(row.id, f"of workflow {row.workflow!r}, not {workflow.name!r}")
    if pinned and row.version != workflow.version:
        raise ExecutionConflict(row.id, f"of version {row.version!r}, not {workflow.version!r}")
    if row.input != input:
        raise ExecutionConflict(row.id, f"with another input, which differs at {differing(row.input, input)}")


def _check_resumable(stored: Stored) -> None:
    row = stored.row
    if row.status is Status.PAUSED or row.pausing:
        return
    if row.status is not Status.FAILED:
        raise NotResumable(row.id, f"it is {row.status}, neither paused nor failed")
    if State.of(stored).history.failed_step is None:
        raise NotResumable(row.id, "it ended at a `fail` step, so there is no failed step to try again")
