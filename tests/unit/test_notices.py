"""What the world is told of a Change and of a claim."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from stepwell._model import Change, Entry, Kind, Row, Status
from stepwell._notices import EVENT_KINDS, Event, claim_notices, notices

ROW = Row(
    id="x",
    workflow="w",
    version="1",
    status=Status.RUNNING,
    step="work",
    visit=1,
    attempt=2,
    revision=7,
    token=3,
    worker="me",
    tags=("a",),
    metadata={"k": 1},
    parent="p",
)
FAILURE = '{"type":"OSError","message":"no","code":"error"}'


def told(*entries: Entry) -> list[Event]:
    return notices(Change(id="c", row=ROW, expects=4, entries=entries))


def test_every_entry_is_told_as_events_that_are_known() -> None:
    known = {event.kind for kind in Kind for event in told(Entry(kind))}
    by_claims = {"execution.started", "execution.lease_lost"}
    by_workers = {"step.unstoppable", "worker.blocked", "worker.error"}
    assert known | by_claims | by_workers == set(EVENT_KINDS)


def test_an_event_tells_all_that_its_entry_says() -> None:
    (event,) = told(Entry(Kind.STEP_RESUMED, "gate", 2, 1, None, 0, "on", "s1", '{"ok":true}'))
    assert (event.kind, event.step, event.visit, event.attempt) == ("step.resumed", "gate", 2, 1)
    assert (event.route, event.reference, event.value) == ("on", "s1", {"ok": True})
    assert event.execution is not None
    assert (event.execution.id, event.execution.tags, event.execution.parent) == ("x", ("a",), "p")


def test_events_stand_in_the_order_of_the_entries_with_their_numbers() -> None:
    events = told(Entry(Kind.STEP_SUCCEEDED), Entry(Kind.QUEUED), Entry(Kind.STEP_SUSPENDED))
    assert [(event.kind, event.revision) for event in events] == [
        ("step.succeeded", 5),
        ("step.suspended", 7),
        ("execution.suspended", 7),
    ]


@pytest.mark.parametrize("kind", [Kind.STEP_RETRY, Kind.STEP_FAILED])
def test_a_failed_attempt_tells_its_failure(kind: Kind) -> None:
    (event,) = told(Entry(kind, payload=FAILURE))
    assert event.failure is not None
    assert event.failure.message == "no"


@pytest.mark.parametrize("entry", [Entry(Kind.STEP_FAILED), Entry(Kind.STEP_SUCCEEDED, payload=FAILURE)])
def test_nothing_else_tells_a_failure(entry: Entry) -> None:
    (event,) = told(entry)
    assert event.failure is None


def test_an_event_without_content_has_no_value() -> None:
    (event,) = told(Entry(Kind.CANCELLED))
    assert event.value is None


@pytest.mark.parametrize(
    ("row", "found", "kinds"),
    [
        ({"token": 1}, Status.QUEUED, ["execution.started", "step.started"]),
        ({}, Status.WAITING, ["step.started"]),
        ({}, Status.SUSPENDED, []),
        ({}, Status.RUNNING, ["execution.lease_lost"]),
        ({"pausing": True}, Status.QUEUED, []),
    ],
)
def test_a_claim_tells_what_began_and_what_it_found_lost(
    row: dict[str, object], found: Status, kinds: list[str]
) -> None:
    events = claim_notices(replace(ROW, **row), found)
    assert [event.kind for event in events] == kinds
    assert all((event.worker, event.attempt, event.revision) == ("me", 2, 7) for event in events)
