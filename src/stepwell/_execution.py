"""What a client sees of an execution: the row and the folded journal, payloads as plain JSON, times as datetimes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from stepwell._checks import InvalidArgument, check_filter, check_metadata
from stepwell._codec import PayloadError
from stepwell._failure import Failure, describe, failure_of
from stepwell._history import History, StepHistory, folded
from stepwell._model import Entry, Row, Status, Stored
from stepwell._model import Page as RowPage
from stepwell._model import Query as RowQuery

__all__ = [
    "Execution",
    "JournalEntry",
    "Page",
    "Query",
    "StepState",
    "cursor",
    "idempotency_key",
    "read_cursor",
    "read_error",
    "to_datetime",
    "to_microseconds",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_UNREADABLE: Final = (LookupError, RecursionError, ValueError, msgspec.MsgspecError)
_STATUSES: Final = frozenset(map(str, Status))


@dataclass(frozen=True, slots=True)
class StepState:
    """What became of one step so far; counts are of the current visit."""

    name: str
    status: Status
    attempts: int
    visits: int
    output: Any
    """of the last visit that succeeded, as plain JSON; None if there is none"""
    error: Failure | None
    """of the last attempt, unless it succeeded"""
    started_at: datetime | None
    ended_at: datetime | None
    route: str | None
    idempotency_key: str
    child: str | None
    """id of the child, at a subworkflow"""


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a workflow, as of one moment."""

    id: str
    workflow: str
    version: str
    status: Status
    current_step: str | None
    input: Any
    data: Mapping[str, Any]
    """the outputs that are objects, merged shallowly in the order in which the steps succeeded"""
    output: Any
    error: Any
    """a Failure; where a `fail` step ended it, what that step returned

    Of input, outputs and error, what is stored and can't be read any more is a Failure, too, with the code `payload`.
    """
    failed_step: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    parent: str | None
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    """when a worker looks at it next: now if queued, the retry or timeout, while running the end of the lease"""
    ended_at: datetime | None
    steps: Mapping[str, StepState] = field(default_factory=dict[str, StepState])
    """what has been visited, by name; empty in the pages of `find`"""
    revision: int = 0
    worker: str | None = None
    pausing: bool = False

    @classmethod
    def of(cls, stored: Stored) -> Execution:
        """Fold what the storage holds. Raises ExecutionUnreadable."""
        history = folded(stored)
        steps = {name: _step(stored.row.id, step) for name, step in history.steps.items()}
        return cls._of_row(stored.row, _merged(history, _skip), steps)

    @classmethod
    def of_row(cls, row: Row) -> Execution:
        """Show a row alone: `data` and `steps` are empty."""
        return cls._of_row(row, {}, {})

    @classmethod
    def _of_row(cls, row: Row, data: dict[str, Any], steps: dict[str, StepState]) -> Execution:
        error, step = read_error(row.error)
        return cls(
            id=row.id,
            workflow=row.workflow,
            version=row.version,
            status=row.status,
            current_step=row.step,
            input=_plain(row.input, "the input"),
            data=data,
            output=_plain(row.output, "the output"),
            error=error,
            failed_step=step,
            tags=row.tags,
            metadata=row.metadata,
            parent=row.parent,
            created_at=to_datetime(row.created_at),
            updated_at=to_datetime(row.updated_at),
            due_at=None if row.due_at is None else to_datetime(row.due_at),
            ended_at=None if row.ended_at is None else to_datetime(row.ended_at),
            steps=steps,
            revision=row.revision,
            worker=row.worker,
            pausing=row.pausing,
        )


