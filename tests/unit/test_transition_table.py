"""The table of statuses against what really happens: a walk through every event in every state that can be reached."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from stepwell._definition import Workflow
from stepwell._errors import ExecutionEnded, IllegalTransition, SignalError
from stepwell._model import LEGAL, LIVE, TERMINAL, Status
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
)
from tests.support.driver import FAILURE, Driver
from tests.support.flows import chain, choice, gates, loop, parent, patient

DOCS: Final = Path(__file__).parents[2] / "docs"
FLOWS: Final = (chain(retry=2, catch=True), choice(), gates(timeout=30.0), loop(), parent(), patient())
MAX_STATES: Final = 600
Step = Callable[[Driver], None]


def copied(driver: Driver) -> Driver:
    return replace(
        driver,
        rows=dict(driver.rows),
        journals={id: list(journal) for id, journal in driver.journals.items()},
        histories=dict(driver.histories),
        signals={id: dict(signals) for id, signals in driver.signals.items()},
        hands={id: replace(hand) for id, hand in driver.hands.items()},
    )


def place(driver: Driver) -> object:
    """Return what tells one state of the walk from another: numbers that only grow are capped."""
    return tuple(
        (id, row.status, row.step, row.visit, min(row.attempt, 2), row.pausing, driver.is_due(id), min(row.signals, 2))
        + ((driver.histories[id].found, driver.histories[id].has_lost) if row.status is Status.RUNNING else ())
        for id, row in driver.rows.items()
    )


def outcomes(driver: Driver, id: str) -> Iterator[Event]:
    """Yield all that can become of what the worker does next."""
    match driver.plan(id):
        case Decide(event):
            yield event
            return
        case Look(child):
            yield driver.look(child)
        case Resolve(_, signal):
            yield from (Signalled(signal.id, "1", route) for route in driver_routes(driver, id) if route != "timeout")
        case Call(step):
            kind = str(step.kind)
            if kind == "decision":
                yield from map(Chose, driver_routes(driver, id))
            else:
                ends: dict[str, Event] = {"activity": Returned("1"), "subworkflow": Asked("1")}
                yield ends.get(kind, Ended("1"))
            yield from (Raised(FAILURE), Raised(FAILURE, is_final=True), Drained())
    yield from (HandedBack("drain"), HandedBack("suspect", 1.0))


def driver_routes(driver: Driver, id: str) -> list[str]:
    return list(driver.workflow_of(id).routes[driver.rows[id].step or ""])


def steps(driver: Driver) -> Iterator[Step]:
    """Yield everything that can happen next: to a worker's execution, by a client, or by time passing."""
    for id, row in driver.rows.items():
        if driver.is_due(id):
            yield lambda d, id=id: d.claim(id)  # type: ignore[misc]
        if id in driver.hands:
            for event in outcomes(driver, id):
                yield lambda d, id=id, event=event: d.report(id, event)  # type: ignore[misc]
                yield lambda d, id=id, event=event: d.report(id, event, keep_lease=False, max_crashes=0)  # type: ignore[misc]
            yield lambda d, id=id: d.lose(id)  # type: ignore[misc]
        elif row.due_at is not None:
            yield lambda d, at=row.due_at: d.wait_until(at)  # type: ignore[misc]
        for asked in (Paused(), Resumed(), Cancelled()):
            yield lambda d, id=id, asked=asked: d.ask(id, asked)  # type: ignore[misc]
        for name, step in driver.workflow_of(id).steps.items():
            if str(step.kind) == "wait":
                for route in sorted(set(driver.workflow_of(id).routes[name]) - {"timeout"}):
                    yield lambda d, id=id, name=name, route=route: d.signal(id, name, route)  # type: ignore[misc]


def walk(workflow: Workflow[Any, Any]) -> set[tuple[Status, Status]]:
    first = Driver()
    first.start(workflow)
    seen, pending = {place(first)}, [first]
    while pending and len(seen) < MAX_STATES:
        driver = pending.pop(0)
        for happens in steps(driver):
            after = copied(driver)
            try:
                happens(after)
            except (IllegalTransition, SignalError, ExecutionEnded):
                continue
            if place(after) not in seen:
                seen.add(place(after))
                pending.append(after)
    return first.pairs


@pytest.mark.promise("P7")
def test_every_pair_of_statuses_that_happens_is_legal_and_every_legal_one_happens() -> None:
    observed = set[tuple[Status, Status]]().union(*map(walk, FLOWS))
    assert observed == {(before, after) for before, followers in LEGAL.items() for after in followers}


def test_what_is_terminal_is_not_live() -> None:
    assert {status for status in Status if status.is_terminal} == TERMINAL
    assert set(Status) == LIVE | TERMINAL
    assert not LEGAL[Status.SUCCEEDED] | LEGAL[Status.CANCELLED]


def test_the_diagram_in_the_documentation_is_current() -> None:
    generated: str = runpy.run_path(str(DOCS / "generate_states.py"))["page"]()
    if (DOCS / "states.md").read_text(encoding="utf-8") != generated:
        pytest.fail("docs/states.md is stale: run `python docs/generate_states.py`")
