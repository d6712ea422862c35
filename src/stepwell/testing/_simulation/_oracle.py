"""What must hold after every commit and at every call of a handler. Numbers in brackets: the promises.

Reads what is stored, and what handlers were seen to do; never the engine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stepwell.storage import Kind, SignalState, Status

if TYPE_CHECKING:
    from stepwell.storage import Entry, Storage, Stored
    from stepwell.testing._simulation._processes import Process
    from stepwell.testing._simulation._recorder import Call

__all__ = ["Ledger", "Oracle", "StoredCheck"]

_Visit = tuple[str | None, int]

StoredCheck = Callable[["Stored"], Iterable[str]]
"""Looks at an execution as it is stored just now; gives what is wrong with it."""

_ENDS: Final = frozenset({Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED})
_SUCCESSES: Final = frozenset({Kind.STEP_SUCCEEDED, Kind.STEP_ROUTED, Kind.STEP_RESUMED})
_ENDED_ATTEMPT: Final = _SUCCESSES | {
    Kind.STEP_RETRY,
    Kind.STEP_FAILED,
    Kind.STEP_SUSPENDED,
    Kind.STEP_INTERRUPTED,
}
_DUE: Final = frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING})


@dataclass
class Ledger:
    """What clients were told is done."""

    started: dict[str, str] = field(default_factory=dict[str, str])
    """workflows, by execution"""
    signalled: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(execution, signal)"""
    cancelled: set[str] = field(default_factory=set[str])
    is_settled: bool = False
    """whether the clients are through with all they wanted"""


