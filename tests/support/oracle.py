"""What must hold of all that a storage keeps, whatever happened to those who wrote it: one place to ask.

Reads through the protocol alone, so it serves every storage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from stepwell._history import History
from stepwell._model import TERMINAL, Entry, Kind, Query, Row, SignalState, Status, Stored
from stepwell.storage import Storage

__all__ = ["breaches_in", "everything_in"]

_ENDS = frozenset({Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED})
_SUCCESSES = frozenset({Kind.STEP_SUCCEEDED, Kind.STEP_ROUTED, Kind.STEP_RESUMED})
_ENDED_ATTEMPT = _SUCCESSES | {Kind.STEP_RETRY, Kind.STEP_FAILED, Kind.STEP_SUSPENDED, Kind.STEP_INTERRUPTED}
_DUE = frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING})


async def everything_in(storage: Storage) -> dict[str, Stored]:
    """Return all executions, by id."""
    found: dict[str, Stored] = {}
    after: tuple[int, str] | None = None
    while True:
        page = await storage.find(Query(limit=500, after=after))
        for row in page.rows:
            stored = await storage.load(row.id)
            assert stored is not None, row.id
            found[row.id] = stored
        if not page.more:
            return found
        after = (page.rows[-1].created_at, page.rows[-1].id)


async def breaches_in(storage: Storage) -> list[str]:
    """Return every promise that is broken, in words; nothing where all is well. Only while nobody writes."""
    known = await everything_in(storage)
    return [f"{id}: {breach}" for id, stored in known.items() for breach in _breaches(stored, known)]


def _breaches(stored: Stored, known: dict[str, Stored]) -> Iterator[str]:
    yield from _of_journal(stored)
    yield from _of_attempts(stored.journal)
    yield from _of_standing(stored, known)
    yield from _of_signals(stored)
    yield from _of_family(stored, known)


def _of_journal(stored: Stored) -> Iterator[str]:
    row, journal = stored.row, stored.journal
    if [entry.seq for entry in journal] != list(range(1, row.revision + 1)):
        yield f"the journal has gaps, or doesn't end at revision {row.revision}"
    if [entry.kind for entry in journal if entry.kind is Kind.CREATED] != [journal[0].kind]:
        yield "the journal doesn't begin with its creation, once"
    if not History.of(journal).matches(row):
        yield f"the journal tells {History.of(journal)}, the row {row}"
    if not ((row.status in TERMINAL) == (row.step is None) == (row.ended_at is not None)):
        yield "what has ended has no step and a time, and nothing else has that"
    last = max((entry.seq for entry in journal if entry.kind is Kind.RESUMED), default=0)
    ends = [entry.seq for entry in journal if entry.kind in _ENDS and entry.seq > last]
    if len(ends) != (row.status in TERMINAL):
        yield f"{len(ends)} ends since the last resume"
    for success, times in Counter((e.step, e.visit) for e in journal if e.kind in _SUCCESSES).items():
        if times > 1:
            yield f"{success} succeeded {times} times"
    tokens = [entry.token for entry in journal if entry.token]
    if tokens != sorted(tokens):
        yield f"tokens go back: {tokens}"
    claims = [entry.token for entry in journal if entry.kind is Kind.CLAIMED]
    if len(set(claims)) < len(claims):
        yield f"two claims have one token: {claims}"


def _of_attempts(journal: tuple[Entry, ...]) -> Iterator[str]:
    """The attempts of a visit that began are numbered from 1, without gaps."""
    last: dict[tuple[str | None, int], int] = {}
    current: tuple[tuple[str | None, int], int] | None = None
    for entry in journal:
        visit = (entry.step, entry.visit)
        if entry.kind is Kind.STEP_STARTED or (entry.kind is Kind.CLAIMED and entry.ref != Status.SUSPENDED):
            if current is not None:  # lost
                last[current[0]] = current[1]
            if entry.attempt != last.get(visit, 0) + 1:
                yield f"attempt {entry.attempt} of {visit} begins after {last.get(visit, 0)}"
            current = (visit, entry.attempt)
        elif entry.kind is Kind.RESUMED and entry.payload is not None and entry.ref == Status.SUSPENDED:
            last[visit] = entry.attempt  # a wait that failed is open again, which is its next attempt
        elif entry.kind in {Kind.RELEASED, Kind.PAUSED}:
            current = None  # taken back, or ended before
        elif entry.kind in _ENDED_ATTEMPT:
            if entry.attempt - last.get(visit, 0) not in {0, 1}:
                yield f"attempt {entry.attempt} of {visit} ends after {last.get(visit, 0)}"
            last[visit], current = entry.attempt, None


def _of_standing(stored: Stored, known: dict[str, Stored]) -> Iterator[str]:
    """Nobody is forgotten: what lives is due, leased, paused, or has somebody who will wake it."""
    row = stored.row
    if (row.worker is not None) != (row.status is Status.RUNNING) or (row.pausing and row.worker is None):
        yield f"{row.status} with worker {row.worker} and pausing {row.pausing}"
    if row.status in _DUE and row.due_at is None:
        yield f"stranded: {row.status} and never due"
    elif row.status is Status.SUSPENDED:
        yield from _of_suspended(stored, known)
    elif row.status not in _DUE and row.due_at is not None:
        yield f"{row.status}, and due all the same"


def _of_suspended(stored: Stored, known: dict[str, Stored]) -> Iterator[str]:
    row = stored.row
    if row.due_at is not None and row.due_at <= stored.now:
        return
    step = History.of(stored.journal).steps[row.step or ""]
    if step.child is not None and (step.child not in known or known[step.child].row.status in TERMINAL):
        yield f"stranded: its child {step.child} has ended or isn't there, and nothing wakes it"
    if any(signal.step == row.step and signal.state is SignalState.PENDING for signal in stored.signals):
        yield "stranded: its signal lies there, and nothing wakes it"
    if row.timer_at is not None and (row.due_at is None or row.due_at > row.timer_at):
        yield "stranded: its timer passes, and nothing wakes it"


def _of_signals(stored: Stored) -> Iterator[str]:
    row, journal = stored.row, stored.journal
    ids = {signal.id: signal.state for signal in stored.signals}
    if row.signals != len(ids):
        yield f"{len(ids)} signals, and {row.signals} counted"
    used = sorted(e.ref for e in journal if e.kind is Kind.STEP_RESUMED and e.ref in ids)
    if used != sorted(id for id, state in ids.items() if state is SignalState.USED):
        yield f"signals used by the journal {used}, by their own record {ids}"
    discarded = sorted(str(e.ref) for e in journal if e.kind is Kind.SIGNAL_DISCARDED)
    if discarded != sorted(id for id, state in ids.items() if state is SignalState.DISCARDED):
        yield f"signals discarded by the journal {discarded}, by their own record {ids}"
    if row.status in TERMINAL and SignalState.PENDING in ids.values():
        yield "a signal is left over though the end has come"


def _of_family(stored: Stored, known: dict[str, Stored]) -> Iterator[str]:
    children = [e.ref for e in stored.journal if e.kind is Kind.STEP_SUSPENDED and e.ref]
    if len(set(children)) < len(children):
        yield f"a child twice: {children}"
    named = set(children)
    for id, other in known.items():
        if other.row.parent == stored.row.id and id not in named:
            yield f"{id} calls it its parent, and no visit of its own made it"
    row: Row = stored.row
    if row.parent is not None and row.parent not in known:
        yield f"its parent {row.parent} isn't there"