class JournalEntry(Struct, frozen=True, kw_only=True):
    """One line of the journal: what happened, to which step, when, and by whom."""

    seq: int
    """from 1, without gaps"""
    at: datetime
    kind: str
    step: str | None
    visit: int
    attempt: int
    worker: str | None
    route: str | None
    reference: str | None
    """a signal's or a child's id; a status that was found or gone back to; a delay in seconds"""
    value: Any
    """what it is about, as plain JSON: an output, a failure, a signal, a reason"""

    @staticmethod
    def of(entry: Entry) -> JournalEntry:
        """Show an entry as the storage holds it."""
        return JournalEntry(
            seq=entry.seq,
            at=to_datetime(entry.at),
            kind=entry.kind.value,
            step=entry.step,
            visit=entry.visit,
            attempt=entry.attempt,
            worker=entry.worker,
            route=entry.route,
            reference=entry.ref,
            value=_plain(entry.payload, f"the payload of entry {entry.seq}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which executions to find, newest first; what is left out doesn't narrow.

    `metadata` must be contained with equal values. `created_after` and `created_before` need a time zone and are
    exclusive. `after` is the `next` of an earlier page. `limit` is from 1 to 1,000 executions.
    """

    workflow: str | None = None
    version: str | None = None
    status: Status | str | Sequence[Status | str] | None = None
    tag: str | None = None
    metadata: Mapping[str, Any] | None = None
    parent: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    id_prefix: str | None = None
    after: str | None = None
    limit: int = 100

    def to_rows(self) -> RowQuery:
        """Return it as a storage takes it. Raises InvalidArgument for what can't be asked."""
        if type(self.limit) is not int or not 1 <= self.limit <= 1000:
            raise InvalidArgument(f"limit must be a whole number from 1 to 1000, not {describe(self.limit)}")
        return RowQuery(
            workflow=check_filter(self.workflow, "workflow"),
            version=check_filter(self.version, "version"),
            status=_statuses(self.status),
            tag=check_filter(self.tag, "tag"),
            metadata={} if self.metadata is None else check_metadata(self.metadata),
            parent=check_filter(self.parent, "parent"),
            id_prefix=check_filter(self.id_prefix, "id_prefix") or None,
            created_after=None if self.created_after is None else to_microseconds(self.created_after, "created_after"),
            created_before=(
                None if self.created_before is None else to_microseconds(self.created_before, "created_before")
            ),
            after=None if self.after is None else read_cursor(self.after),
            limit=self.limit,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """One page of executions, newest first."""

    executions: tuple[Execution, ...]
    next: str | None
    """cursor for `Query(after=…)`; None on the last page"""

    @classmethod
    def of(cls, page: RowPage) -> Page:
        """Show a page of rows."""
        last = page.rows[-1] if page.more and page.rows else None
        return cls(tuple(map(Execution.of_row, page.rows)), None if last is None else cursor(last.created_at, last.id))


def merged_data(history: History) -> dict[str, Any]:
    """Return the outputs that are objects, merged shallowly in the order in which the steps last succeeded.

    Raises PayloadError where one of them can't be read any more.
    """
    return _merged(history, _refuse)


def _merged(history: History, on_fault: Callable[[str, Exception], None]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for step in history.succeeded():
        if step.output is not None and step.output.startswith("{"):
            try:
                data.update(msgspec.json.decode(step.output))
            except _UNREADABLE as error:
                on_fault(f"the stored output of step {step.name!r}", error)
    return data


def _skip(_what: str, _error: Exception) -> None:
    """Leave it out; the step's own output says that it can't be read."""


def _refuse(what: str, error: Exception) -> None:
    raise PayloadError(what, "$", str(error)) from error


def idempotency_key(execution: str, step: str, visit: int) -> str:
    """Return what every attempt of one visit shares: `<execution>:<step>`, with `:<visit>` from the second visit on."""
    return f"{execution}:{step}" if visit <= 1 else f"{execution}:{step}:{visit}"


def read_error(text: str | None) -> tuple[Any, str | None]:
    """Return a row's error, a Failure or what a `fail` step returned, and the step it is from."""
    if text is None:
        return None, None
    try:
        error: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        if "failure" in error:
            return msgspec.convert(error["failure"], Failure), error["step"]
        return error["value"], error["step"]
    except _UNREADABLE as fault:
        return _unread(fault, "the error"), None


def to_datetime(microseconds: int) -> datetime:
    """Return a storage's time as an aware datetime in UTC; what lies beyond year 9999 as the last moment there is."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def to_microseconds(moment: datetime, what: str) -> int:
    """Return an aware datetime as a storage's time. Raises InvalidArgument for one without a time zone."""
    if not _is_aware(moment):
        raise InvalidArgument(f"{what} must be a datetime with a time zone, not {describe(moment)}")
    return (moment - _EPOCH) // _MICROSECOND


def _is_aware(value: object) -> bool:
    return isinstance(value, datetime) and value.utcoffset() is not None


def _step(execution: str, step: StepHistory) -> StepState:
    return StepState(
        name=step.name,
        status=step.status,
        attempts=step.attempts,
        visits=step.visits,
        output=_plain(step.output, f"the output of step {step.name!r}"),
        error=_failure(step.error, f"the failure of step {step.name!r}"),
        started_at=None if step.started_at is None else to_datetime(step.started_at),
        ended_at=None if step.ended_at is None else to_datetime(step.ended_at),
        route=step.route,
        idempotency_key=idempotency_key(execution, step.name, step.visits),
        child=step.child,
    )


def _plain(text: str | None, what: str) -> Any:
    """Return stored text as plain JSON; where it can't be read, a Failure that says why in its place."""
    try:
        return None if text is None else msgspec.json.decode(text)
    except _UNREADABLE as error:
        return _unread(error, what)


def _failure(text: str | None, what: str) -> Failure | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=Failure)
    except _UNREADABLE as error:
        return _unread(error, what)


def _unread(error: Exception, what: str) -> Failure:
    return failure_of(PayloadError(what, "$", f"what is stored can't be read: {error}"), code="payload")


def _statuses(given: Status | str | Sequence[Status | str] | None) -> tuple[Status, ...]:
    if given is None:
        return ()
    if isinstance(given, str):
        given = [given]
    elif not isinstance(given, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
        raise InvalidArgument(f"status must be a status or a list of them, not {describe(given)}")
    names: Sequence[object] = given
    unknown = [name for name in names if not _is_status(name)]
    if unknown:
        raise InvalidArgument(f"{describe(unknown[0])} is no status; a status is one of {', '.join(Status)}")
    return tuple(map(Status, given))


def _is_status(name: object) -> bool:
    return isinstance(name, str) and name in _STATUSES


def cursor(created_at: int, id: str) -> str:
    """Return the place after an execution in the order of pages, as text."""
    return base64.urlsafe_b64encode(msgspec.json.encode((created_at, id))).decode()


def read_cursor(text: str) -> tuple[int, str]:
    """Return the place that a cursor stands for. Raises InvalidArgument for what is none."""
    try:
        created_at, id = msgspec.json.decode(base64.urlsafe_b64decode(text), type=tuple[int, str])
    except (TypeError, ValueError, binascii.Error, msgspec.DecodeError):
        created_at, id = 0, "\0"
    if not (id.isprintable() and -(2**63) <= created_at < 2**63):
        raise InvalidArgument(f"after must be the `next` of an earlier page, not {describe(text)}")
    return created_at, id
