"""The journal by itself: its numbers and times, and whether each entry may follow those before it."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

from stepwell._history import History
from stepwell._invariants._breach import Breach
from stepwell._model import LEGAL, TERMINAL, Entry, Kind, Status, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENDS", "LEAVES", "check_entries", "check_order"]

LEAVES: Final = frozenset({Kind.STEP_SUCCEEDED, Kind.STEP_ROUTED, Kind.STEP_RESUMED, Kind.STEP_FAILED})
"""What ends a visit, so that the next entry of the Change may be about another step."""
ENDS: Final = frozenset({Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED})
_OUTCOMES: Final = LEAVES | {Kind.STEP_RETRY, Kind.STEP_INTERRUPTED, Kind.SUCCEEDED, Kind.FAILED}
_SUCCESSES: Final = frozenset({Kind.STEP_SUCCEEDED, Kind.STEP_ROUTED, Kind.STEP_RESUMED})
_BEGINS: Final = frozenset({Kind.CLAIMED, Kind.STEP_STARTED, Kind.QUEUED, Kind.STEP_SUSPENDED})
_ANYWHERE: Final = frozenset({Kind.CREATED, Kind.WOKEN, Kind.SIGNAL_DISCARDED})
"""Entries that aren't about the step where the execution stands."""
_OF_CLIENTS: Final = frozenset({Kind.PAUSING, Kind.PAUSED, Kind.RESUMED, Kind.CANCELLED}) | _ANYWHERE
"""What needs no lease."""
_ARRIVALS: Final = {Kind.QUEUED: (0,), Kind.PAUSED: (0,), Kind.STEP_FAILED: (0, 1)}
"""The attempts with which a step may be arrived at: 0 where none began, else 1. A failed arrival is one visit too many,
or a step that rode along."""


def check_order(stored: Stored) -> Iterator[Breach]:
    """The entries are numbered from 1 without gaps, begin with `created`, and their times never go back."""
    id, journal = stored.row.id, stored.journal
    if not journal or journal[0].kind is not Kind.CREATED:
        found = journal[0].kind.value if journal else "no journal"
        yield Breach.of("begins", id, "execution.created as the first entry", found, 1 if journal else None)
    gap = next((place for place, entry in enumerate(journal, 1) if entry.seq != place), None)
    if gap is not None:
        yield Breach.of("numbered", id, f"seq {gap} after {gap - 1}", str(journal[gap - 1].seq), gap)
    elif stored.row.revision != len(journal):
        expected = f"as many entries as the revision says, {stored.row.revision}"
        yield Breach.of("numbered", id, expected, str(len(journal)))
    for before, entry in pairwise(journal):
        if entry.at < before.at:
            yield Breach.of("ordered", id, f"a time from {before.at} on", str(entry.at), entry.seq)


def check_entries(stored: Stored) -> Iterator[Breach]:
    """Each entry may follow those before it. One breach per entry is told, at most."""
    reader = _Reader(stored.row.id)
    for changed in _changes(stored.journal):
        yield from reader.read(changed)


def _changes(journal: tuple[Entry, ...]) -> Iterator[tuple[Entry, ...]]:
    """Give the entries that were committed together, together; a claim bears no change, and is one by itself."""
    for _, entries in groupby(journal, key=lambda entry: (entry.change, 0 if entry.change else entry.seq)):
        yield tuple(entries)


