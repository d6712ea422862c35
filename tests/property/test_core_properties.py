"""Random workflows under random events: whatever happens, in whatever order, the promises hold after every commit.

`tests.support.driver` checks `tests.support.invariants` at each commit; the machine here only makes things happen:
workers that die, drain, hand back or dawdle between an outcome and its commit, and clients in between.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell._definition import Workflow
from stepwell._errors import ExecutionEnded, SignalError
from stepwell._model import Moment, SignalState, Status
from stepwell._transition import (
    Asked,
    Call,
    Cancelled,
    Chose,
    Decide,
    Drained,
    Ended,
    Event,
    HandedBack,
    Look,
    Paused,
    Raised,
    Resolve,
    Resumed,
    Returned,
    Signalled,
    State,
)
from tests.support.driver import FAILURE, Driver, decide
from tests.support.graphs import Declined, workflows

T = TypeVar("T")
MAX_ROUNDS: Final = 400
"""claims and commits after which a healthy world must have brought everything to an end"""
STARTS: Final = (Moment(after=0.0), Moment(after=20.0))


class World:
    """A driver in which what happens next is drawn."""

    def __init__(self, data: st.DataObject, workflow: Workflow[Any, Any]) -> None:
        self.data = data
        self.driver = Driver()
        self.driver.start(workflow, due=self.pick(STARTS))

    def pick(self, options: Sequence[T]) -> T:
        return self.data.draw(st.sampled_from(options))

    def happen(self) -> None:
        """Let one thing happen to one execution."""
        driver = self.driver
        id = self.pick(list(driver.rows))
        row = driver.rows[id]
        hand = driver.hands.get(id)
        if hand is not None and row.status is Status.RUNNING and self.pick((True, True, False)):
            self._work(id)
        elif driver.is_due(id) and self.pick((True, True, False)):
            self._claim(id)
        else:
            self.pick((self._signal, self._pause, self._resume, self._resume, self._cancel, self._tick))(id)

    def _claim(self, id: str) -> None:
        """Claim it; a worker that held it before commits nothing any more."""
        driver = self.driver
        before = driver.hands.get(id)
        driver.claim(id)
        if before is not None and before.event is not None:
            move = decide(driver.workflow_of(id), before.state, [before.event], driver.terms())
            assert not driver.commit(move.unit), "who lost the lease commits nothing"

    def _work(self, id: str) -> None:
        hand = self.driver.hands[id]
        if hand.event is None:
            hand.event = self._outcome(id)
        elif self.pick((True, True, True, False)):
            keep, crashes = self.pick((True, True, False)), self.pick((0, 1, 3))
            random = self.pick((0.0, 0.5))
            self.driver.report(
                id, hand.event, keep_lease=keep, max_crashes=crashes, random=random, ride_along=self._rider
            )
        else:
            self.driver.lose(id)

    def _outcome(self, id: str) -> Event:
        match self.driver.plan(id):
            case Decide(event):
                return event
            case Look(child):
                return self.driver.look(child)
            case Call(step):
                return self._call(id, step)
            case Resolve(step, signal):
                used = Signalled(signal.id, signal.payload, "on")
                return self.pick((used, used, Raised(FAILURE), *self._given_up()))

    def _call(self, id: str, step: Any) -> Event:
        catches = self.driver.workflow_of(id).catches.get(step.name, ())
        route = next((label for error, label in catches if issubclass(Declined, error)), None)
        raised = (Raised(FAILURE), Raised(FAILURE, route=route), Raised(FAILURE, is_final=True))
        return self.pick((*self._done(id, step), *raised, *self._given_up()))

    def _rider(self, state: State) -> Event | None:
        step = self.driver.workflow_of(state.row.id).steps[state.row.step or ""]
        return self.pick((*self._done(state.row.id, step), Raised(FAILURE), None))

    def _given_up(self) -> tuple[Event, ...]:
        return Drained(), HandedBack("drain"), HandedBack("suspect", 1.0)

    def _done(self, id: str, step: Any) -> list[Event]:
        """Return all ways in which a step can succeed, the one that leads on last."""
        match str(step.kind):
            case "activity":
                return [Returned('{"a":1}')]
            case "decision":
                return [Chose(route) for route in sorted(self.driver.workflow_of(id).routes[step.name])]
            case "subworkflow":
                return [Asked("1")]
            case _:
                return [Ended("1")]

    def _signal(self, id: str) -> None:
        waits = [step.name for step in self.driver.workflow_of(id).steps.values() if str(step.kind) == "wait"]
        if not waits:
            return
        number = len(self.driver.signals[id])
        try:
            self.driver.signal(id, self.pick(waits), "on", signal_id=f"s{self.pick((number, number, 0))}")
        except (SignalError, ExecutionEnded):
            assert True, "the sender learns why"

    def _pause(self, id: str) -> None:
        row = self.driver.rows[id]
        if not row.status.is_terminal and row.status is not Status.PAUSED and not row.pausing:
            self.driver.ask(id, Paused())

    def _resume(self, id: str) -> None:
        row = self.driver.rows[id]
        is_failed = row.status is Status.FAILED and self.driver.histories[id].failed_step is not None
        if row.status is Status.PAUSED or row.pausing or is_failed:
            self.driver.ask(id, Resumed(self.pick((1, 2))))

    def _cancel(self, id: str) -> None:
        if not self.driver.rows[id].status.is_terminal and self.pick((False, False, False, True)):
            self.driver.ask(id, Cancelled("enough"))

    def _tick(self, _id: str) -> None:
        due = [row.due_at for row in self.driver.rows.values() if row.due_at is not None]
        self.driver.wait_until(min(due, default=self.driver.now))

    def recover(self) -> None:
        """Let everything go well from now on, and everything paused go on: it comes to an end."""
        driver = self.driver
        for _ in range(MAX_ROUNDS):
            live = [id for id, row in driver.rows.items() if not row.status.is_terminal]
            if not live:
                return
            moved = [self._go_well(id) for id in live]
            if not any(moved):
                due = [driver.rows[id].due_at for id in live]
                driver.wait_until(min(at for at in due if at is not None))
        raise AssertionError(f"never ends: {driver.rows}")

    def _go_well(self, id: str) -> bool:
        driver = self.driver
        row = driver.rows[id]
        if row.status is Status.PAUSED or row.pausing:
            driver.ask(id, Resumed())
        elif row.status is Status.RUNNING and id in driver.hands:
            driver.report(id, driver.hands[id].event or self._well(id), ride_along=lambda s: self._best(s.row))
        elif not row.status.is_terminal and driver.is_due(id):
            driver.claim(id)
        elif row.status is Status.SUSPENDED and str(driver.workflow_of(id).steps[row.step or ""].kind) == "wait":
            driver.signal(id, row.step or "", "on")
        else:
            return False
        return True

    def _well(self, id: str) -> Event:
        match self.driver.plan(id):
            case Decide(event):
                return event
            case Look(child):
                return self.driver.look(child)
            case Call():
                return self._best(self.driver.rows[id])
            case Resolve(_, signal):
                return Signalled(signal.id, signal.payload, "on")

    def _best(self, row: Any) -> Event:
        return self._done(row.id, self.driver.workflow_of(row.id).steps[row.step])[-1]


@pytest.mark.promise(
    "P1", "P2", "P4", "P5", "P6", "P7", "P8", "P9", "I1", "I3", "I5", "I6", "I8", "I9", "I12", "I13", "I21"
)
@settings(max_examples=300, deadline=None, derandomize="CI" in os.environ)
@given(workflow=workflows(), data=st.data())
def test_every_promise_holds_after_every_commit(workflow: Workflow[Any, Any], data: st.DataObject) -> None:
    world = World(data, workflow)
    for _ in range(data.draw(st.integers(0, 40))):
        world.happen()
    world.recover()
    for id, row in world.driver.rows.items():
        assert row.ended_at is not None
        assert all(s.state is not SignalState.PENDING for s in world.driver.signals[id].values())
