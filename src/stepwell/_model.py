"""The words of the engine as values: statuses, rows, journal entries, changes. All are frozen; none has behaviour.

Times are integers, microseconds since the epoch by the storage's clock. The core never reads a clock: it speaks in
delays (seconds), and the storage turns them into times.

Payloads are JSON *text*, made and read by `stepwell._codec`; nothing in this module looks inside.

These are `msgspec.Struct`s rather than dataclasses because a handful of them is made for every step that ends, and
a frozen struct is made several times faster than a frozen dataclass.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

__all__ = [
    "LEGAL",
    "LIVE",
    "NEVER",
    "NOW",
    "TERMINAL",
    "Change",
    "Definition",
    "Deposit",
    "Entry",
    "Kind",
    "Moment",
    "Page",
    "Query",
    "Row",
    "Signal",
    "SignalState",
    "Status",
    "Stored",
    "Unit",
    "Wake",
]


class Status(StrEnum):
    """Where an execution stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    """for a retry"""
    SUSPENDED = "suspended"
    """at a wait or a subworkflow"""
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows but, for a failed execution, an explicit resume."""
        return self in TERMINAL


TERMINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
LIVE: Final = frozenset(Status) - TERMINAL

LEGAL: Final[dict[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {
            Status.RUNNING,
            Status.QUEUED,
            Status.WAITING,
            Status.SUSPENDED,
            Status.PAUSED,
            Status.SUCCEEDED,
            Status.FAILED,
            Status.CANCELLED,
        }
    ),
    Status.WAITING: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED}),
    Status.SUSPENDED: frozenset(
        {Status.RUNNING, Status.QUEUED, Status.SUSPENDED, Status.PAUSED, Status.FAILED, Status.CANCELLED}
    ),
    Status.PAUSED: frozenset({Status.QUEUED, Status.WAITING, Status.SUSPENDED, Status.CANCELLED}),
    Status.FAILED: frozenset({Status.QUEUED, Status.SUSPENDED}),
    Status.SUCCEEDED: frozenset(),
    Status.CANCELLED: frozenset(),
}
"""Which status may follow which: the one table. Whatever changes a status is checked against it before it is committed.

A suspended execution may be moved by a client whose signal resolves its wait: to the queue, to the next wait, or to
failed where the next step has been visited too often. A failed one moves only by an explicit resume.
"""


class Kind(StrEnum):
    """What a journal entry records."""

    CREATED = "execution.created"
    CLAIMED = "execution.claimed"
    """a worker took the lease; `ref` is the status it found. Unless that was suspended, an attempt began"""
    RELEASED = "execution.released"
    """the lease was given back and the attempt, if one was claimed, did not begin; `ref` is the status gone back to"""
    QUEUED = "execution.queued"
    """arrived at a step that any worker may start"""
    PAUSING = "execution.pausing"
    PAUSED = "execution.paused"
    """`ref` is the status to go back to"""
    RESUMED = "execution.resumed"
    """`ref` is the status gone to"""
    WOKEN = "execution.woken"
    """a child (`ref`) ended as `route` says"""
    SUCCEEDED = "execution.succeeded"
    FAILED = "execution.failed"
    CANCELLED = "execution.cancelled"
    SIGNAL_DISCARDED = "execution.discarded_signal"
    """the execution ended with this signal (`ref`) unused"""
    STEP_STARTED = "step.started"
    """an attempt began under a lease that was held already"""
    STEP_SUCCEEDED = "step.succeeded"
    STEP_ROUTED = "step.routed"
    STEP_RETRY = "step.retry"
    """an attempt failed and another follows after `ref` seconds"""
    STEP_FAILED = "step.failed"
    """the last attempt failed; `route` is the catch that takes it, if any"""
    STEP_SUSPENDED = "step.suspended"
    """`ref` is the child's id, at a subworkflow"""
    STEP_RESUMED = "step.resumed"
    """the wait or subworkflow is over: by a signal (`ref`), its timeout, or its child; `route` is the way taken"""
    STEP_INTERRUPTED = "step.interrupted"
    """a drain ended the attempt; it doesn't count, and any worker may start the next"""