class _Reader:
    """Reads a journal, Change by Change, and knows what was before."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.history = History()
        self.outcomes: set[tuple[str | None, int, int]] = set()
        self.succeeded: set[tuple[str | None, int]] = set()

    def read(self, changed: tuple[Entry, ...]) -> Iterator[Breach]:
        start, previous = self.history, None
        is_client = start.status is Status.SUSPENDED and changed[0].kind is Kind.STEP_RESUMED
        for entry in changed:
            before = self.history
            broken = self._recorded(entry)
            if broken is None and entry.kind is not Kind.CREATED:
                broken = (
                    self._final(before, entry)
                    or self._held(start, entry, is_client=is_client)
                    or self._placed(before, entry, previous)
                )
            elif broken is None and entry.seq > 1:
                broken = self._breach("begins", entry, "one execution.created")
            if broken is not None:
                yield broken
            self.history = before.after((entry,))
            if entry.kind is not Kind.SIGNAL_DISCARDED:
                previous = entry
        yield from self._lawful(start, changed)

    def _breach(self, rule: str, entry: Entry, expected: str, found: str = "") -> Breach:
        text = f"{entry.kind.value} of {entry.step!r}, visit {entry.visit}, attempt {entry.attempt}"
        return Breach.of(rule, self.id, expected, found or text, entry.seq)

    def _recorded(self, entry: Entry) -> Breach | None:
        """A visit succeeds once, and nothing begins in it afterwards; an attempt has one outcome."""
        visit, attempt = (entry.step, entry.visit), (entry.step, entry.visit, entry.attempt)
        is_outcome = entry.kind in _OUTCOMES and (entry.kind is not Kind.FAILED or entry.payload is not None)
        broken = None
        if visit in self.succeeded and (is_outcome or entry.kind in _BEGINS):
            broken = self._breach("one-success", entry, "nothing more in a visit that has succeeded")
        elif is_outcome and attempt in self.outcomes:
            broken = self._breach("one-outcome", entry, "one outcome of an attempt")
        if is_outcome:
            self.outcomes.add(attempt)
        if entry.kind in _SUCCESSES or (is_outcome and entry.kind in ENDS):
            self.succeeded.add(visit)
        return broken

    def _final(self, before: History, entry: Entry) -> Breach | None:
        """Nothing follows an end but the resume of a failed execution."""
        if before.status not in TERMINAL or (before.status is Status.FAILED and entry.kind is Kind.RESUMED):
            return None
        return self._breach("final", entry, f"nothing after it has {before.status}")

    def _held(self, start: History, entry: Entry, *, is_client: bool) -> Breach | None:
        """Claims and cancels raise the token by one; all that a worker writes, it writes under a lease."""
        is_claim = entry.kind is Kind.CLAIMED
        raises = is_claim or (entry.kind is Kind.CANCELLED and start.status is Status.RUNNING)
        token = self.history.token + 1 if raises else 0
        if entry.token != token:
            return self._breach("token", entry, f"token {token}", f"{entry.token} in {entry.kind.value}")
        if is_claim:
            return None if entry.worker else self._breach("holder", entry, "a claim that names its worker")
        if not (start.status is Status.RUNNING or is_client or entry.kind in _OF_CLIENTS):
            return self._breach("holder", entry, f"no entry of a worker where it is {start.status}")
        if entry.worker != start.worker and (entry.worker is not None or entry.kind is Kind.STEP_STARTED):
            expected = f"an entry by {start.worker!r}, who holds the lease"
            return self._breach("holder", entry, expected, f"{entry.kind.value} by {entry.worker!r}")
        return None

    def _placed(self, before: History, entry: Entry, previous: Entry | None) -> Breach | None:
        """An entry is about the step where the execution stands, or about the one that it has just gone on to."""
        if entry.kind in _ANYWHERE:
            return None
        if previous is not None and previous.kind is Kind.STEP_SUSPENDED and entry.kind is not Kind.PAUSED:
            return self._breach("path", entry, "nothing after a step.suspended in the commit that suspends")
        if entry.kind is Kind.RESUMED and before.status is Status.FAILED:
            return self._resumed(before, entry)
        if entry.kind is Kind.FAILED and entry.payload is None:
            is_told = previous is not None and previous.kind is Kind.STEP_FAILED and _place(previous) == _place(entry)
            return None if is_told else self._breach("path", entry, "a step.failed before the end that it brings")
        if previous is not None and previous.kind in LEAVES and _goes_on(previous):
            known = before.steps.get(entry.step or "")
            visit = (known.visits if known is not None else 0) + 1
            if entry.visit != visit:
                return self._breach("path", entry, f"visit {visit} of {entry.step!r}")
            return self._attempted(entry, _ARRIVALS.get(entry.kind, (1,)))
        if (entry.step, entry.visit) != (before.step, before.visit):
            return self._breach("path", entry, f"an entry about {before.step!r}, visit {before.visit}")
        return self._attempted(entry, _attempts(before, entry))

    def _resumed(self, before: History, entry: Entry) -> Breach | None:
        """The step that failed gets more attempts; a wait that failed is open again, which is its next attempt."""
        known = before.steps.get(before.failed_step or "")
        if known is None or (entry.step, entry.visit) != (known.name, known.visits):
            return self._breach("path", entry, f"the step that failed, {before.failed_step!r}")
        return self._attempted(entry, (known.attempts + (entry.ref == Status.SUSPENDED),))

    def _attempted(self, entry: Entry, allowed: tuple[int, ...]) -> Breach | None:
        if entry.attempt in allowed:
            return None
        if not allowed:
            return self._breach("path", entry, "the end of a step before the next is queued")
        return self._breach("attempts", entry, f"attempt {' or '.join(map(str, allowed))}")

    def _lawful(self, start: History, changed: tuple[Entry, ...]) -> Iterator[Breach]:
        """The table of statuses permits what the Change came to; a claim tells what it found."""
        first, last = changed[0], changed[-1]
        if first.kind is Kind.CLAIMED and first.ref != start.status:
            yield Breach.of("lawful", self.id, f"a claim of what is {start.status}", str(first.ref), first.seq)
        elif first.kind is Kind.CREATED or (start.status in TERMINAL and first.kind is not Kind.RESUMED):
            return  # nothing was before; or it is told as what follows an end
        elif self.history.status is not start.status and self.history.status not in LEGAL[start.status]:
            expected = f"a status that may follow {start.status}"
            yield Breach.of("lawful", self.id, expected, self.history.status.value, last.seq)


def _place(entry: Entry) -> tuple[str | None, int]:
    return entry.step, entry.visit


def _goes_on(entry: Entry) -> bool:
    """Whether what ends a visit leads to another step; a failure that nothing catches doesn't."""
    return entry.kind is not Kind.STEP_FAILED or entry.route is not None


def _attempts(before: History, entry: Entry) -> tuple[int, ...]:
    """Return the attempts that an entry about the step where the execution stands may be of."""
    standing = before.attempt
    taken_back = standing - (before.found is not Status.SUSPENDED)
    match entry.kind:
        case Kind.STEP_STARTED:
            return (standing + 1,)
        case Kind.CLAIMED:
            return (standing + (before.status is not Status.SUSPENDED),)
        case Kind.RELEASED:
            return (taken_back,)
        case Kind.PAUSED if before.status is Status.RUNNING:
            return (taken_back,)
        case Kind.STEP_FAILED if before.found is Status.RUNNING:
            return (taken_back, standing)  # the attempt that was lost, once too often
        case Kind.QUEUED:
            return ()  # that is written upon an arrival alone
        case _:
            return (standing,)
