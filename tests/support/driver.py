"""Plays what surrounds the pure core: a storage, a worker and a client, without a clock, a task or a handler.

A test says what happens; the core decides what follows; every commit is checked against the promises that must hold
after each one (`tests.support.invariants`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from msgspec.structs import replace

from stepwell._definition import Workflow
from stepwell._history import History
from stepwell._model import (
    NOW,
    Change,
    Deposit,
    Entry,
    Kind,
    Moment,
    Row,
    Signal,
    SignalState,
    Status,
    Stored,
    Unit,
    Wake,
)
from stepwell._transition import (
    Accepted,
    Action,
    Cancelled,
    ChildEnded,
    Decide,
    Event,
    Look,
    Move,
    Paused,
    Resumed,
    Signalled,
    State,
    StillSuspended,
    Terms,
    accept,
    begin,
    plan,
    ride,
    transition,
)
from tests.support.invariants import check

__all__ = ["FAILURE", "LEASE", "Driver", "Hand", "kinds"]

LEASE: Final = 60.0
FAILURE: Final = '{"type":"OSError","message":"no","code":"error"}'
MAX_RIDERS: Final = 20
_SECOND: Final = 1_000_000
_MAX_DECISIONS: Final = 10
"""how often one outcome may be refused and decided again, before a test says that it never ends"""


@dataclass
class Hand:
    """One execution in a worker's hands."""

    state: State
    now: int
    event: Event | None = None
    """the outcome that is not committed yet"""