class Row(Struct, frozen=True, kw_only=True, gc=False):
    """Where an execution stands: exactly what folding its journal tells, and what the storage needs to find it."""

    id: str
    workflow: str
    version: str
    status: Status
    step: str | None
    """None once terminal"""
    visit: int
    attempt: int
    """number of the current attempt of this visit; 0 before the first"""
    revision: int
    """`seq` of the last journal entry"""
    token: int = 0
    """raised by each claim; who holds another one has lost the lease"""
    due_at: int | None = None
    """when a worker should look at it: while running, the end of the lease"""
    timer_at: int | None = None
    """when it is due by itself (retry, timeout, delayed start), kept while it is paused or woken early"""
    worker: str | None = None
    """who holds the lease; None unless running"""
    pausing: bool = False
    signals: int = 0
    """how many signals were ever accepted"""
    parent: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    input: str = "null"
    output: str | None = None
    error: str | None = None
    created_at: int = 0
    updated_at: int = 0
    ended_at: int | None = None


class Entry(Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of an execution's journal. Written once, never changed."""

    kind: Kind
    step: str | None = None
    visit: int = 0
    attempt: int = 0
    worker: str | None = None
    token: int = 0
    route: str | None = None
    ref: str | None = None
    payload: str | None = None
    change: str = ""
    """id of the Change it was committed with, by which a sender recognises its own commit"""
    seq: int = 0
    """from 1, without gaps; given by the storage: the execution's revision before, plus its place in the Change"""
    at: int = 0
    """given by the storage"""


class SignalState(StrEnum):
    """What became of an accepted signal."""

    PENDING = "pending"
    USED = "used"
    DISCARDED = "discarded"


class Signal(Struct, frozen=True, gc=False):
    """A message for a wait. `payload` is JSON text."""

    id: str
    step: str
    payload: str
    state: SignalState = SignalState.PENDING
    at: int = 0


class Moment(Struct, frozen=True, gc=False):
    """A time as the core can name it: `after` so many seconds, or `at` a time it was told; neither means never."""

    after: float | None = None
    at: int | None = None


NOW: Final = Moment(after=0.0)
NEVER: Final = Moment()


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """All that one decision implies for one execution. Committed whole, or refused because its guards don't hold.

    Guards: the stored revision equals `expects` (0: the execution must not exist yet), and, if `signals` is given,
    the number of signals ever accepted equals it.
    """

    id: str
    row: Row
    """the row afterwards, but for `due_at`, `timer_at`, `signals` and the times, which the storage settles"""
    expects: int
    entries: tuple[Entry, ...]
    due: Moment | None = None
    """None: stays as it is (the lease runs on)"""
    timer: Moment | None = None
    """None: stays as it is"""
    signals: int | None = None
    uses: tuple[str, ...] = ()
    """ids of the signals that this change uses"""
    discards: tuple[str, ...] = ()
    """ids of the signals that end unused"""


class Wake(Struct, frozen=True, kw_only=True, gc=False):
    """A child's last commit wakes its parent: unguarded, without effect where the parent has ended or is gone.

    Appends `entry` and raises the revision, so that a parent that is deciding just then looks again; makes the parent
    due now if it is suspended.
    """

    id: str
    """of the parent"""
    entry: Entry


class Deposit(Struct, frozen=True, kw_only=True, gc=False):
    """A signal laid down for a wait. Refused unless the execution is live and has accepted `expects` signals so far.

    Raises the row's signal counter, not its revision; makes the execution due now if it is suspended at that step.
    """

    id: str
    signal: Signal
    expects: int


Unit = tuple[Change | Wake | Deposit, ...]
"""What is committed together or not at all."""


class Stored(Struct, frozen=True, gc=False):
    """One execution as a storage holds it, read in one snapshot."""

    row: Row
    journal: tuple[Entry, ...]
    signals: tuple[Signal, ...]
    """all that were accepted, oldest first"""
    now: int
    """the storage's clock when it was read"""
    unreadable: str = ""
    """of a claim: why journal and signals (and of the row, tags and metadata) could not be read; empty if they were"""


class Definition(Struct, frozen=True, gc=False):
    """A workflow as a storage knows it. `graph` is JSON text."""

    workflow: str
    version: str
    digest: str
    graph: str


class Query(Struct, frozen=True, kw_only=True, gc=False):
    """Which executions to find; whatever is None or empty doesn't narrow. Newest first.

    `limit` is in rows, at most 1,000. `after` is the cursor of an earlier page. Times are exclusive microseconds.
    """

    ids: tuple[str, ...] = ()
    workflow: str | None = None
    version: str | None = None
    status: tuple[Status, ...] = ()
    tag: str | None = None
    metadata: dict[str, Any] = {}
    parent: str | None = None
    id_prefix: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    after: tuple[int, str] | None = None
    """(created_at, id) of the last row seen"""
    limit: int = 100


class Page(Struct, frozen=True, gc=False):
    """One page of rows, and whether there are more."""

    rows: tuple[Row, ...]
    more: bool
