"""What the world is told: public events, derived from what was committed."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from stepwell._failure import Failure
from stepwell._model import Change, Entry, Kind, Row, Status

__all__ = ["EVENT_KINDS", "Event", "Lagged", "Summary", "claim_notices", "notices"]

EVENT_KINDS: Final = (
    "execution.queued",
    "execution.started",
    "execution.succeeded",
    "execution.failed",
    "execution.cancelled",
    "execution.suspended",
    "execution.paused",
    "execution.resumed",
    "execution.discarded_signal",
    "execution.lease_lost",
    "step.started",
    "step.succeeded",
    "step.routed",
    "step.retry",
    "step.failed",
    "step.suspended",
    "step.resumed",
    "step.unstoppable",
    "worker.blocked",
    "worker.error",
)
"""Every kind of event there is."""


class Summary(Struct, frozen=True):
    """An execution in short, as it stood when the event happened."""

    id: str
    workflow: str
    version: str
    status: Status
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    parent: str | None

    @staticmethod
    def of(row: Row) -> Summary:
        """Shorten a row."""
        return Summary(row.id, row.workflow, row.version, row.status, row.tags, row.metadata, row.parent)


class Event(Struct, frozen=True):
    """Something that happened. Told after the commit, in order per execution, in this process only."""

    kind: str
    """one of EVENT_KINDS"""
    execution: Summary | None
    """None where a worker's trouble is about no execution"""
    step: str | None = None
    visit: int = 0
    attempt: int = 0
    worker: str | None = None
    route: str | None = None
    """the way taken: of a decision, a wait, a subworkflow or a catch"""
    reference: str | None = None
    """a signal's or a child's id; before a retry, the delay in seconds"""
    payload: str | None = None
    """JSON text: what the event is about (an output, a signal, a failure, a reason)"""
    message: str = ""
    """for people; of those kinds that no journal entry tells: what is wrong, and what was done about it"""
    revision: int = 0
    """`seq` of the journal entry that it tells of"""

    @property
    def value(self) -> Any:
        """What the event is about, decoded to plain JSON; None where there is nothing."""
        return None if self.payload is None else msgspec.json.decode(self.payload)

    @property
    def failure(self) -> Failure | None:
        """The failure that a `step.retry` or `step.failed` tells of."""
        if self.kind not in {"step.retry", "step.failed"} or self.payload is None:
            return None
        return msgspec.json.decode(self.payload, type=Failure)


class Lagged(Struct, frozen=True):
    """Takes the place of events that a listener was too slow for."""

    missed: int


_TOLD: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.CREATED: ("execution.queued",),
    Kind.CLAIMED: (),
    Kind.RELEASED: (),
    Kind.QUEUED: (),
    Kind.PAUSING: (),
    Kind.PAUSED: ("execution.paused",),
    Kind.RESUMED: ("execution.resumed",),
    Kind.WOKEN: (),
    Kind.SUCCEEDED: ("execution.succeeded",),
    Kind.FAILED: ("execution.failed",),
    Kind.CANCELLED: ("execution.cancelled",),
    Kind.SIGNAL_DISCARDED: ("execution.discarded_signal",),
    Kind.STEP_STARTED: ("step.started",),
    Kind.STEP_SUCCEEDED: ("step.succeeded",),
    Kind.STEP_ROUTED: ("step.routed",),
    Kind.STEP_RETRY: ("step.retry",),
    Kind.STEP_FAILED: ("step.failed",),
    Kind.STEP_SUSPENDED: ("step.suspended", "execution.suspended"),
    Kind.STEP_RESUMED: ("step.resumed",),
    Kind.STEP_INTERRUPTED: (),
}
"""Which entry is told as which events. A claim is told by `claim_notices`, for it depends on what it found."""


def notices(change: Change) -> list[Event]:
    """Return the events that a committed Change implies, in order."""
    summary = Summary.of(change.row)
    return [
        _event(kind, summary, entry, change.expects + place)
        for place, entry in enumerate(change.entries, 1)
        for kind in _TOLD[entry.kind]
    ]


def claim_notices(row: Row, found: Status) -> list[Event]:
    """Return the events that a claim implies: what began, and what it found lost."""
    summary = Summary.of(row)
    entry = Entry(Kind.CLAIMED, row.step, row.visit, row.attempt, row.worker)
    kinds: list[str] = []
    if row.token == 1:
        kinds.append("execution.started")
    if found is Status.RUNNING:
        kinds.append("execution.lease_lost")
    elif found is not Status.SUSPENDED and not row.pausing:
        kinds.append("step.started")
    return [_event(kind, summary, entry, row.revision) for kind in kinds]


def _event(kind: str, summary: Summary, entry: Entry, revision: int) -> Event:
    return Event(
        kind,
        summary,
        entry.step,
        entry.visit,
        entry.attempt,
        entry.worker,
        entry.route,
        entry.ref,
        entry.payload,
        "",
        revision,
    )