class Oracle:
    """Collects what is wrong."""

    def __init__(
        self,
        now: Callable[[], float],
        store_now: Callable[[], float],
        happened: Counter[str],
        checks: Iterable[StoredCheck] = (),
    ) -> None:
        """*now* is the loop's clock, *store_now* the storage's, both in seconds."""
        self._now = now
        self._store_now = store_now
        self._happened = happened
        self._checks = tuple(checks)
        self.problems: list[str] = []
        self.stored: dict[str, Stored] = {}
        """each execution as it was last seen"""
        self._succeeded: dict[str, set[_Visit]] = defaultdict(set)
        self._running: dict[str, list[Call]] = defaultdict(list)

    def problem(self, text: str) -> None:
        """Note what is wrong."""
        self.problems.append(f"at {self._now():.3f} s: {text}")

    # -- commits -------------------------------------------------------------------------------------------------------

    async def watch(self, storage: Storage, ids: Iterable[str]) -> None:
        """Look at what was committed just now."""
        for id in dict.fromkeys(ids):
            stored = await storage.load(id)
            if stored is not None:
                self.look(stored)

    def look(self, stored: Stored) -> None:
        """Look at one execution."""
        row, journal = stored.row, stored.journal
        before = self.stored.get(row.id)
        self.stored[row.id] = stored
        if before is not None and (before.row.revision, before.signals) == (row.revision, stored.signals):
            return  # a lease was renewed
        known = 0 if before is None else len(before.journal)
        if before is not None and journal[:known] != before.journal:
            self.problem(f"[8] {row.id}: what its journal held has changed")
        for entry in journal[known:]:
            self._happened[f"journal: {entry.kind.value}"] += 1
            if entry.kind in _SUCCESSES:
                visit = (entry.step, entry.visit)
                if visit in self._succeeded[row.id]:
                    self.problem(f"[1] {row.id}: visit {entry.visit} of {entry.step} succeeded twice")
                self._succeeded[row.id].add(visit)
            elif entry.kind is Kind.CLAIMED:
                self._look_at_claim(row.id, entry.worker or "")
        self._look_at_journal(row.id, journal, known)
        self._look_at_row(stored)
        for check in self._checks:
            for wrong in check(stored):
                self.problem(f"{row.id}: {wrong}")

    def _look_at_journal(self, id: str, journal: tuple[Entry, ...], known: int) -> None:
        if [entry.seq for entry in journal[known:]] != list(range(known + 1, len(journal) + 1)):
            self.problem(f"[8] {id}: its journal has gaps")
        if journal[0].kind is not Kind.CREATED:
            self.problem(f"[8] {id}: its journal begins with {journal[0].kind}")
        token, at, ended = 0, 0, False
        for entry in journal:
            if entry.at < at:
                self.problem(f"[8] {id}: its journal goes back in time at {entry.seq}")
            at = entry.at
            if entry.token and entry.token <= token:
                self.problem(f"[2] {id}: token {entry.token} follows token {token} at {entry.seq}")
            token = entry.token or token
            if ended and entry.kind is not Kind.RESUMED:
                self.problem(f"[7] {id}: {entry.kind} follows its end at {entry.seq}")
            ended = entry.kind in _ENDS
        self._look_at_attempts(id, journal)

    def _look_at_attempts(self, id: str, journal: tuple[Entry, ...]) -> None:
        """The attempts of a visit that began are numbered from 1, without gaps, whatever became of them [4]."""
        last: dict[_Visit, int] = {}
        current: tuple[_Visit, int] | None = None
        for entry in journal:
            visit = (entry.step, entry.visit)
            if entry.kind is Kind.STEP_STARTED or (entry.kind is Kind.CLAIMED and entry.ref != Status.SUSPENDED):
                if current is not None:  # lost
                    last[current[0]] = current[1]
                if entry.attempt != last.get(visit, 0) + 1:
                    self.problem(f"[4] {id}: attempt {entry.attempt} of {entry.step} follows {last.get(visit, 0)}")
                current = (visit, entry.attempt)
            elif entry.kind is Kind.RESUMED and entry.payload is not None and entry.ref == Status.SUSPENDED:
                last[visit] = entry.attempt  # a wait that failed is open again, which is its next attempt
            elif entry.kind in (Kind.RELEASED, Kind.PAUSED):
                current = None  # taken back, or ended before
            elif entry.kind in _ENDED_ATTEMPT:
                if entry.attempt - last.get(visit, 0) not in (0, 1):
                    self.problem(f"[4] {id}: attempt {entry.attempt} of {entry.step} ends after {last.get(visit, 0)}")
                last[visit], current = entry.attempt, None

    def _look_at_row(self, stored: Stored) -> None:
        """Nobody is forgotten [6]: what lives is due, leased, paused, or has somebody who will wake it."""
        row, journal = stored.row, stored.journal
        if row.revision != len(journal):
            self.problem(f"[8] {row.id}: revision {row.revision}, but {len(journal)} entries")
        if row.status.is_terminal != (journal[-1].kind in _ENDS):
            self.problem(f"[8] {row.id}: it is {row.status}, but its journal ends with {journal[-1].kind}")
        if (row.worker is not None) != (row.status is Status.RUNNING):
            self.problem(f"[2] {row.id}: it is {row.status} in the hands of {row.worker}")
        parent = self.stored.get(row.parent or "")
        if parent is not None and parent.row.status is Status.CANCELLED and not row.status.is_terminal:
            self.problem(f"[7] {row.id}: it is {row.status}, and its parent was cancelled")
        if row.status in _DUE and row.due_at is None:
            self.problem(f"[6] {row.id}: it is {row.status}, and never due")
        used = {entry.ref for entry in journal if entry.kind is Kind.STEP_RESUMED}
        pending = [signal for signal in stored.signals if signal.state is SignalState.PENDING]
        if row.signals != len(stored.signals):
            self.problem(f"[9] {row.id}: {row.signals} signals accepted, {len(stored.signals)} stored")
        for signal in stored.signals:
            if (signal.state is SignalState.USED) != (signal.id in used):
                self.problem(f"[9] {row.id}: signal {signal.id} is {signal.state}, the journal tells otherwise")
        if row.status.is_terminal and pending:
            self.problem(f"[9] {row.id}: it ended, and {pending[0].id} is still pending")
        awaited = [signal for signal in pending if signal.step == row.step]
        if row.status is Status.SUSPENDED and awaited and (row.due_at is None or row.due_at > stored.now):
            self.problem(f"[6] {row.id}: it waits at {row.step}, and its signal {awaited[0].id} is there")

    # -- handlers ------------------------------------------------------------------------------------------------------

    def began(self, call: Call) -> None:
        """A handler's first line is about to run."""
        if call.process.is_dead:
            return
        stored = self.stored.get(call.execution)
        is_resolver = call.kind == "wait"  # what it resolves may be resolved by a client, too, and at the same time
        if stored is not None and not is_resolver:
            self._look_at_start(call, stored)
        self._running[call.execution].append(call)
        if not is_resolver:
            self._look_for_overlap(call, has_just_begun=True)

    def stopped(self, call: Call) -> None:
        """A handler is stopped before the lease ends by its worker's clock, whatever for, if the worker runs [3]."""
        process, now = call.process, self._now()
        end = process.lease_ends.get(call.execution)
        if end is None or call.kind == "wait":  # a client's resolver needs no lease
            return
        if not self._runs_freely(call, now):
            self._happened["stopped when its process went on"] += 1
        elif now >= end:
            late = f"{now - end:.3f} s past its lease's end by its worker's clock"
            self.problem(f"[3] {call.execution}: {call.step} is stopped on {process.name} {late}")
        else:
            whole = int(end - now)
            self._happened[f"stopped {whole} to {whole + 1} s before its lease's end"] += 1

    def ended(self, call: Call) -> None:
        """A handler has ended, one way or the other."""
        running = self._running[call.execution]
        if call in running:
            if not call.process.is_dead and call.kind != "wait":
                self._look_for_overlap(call)
            running.remove(call)

    def _look_at_start(self, call: Call, stored: Stored) -> None:
        if (call.step, call.visit) in self._succeeded[call.execution]:
            self.problem(f"[3] {call.execution}: {call.step} is begun by {call.process.name} after its success")
        row = stored.row
        if row.status not in (Status.RUNNING, Status.CANCELLED):  # of a cancel, a worker hears later
            self.problem(f"[3] {call.execution}: {call.step} is begun by {call.process.name}, and it is {row.status}")
        if row.worker is not None and row.due_at is not None and row.due_at < round(self._store_now() * 1_000_000):
            self.problem(f"[3] {call.execution}: {call.step} is begun by {call.process.name} after its lease's end")
        if row.worker is not None and not _belongs(row.worker, call.process):
            self.problem(
                f"[3] {call.execution}: {call.step} is begun by {call.process.name}, and {row.worker} holds it"
            )
        is_here = (row.step, row.visit) == (call.step, call.visit)
        if not call.is_rider and is_here and call.attempt > row.attempt:
            self.problem(f"[4] {call.execution}: attempt {call.attempt} of {call.step} runs and isn't stored")

    def _look_for_overlap(self, call: Call, *, has_just_begun: bool = False) -> None:
        """Two workers never run handlers of one execution at once, unless one stands still or can't be stopped [3].

        One that stood still is stopped as soon as it goes on, and may until then have run to its next wait; but it
        begins nothing new.
        """
        now = self._now()
        is_free = has_just_begun or self._runs_freely(call, now)
        for other in self._running[call.execution]:
            if other.process is call.process or other.kind == "wait":
                continue
            if is_free and self._runs_freely(other, now):
                self.problem(
                    f"[3] {call.execution}: {call.step} runs on {call.process.name} since {call.began_at:.3f} and "
                    f"{other.step} on {other.process.name} since {other.began_at:.3f}"
                )

    def _look_at_claim(self, id: str, worker: str) -> None:
        """Whoever had the lease before has stopped its handler by now, for its trust ends before the lease [3]."""
        now = self._now()
        for call in self._running[id]:
            if call.kind != "wait" and not _belongs(worker, call.process) and self._runs_freely(call, now):
                self.problem(f"[3] {id}: {worker} claims it, and {call.step} still runs on {call.process.name}")

    @staticmethod
    def _runs_freely(call: Call, now: float) -> bool:
        process = call.process
        return not (process.stands_still or process.is_over or call.is_stubborn or process.resumed_at >= now)

    # -- the end -------------------------------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Whether nothing is left to do: all has ended, or waits for what nobody sends."""
        return all(_is_idle(stored) for stored in self.stored.values())

    def look_at_end(self, ledger: Ledger) -> None:
        """Look whether everything that was promised is there, and everything has come to an end [10, 6]."""
        for id, workflow in ledger.started.items():
            if id not in self.stored:
                self.problem(f"[10] {id} of {workflow}: its start was confirmed, and it isn't there")
        for id, signal in sorted(ledger.signalled):
            if id not in self.stored or all(one.id != signal for one in self.stored[id].signals):
                self.problem(f"[10] {id}: signal {signal} was confirmed, and it isn't there")
        for id in sorted(ledger.cancelled):
            if not self.stored[id].row.status.is_terminal:
                self.problem(f"[7] {id}: it was cancelled, and is {self.stored[id].row.status}")
        if not ledger.is_settled:
            self.problem("[6] the clients still wait for answers")
        for id, stored in sorted(self.stored.items()):
            if not _is_idle(stored):
                row = stored.row
                self.problem(f"[6] {id}: still {row.status} at {row.step} (attempt {row.attempt}) when all was well")
            self._look_for_stranded(id, stored)

    def _look_for_stranded(self, id: str, stored: Stored) -> None:
        child = next((e.ref for e in reversed(stored.journal) if e.kind is Kind.STEP_SUSPENDED), None)
        found = self.stored.get(child or "")
        if stored.row.status is Status.SUSPENDED and found is not None and found.row.status.is_terminal:
            self.problem(f"[6] {id}: its child {child} has ended, and it still waits")


def _belongs(worker: str, process: Process) -> bool:
    """Tell whether a worker lives in that process, whose engine gives its workers its name."""
    return worker.startswith(f"{process.name}-")


def _is_idle(stored: Stored) -> bool:
    row = stored.row
    return row.status.is_terminal or (row.status is Status.SUSPENDED and row.due_at is None)
