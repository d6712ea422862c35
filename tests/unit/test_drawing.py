"""How an execution is drawn on its workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal
from xml.etree.ElementTree import Element

import pytest

from stepwell import (
    Context,
    Engine,
    Execution,
    ExecutionFailed,
    Failure,
    Graph,
    GraphEdge,
    GraphNode,
    InvalidArgument,
    JournalEntry,
    MemoryStorage,
    Retry,
    Status,
    StepState,
    Workflow,
    activity,
    decision,
    draw,
    fail,
    succeed,
    wait,
)
from stepwell._graph import StepKind
from tests.support.pictures import SVG, edges_of, graph_of, nodes_of, parsed
from tests.support.storages import Clock

Ctx = Context[int]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@activity(retry=Retry(max_attempts=3, backoff=1.0), max_visits=3)
async def poll(ctx: Ctx) -> int:
    if ctx.visit == 2 and ctx.attempt == 1:
        raise TimeoutError("the server <b>did not</b> answer")
    return ctx.visit


@decision(max_visits=3)
def ready(ctx: Ctx) -> Literal["not yet", "ready"]:
    return "ready" if ctx.output(poll) == 3 else "not yet"


@wait(timeout=60)
def approval(ctx: Ctx, signal: str) -> Literal["yes"]:
    return "yes"


@activity
async def pay(ctx: Ctx) -> int:
    raise ValueError("declined]]>")


@succeed
def done(ctx: Ctx) -> None: ...


@fail
def denied(ctx: Ctx) -> str:
    return "denied"


buying = Workflow[int, None](
    "buying",
    version="1",
    start=poll,
    edges=[
        poll.then(ready),
        ready.to({"not yet": poll, "ready": approval}),
        approval.to({"yes": pay}, timeout=denied),
        pay.then(done, catch={KeyError: denied}),
    ],
)


def step(name: str, status: Status, **more: Any) -> StepState:
    given: dict[str, Any] = {"attempts": 1, "visits": 1, "output": None, "error": None, "route": None, **more}
    return StepState(name, status, started_at=NOW, ended_at=NOW, idempotency_key="k", child=None, **given)


def execution(status: Status, current: str | None, *steps: StepState, **more: Any) -> Execution:
    given: dict[str, Any] = {"workflow": "buying", "version": "1", "output": None, "error": None, **more}
    return Execution(
        id="e1",
        status=status,
        current_step=current,
        input=1,
        data={},
        failed_step=None,
        tags=(),
        metadata={},
        parent=None,
        created_at=NOW,
        updated_at=NOW,
        due_at=None,
        ended_at=None,
        steps={one.name: one for one in steps},
        **given,
    )


def classes(root: Element) -> dict[str, str]:
    """Return how each step is marked."""
    return {_title(group).split(" ")[0]: group.get("class", "").removeprefix("n ") for group in nodes_of(root)}


def notes(root: Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in nodes_of(root):
        for text in group.iter(f"{SVG}text"):
            if text.get("class") == "m":
                found[_title(group).split(" ")[0]] = text.text or ""
    return found


def titles(root: Element) -> Mapping[str, str]:
    return {_title(group).split(" ")[0]: _title(group) for group in nodes_of(root)}


def taken(root: Element) -> set[str]:
    return {_title(group) for group in edges_of(root) if "t" in group.get("class", "").split()}


def _title(group: Element) -> str:
    return group.findtext(f"{SVG}title", "")


def test_without_an_execution_it_is_the_picture_of_the_workflow() -> None:
    assert draw(buying) == draw(buying.graph) == format(buying, "svg")


def test_steps_tell_their_last_visit() -> None:
    found = execution(
        Status.SUSPENDED,
        "approval",
        step("poll", Status.SUCCEEDED, visits=3, attempts=2),
        step("ready", Status.SUCCEEDED, visits=3, route="ready"),
        step("approval", Status.SUSPENDED, attempts=0),
    )
    root = parsed(draw(buying, found))
    assert classes(root) == {
        "poll": "done",
        "ready": "done",
        "approval": "held",
        "denied": "u",
        "pay": "u",
        "done": "u",
    }
    assert notes(root) == {"poll": "3 visits · 2 attempts", "ready": "3 visits", "approval": "suspended"}
    assert taken(root) == {"poll → ready: next, taken once", "ready → approval: ready, taken once"}
    assert "succeeded, visit 3, attempt 2" in titles(root)["poll"]
    assert "route ready" in titles(root)["ready"]
    assert "Execution e1 is suspended at approval. Visited: poll, ready, approval." in root.findtext(f"{SVG}desc", "")


def test_a_failure_is_told_in_the_title_and_has_a_mark() -> None:
    failure = Failure(type="ValueError", message="a <b> ]]> \x1b[31m")
    root = parsed(draw(buying, execution(Status.FAILED, None, step("pay", Status.FAILED, error=failure, attempts=3))))
    assert classes(root)["pay"] == "failed"
    assert notes(root) == {"pay": "failed · 3 attempts"}
    assert "ValueError: a <b> ]]> \ufffd[31m" in titles(root)["pay"]


def test_a_failure_that_was_caught_shows_where_it_went() -> None:
    caught = step("pay", Status.FAILED, route="catch:KeyError", error=Failure(type="KeyError", message="x"))
    root = parsed(draw(buying, execution(Status.FAILED, None, caught, step("denied", Status.SUCCEEDED))))
    assert taken(root) == {"pay → denied: catch:KeyError, taken once"}
    assert classes(root)["denied"] == "failed"


@pytest.mark.parametrize(
    ("status", "mark"),
    [
        (Status.QUEUED, "held"),
        (Status.RUNNING, "active"),
        (Status.WAITING, "held"),
        (Status.SUSPENDED, "held"),
        (Status.PAUSED, "held"),
    ],
)
def test_where_it_stands_shows_how_it_stands(status: Status, mark: str) -> None:
    shown = step("poll", Status.RUNNING, attempts=2, visits=2)
    root = parsed(draw(buying, execution(status, "poll", shown)))
    assert classes(root)["poll"] == mark
    assert notes(root) == {"poll": f"{status} · visit 2 · attempt 2"}


def test_a_step_that_was_cancelled_says_so() -> None:
    root = parsed(draw(buying, execution(Status.CANCELLED, None, step("approval", Status.CANCELLED))))
    assert (classes(root)["approval"], notes(root)["approval"]) == ("cancelled", "cancelled")


def test_an_execution_without_steps_shows_where_it_stands() -> None:
    root = parsed(draw(buying, execution(Status.QUEUED, "poll")))
    assert classes(root)["poll"] == "held"
    assert notes(root) == {"poll": "queued"}
    assert "Execution e1 is queued at poll." in root.findtext(f"{SVG}desc", "")


def test_a_long_path_is_told_in_part() -> None:
    names = [f"s{number}" for number in range(40)]
    graph = graph_of(" ".join(f"{name}:a" for name in names), [])
    found = execution(
        Status.RUNNING, None, *(step(name, Status.SUCCEEDED) for name in names), workflow="drawn", version="1"
    )
    assert "s29 and 10 more." in parsed(draw(graph, found)).findtext(f"{SVG}desc", "")


def node(name: str) -> GraphNode:
    return GraphNode(name, StepKind.ACTIVITY, name, "", None, None, 1)


def test_what_can_not_be_drawn_is_an_error_that_tells_why() -> None:
    found = execution(Status.QUEUED, "poll")
    entry = JournalEntry(
        seq=1, at=NOW, kind="x", step=None, visit=0, attempt=0, worker=None, route=None, reference=None, value=None
    )
    wrong: Any = "poll"
    with pytest.raises(InvalidArgument, match="takes a Workflow or a Graph, not 'poll'"):
        draw(wrong)
    with pytest.raises(InvalidArgument, match="is of version '2' of 'buying' and can't be drawn on version '1'"):
        draw(buying, replace(found, version="2"))
    with pytest.raises(InvalidArgument, match="of 'selling' and"):
        draw(buying, replace(found, workflow="selling"))
    with pytest.raises(InvalidArgument, match="journal can only be drawn together"):
        draw(buying, journal=[entry])
    with pytest.raises(InvalidArgument, match="without the node 'b'"):
        draw(Graph("w", "1", "w", "", "a", (node("a"),), (GraphEdge("a", "b", "next"),)))
    with pytest.raises(InvalidArgument, match="two nodes of one name"):
        draw(Graph("w", "1", "w", "", "a", (node("a"), node("a")), ()))


@pytest.mark.anyio
async def test_the_journal_tells_every_edge_of_every_visit(clock: Clock) -> None:
    async with MemoryStorage(clock=clock) as storage, Engine(storage, workflows=[buying]) as engine, engine.worker():
        handle = await engine.start(buying, 1, id="e1")
        await handle.signal("approval", "yes")
        with pytest.raises(ExecutionFailed):
            await handle.result(timeout=300)
        found, journal = await handle.get(), await handle.journal()
    assert taken(parsed(draw(buying, found, journal=journal))) == {
        "poll → ready: next, taken 3 times",
        "ready → poll: not yet, taken 2 times",
        "ready → approval: ready, taken once",
        "approval → pay: yes, taken once",
    }
    without = taken(parsed(draw(buying, found)))
    assert without == {
        "poll → ready: next, taken once",
        "ready → approval: ready, taken once",
        "approval → pay: yes, taken once",
    }
    # A part of the journal is read as far as it goes; an execution from a page of `find` has the path all the same.
    bare = replace(found, steps={})
    assert taken(parsed(draw(buying, bare, journal=journal))) > without - {"poll → ready: next, taken once"}