@dataclass
class Driver:
    """A world with a storage in dictionaries and as many workers as there are claimed executions."""

    workflows: dict[str, Workflow[Any, Any]] = field(default_factory=dict[str, Workflow[Any, Any]])
    now: int = 0
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    journals: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    histories: dict[str, History] = field(default_factory=dict[str, History])
    signals: dict[str, dict[str, Signal]] = field(default_factory=dict[str, dict[str, Signal]])
    hands: dict[str, Hand] = field(default_factory=dict[str, Hand])
    pairs: set[tuple[Status, Status]] = field(default_factory=set[tuple[Status, Status]])
    """every (status before, status after) that was committed"""
    changes: int = 0

    # -- the storage ---------------------------------------------------------------------------------------------------

    def commit(self, unit: Unit) -> bool:
        """Commit a unit whole, or nothing of it."""
        if not all(map(self._permits, unit)):
            return False
        for part in unit:
            match part:
                case Change():
                    self._change(part)
                case Wake(id=id, entry=entry):
                    row = self.rows[id]
                    if not row.status.is_terminal:
                        is_suspended = row.status is Status.SUSPENDED
                        self._store(replace(row, due_at=self.now if is_suspended else row.due_at), (entry,))
                case Deposit(id=id, signal=signal):
                    row = self.rows[id]
                    is_awaited = row.status is Status.SUSPENDED and row.step == signal.step
                    self.signals[id][signal.id] = signal
                    due = self.now if is_awaited else row.due_at
                    self.rows[id] = replace(row, signals=row.signals + 1, due_at=due)
                case _:
                    assert_never(part)
        for id in self.rows:
            check(self, id)
        return True

    def load(self, id: str) -> Stored:
        """Return what is stored of an execution."""
        return Stored(self.rows[id], tuple(self.journals[id]), tuple(self.signals[id].values()), self.now)

    def state(self, id: str) -> State:
        """Return an execution as a decision sees it."""
        return State.of(self.load(id))

    def _permits(self, part: Change | Wake | Deposit) -> bool:
        match part:
            case Change():
                row = self.rows.get(part.row.id)
                revision, signals = (row.revision, row.signals) if row else (0, 0)
                return part.expects == revision and part.signals in {None, signals}
            case Wake():
                return True
            case Deposit(id=id, signal=signal, expects=expects):
                row = self.rows[id]
                is_new = signal.id not in self.signals[id]
                return is_new and not row.status.is_terminal and row.signals == expects

    def _change(self, change: Change) -> None:
        id = change.row.id
        before = self.rows.get(id)
        assert change.row.revision == change.expects + len(change.entries)
        if before is None:
            self.journals[id], self.histories[id], self.signals[id] = [], History(), {}
        else:
            self.pairs.add((before.status, change.row.status))
        due_at, timer_at = (before.due_at, before.timer_at) if before else (None, None)
        for ids, state in ((change.uses, SignalState.USED), (change.discards, SignalState.DISCARDED)):
            for signal in ids:
                assert self.signals[id][signal].state is SignalState.PENDING, "a signal is used or discarded once"
                self.signals[id][signal] = replace(self.signals[id][signal], state=state)
        row = replace(
            change.row,
            due_at=due_at if change.due is None else self._time(change.due),
            timer_at=timer_at if change.timer is None else self._time(change.timer),
            signals=before.signals if before else 0,
            created_at=before.created_at if before else self.now,
            ended_at=self.now if change.row.status.is_terminal else None,
        )
        entries = tuple(replace(entry, change=change.id) for entry in change.entries)
        self._store(replace(row, revision=change.expects), entries)

    def _store(self, row: Row, entries: tuple[Entry, ...]) -> None:
        written = [replace(entry, seq=seq, at=self.now) for seq, entry in enumerate(entries, row.revision + 1)]
        self.rows[row.id] = replace(row, revision=row.revision + len(written))
        self.journals[row.id] += written
        self.histories[row.id] = self.histories[row.id].after(written)

    def _time(self, moment: Moment) -> int | None:
        return moment.at if moment.after is None else self.now + round(moment.after * _SECOND)

    # -- the worker ----------------------------------------------------------------------------------------------------

    def is_due(self, id: str) -> bool:
        """Tell whether a worker may claim it."""
        due_at = self.rows[id].due_at
        return due_at is not None and due_at <= self.now

    def claim(self, id: str) -> Action:
        """Lease it to a worker, whoever held it before; return what is to be done."""
        assert self.is_due(id), f"{id} is not due"
        before = self.rows[id]
        row = replace(
            before,
            status=Status.RUNNING,
            attempt=before.attempt + (before.status is not Status.SUSPENDED),
            token=before.token + 1,
            worker="worker",
            due_at=self.now + round(LEASE * _SECOND),
        )
        entry = Entry(Kind.CLAIMED, row.step, row.visit, row.attempt, row.worker, row.token, ref=before.status.value)
        self.pairs.add((before.status, row.status))
        self._store(row, (entry,))
        check(self, id)
        self.hands[id] = Hand(self.state(id), self.now)
        return self.plan(id)

    def plan(self, id: str) -> Action:
        """Return what the worker that holds it does next."""
        hand = self.hands[id]
        return plan(self.workflow_of(id), hand.state, hand.now)

    def go(self, id: str) -> Event:
        """Let the worker do what needs no handler: decide, or look at the child. Claims it if nobody holds it."""
        action = self.plan(id) if id in self.hands else self.claim(id)
        match action:
            case Decide(event):
                pass
            case Look(child):
                event = self.look(child)
            case _:
                raise AssertionError(f"a handler is to be called: {action}")
        self.report(id, event)
        return event

    def look(self, child: str) -> Event:
        """Return what a worker finds that looks at a child."""
        row = self.rows[child]
        outcome = f'{{"status":"{row.status}"}}'
        return ChildEnded(row.status, outcome) if row.status.is_terminal else StillSuspended()

    def report(
        self,
        id: str,
        event: Event,
        *riders: Event,
        keep_lease: bool = True,
        max_crashes: int = 3,
        random: float = 0.5,
        ride_along: Callable[[State], Event | None] | None = None,
    ) -> bool:
        """Commit what *event* implies, deciding again where that is refused; return False if the lease is lost.

        The *riders*, or what *ride_along* returns, are the outcomes of steps that may ride along.
        """
        terms = self.terms(keep_lease=keep_lease, max_crashes=max_crashes, random=random)
        hand, workflow, left = self.hands[id], self.workflow_of(id), iter(riders)
        outcome_of: Callable[[State], Event | None] = ride_along or (lambda _: next(left, None))
        events = [event]
        move = decide(workflow, hand.state, events, terms)
        while move.rides and len(events) <= MAX_RIDERS:
            rider = outcome_of(move.ahead(hand.state))
            if rider is None:
                break
            events.append(rider)
            move = decide(workflow, hand.state, events, terms)
        for _ in range(_MAX_DECISIONS):
            if self.commit(move.unit):
                self._go_on(id, hand, move)
                return True
            row = self.rows[id]
            if row.token != hand.state.row.token or row.status is not Status.RUNNING:
                del self.hands[id]
                return False
            hand.state = self.state(id)
            move = decide(workflow, hand.state, events, terms)
        raise AssertionError(f"{event} is refused for ever")

    def _go_on(self, id: str, hand: Hand, move: Move) -> None:
        row = self.rows[id]
        if row.status is not Status.RUNNING:
            del self.hands[id]
            return
        hand.event = None
        hand.state = hand.state.after(move.change)
        told, stored = _untimed(hand.state.history), _untimed(self.histories[id])
        assert told == stored, "what a worker goes on with is what is stored"

    def lose(self, id: str) -> None:
        """Let the worker die, and its lease end."""
        del self.hands[id]
        self.wait_until(self.rows[id].due_at)

    def terms(self, *, keep_lease: bool = True, max_crashes: int = 3, random: float = 0.5) -> Terms:
        """Return terms with a new change id."""
        self.changes += 1
        return Terms(f"c{self.changes}", keep_lease, max_crashes, random)

    # -- the client ----------------------------------------------------------------------------------------------------

    def start(self, workflow: Workflow[Any, Any], id: str = "x", *, due: Moment = NOW) -> str:
        """Create an execution."""
        pending = [workflow]
        while pending:
            one = pending.pop()
            self.workflows[one.name] = one
            pending += one.children
        assert self.commit((begin(workflow, id=id, input="1", change_id=self.terms().change_id, due=due),))
        return id

    def ask(self, id: str, event: Paused | Resumed | Cancelled) -> None:
        """Pause, resume or cancel it; a cancel takes the open children along."""
        unit = list(self.decided(id, event))
        while isinstance(event, Cancelled):
            step = self.state(id).step
            if step is None or step.child is None or not step.is_open or self.rows[step.child].status.is_terminal:
                break
            id = step.child
            unit += self.decided(id, Cancelled(event.reason, by_parent=True))
        assert self.commit(tuple(unit)), "a client decides on fresh state"

    def decided(self, id: str, event: Event) -> Unit:
        """Return what a client commits for *event*, decided on fresh state."""
        return decide(self.workflow_of(id), self.state(id), [event], self.terms(keep_lease=False)).unit

    def signal(self, id: str, step: str, route: str, *, signal_id: str | None = None, payload: str = "1") -> Accepted:
        """Send a signal; where its wait is open it takes *route* at once."""
        workflow, stored, state = self.workflow_of(id), self.load(id), self.state(id)
        signal = Signal(signal_id or f"s{len(stored.signals) + 1}", step, payload)
        taken = accept(workflow, stored, state, signal, max_pending=3)
        if taken is Accepted.DUPLICATE:
            return taken
        unit: Unit = (Deposit(id=id, signal=signal, expects=stored.row.signals),)
        if taken is Accepted.USABLE:
            unit = (*unit, *self.decided(id, Signalled(signal.id, payload, route)))
        assert self.commit(unit), "a client decides on fresh state"
        return taken

    # -- the world -----------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * _SECOND)

    def wait_until(self, moment: int | None) -> None:
        """Let time pass until then."""
        assert moment is not None
        self.now = max(self.now, moment)

    def workflow_of(self, id: str) -> Workflow[Any, Any]:
        """Return the definition that an execution runs."""
        return self.workflows[self.rows[id].workflow]


def _untimed(history: History) -> History:
    """Return the history without times, which only the storage knows."""
    steps = {name: replace(step, started_at=None, ended_at=None) for name, step in history.steps.items()}
    return replace(history, steps=steps)


def decide(workflow: Workflow[Any, Any], state: State, events: list[Event], terms: Terms) -> Move:
    """Decide, twice: the same state and events give the same Move. A rider that can't ride any more is left."""
    first, second = _decide(workflow, state, iter(events), terms), _decide(workflow, state, iter(events), terms)
    assert first == second, "deciding twice gives the same Move"
    return first


def _decide(workflow: Workflow[Any, Any], state: State, events: Iterator[Event], terms: Terms) -> Move:
    move = transition(workflow, state, next(events), terms)
    for rider in events:
        if not move.rides:
            break
        move = ride(workflow, move, move.ahead(state), rider, terms)
    return move


def kinds(driver: Driver, id: str = "x", *, last: int | None = None) -> list[str]:
    """Return the kinds of the journal's entries, or of the *last* so many."""
    found = [entry.kind.value.replace("execution.", "") for entry in driver.journals[id]]
    return found if last is None else found[-last:]
