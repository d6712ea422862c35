"""`stepwell list` and `stepwell show`: they need no workflow definition."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from stepwell import Engine, Execution, ExecutionNotFound, Failure, Query, Status
from stepwell.cli._database import Database, existing
from stepwell.cli._next import next_told
from stepwell.cli._text import escaped, failure_text, json_text, length, moment, say, shortened, table
from stepwell.cli._tree import drawn, signs_for, steps_of

__all__ = ["family", "list_executions", "show_execution"]

_GENERATIONS: Final = 3
_CHILDREN: Final = 20
_ENTRIES: Final = 2_000


async def list_executions(database: Database, *, statuses: Sequence[str] | None, limit: int, as_json: bool) -> int:
    """Print one page of executions, newest first."""
    async with existing(database) as storage, Engine(storage) as engine:
        page = await engine.find(Query(status=statuses, limit=limit))
    if as_json:
        print(json_text(page.executions))
        return 0
    if not page.executions:
        say("no executions" if statuses is None else f"no executions that are {' or '.join(statuses)}")
        return 0
    now = datetime.now(UTC)
    rows = [("ID", "WORKFLOW", "VERSION", "STATUS", "STEP", "AGE")]
    for found in page.executions:
        age = length((now - found.created_at).total_seconds())
        rows.append((found.id, found.workflow, escaped(found.version), found.status, found.current_step or "-", age))
    for line in table(rows):
        say(line)
    if page.next is not None:
        say(f"… and more; this is the newest {limit} (--limit)")
    return 0


async def show_execution(database: Database, id: str, *, as_json: bool) -> int:
    """Print an execution as a tree with its children, and what to type next."""
    async with existing(database) as storage, Engine(storage) as engine:
        execution = await engine.get(id)
        children = {} if as_json else await family(engine, execution)
        reason = await _reason(engine, execution)
    if as_json:
        print(json_text(execution))
        return 0
    now, signs = datetime.now(UTC), signs_for(sys.stdout.encoding)
    for line in table(_header(execution, now)):
        say(line)
    if execution.steps:
        say()
        for line in drawn(list(steps_of(execution, children, now=now, signs=signs, outputs=True))):
            say(line)
    say()
    for line in next_told(execution, database, now=now, reason=reason):
        say(line)
    return 0


async def family(engine: Engine, execution: Execution) -> dict[str, Execution]:
    """Return the children of an execution and theirs, by id: three generations and twenty children at most."""
    found: dict[str, Execution] = {}
    parents = [execution]
    for _ in range(_GENERATIONS):
        ids = [step.child for parent in parents for step in parent.steps.values() if step.child is not None]
        children: list[Execution] = []
        for id in ids[: _CHILDREN - len(found)]:
            with suppress(ExecutionNotFound):  # deleted since
                children.append(await engine.get(id))
        found |= {child.id: child for child in children}
        parents = children
    return found


async def _reason(engine: Engine, execution: Execution) -> str:
    """Return why an execution was cancelled; nothing for one that wasn't."""
    if execution.status is not Status.CANCELLED:
        return ""
    after = max(execution.revision - _ENTRIES, 0)  # signals that were discarded with it come after it
    entries = await engine.journal(execution.id, after=after, limit=_ENTRIES)
    ending = next((entry for entry in reversed(entries) if entry.kind == "execution.cancelled"), None)
    return ending.value if ending is not None and isinstance(ending.value, str) else ""


def _header(execution: Execution, now: datetime) -> list[tuple[str, str]]:
    step = f" at step {execution.current_step}" if execution.current_step else ""
    rows = [
        ("execution", execution.id),
        ("workflow", f"{execution.workflow}, version {execution.version}"),
        ("status", f"{execution.status}{step}{', about to be paused' if execution.pausing else ''}"),
        ("created", f"{moment(execution.created_at)}, {length((now - execution.created_at).total_seconds())} ago"),
    ]
    if execution.ended_at is not None:
        took = length((execution.ended_at - execution.created_at).total_seconds())
        rows.append(("ended", f"{moment(execution.ended_at)}, after {took}"))
    elif execution.due_at is not None:
        rows.append(("due", moment(execution.due_at)))
    if execution.worker is not None:
        rows.append(("worker", execution.worker))
    if execution.parent is not None:
        rows.append(("parent", execution.parent))
    if execution.tags:
        rows.append(("tags", ", ".join(execution.tags)))
    rows.append(("input", shortened(execution.input, 100)))
    if execution.output is not None:
        rows.append(("output", shortened(execution.output, 100)))
    if execution.error is not None:
        rows.append(("error", _error(execution.error, 200)))
    return [(name, escaped(text)) for name, text in rows]


def _error(error: object, width: int) -> str:
    if not isinstance(error, Failure):
        return shortened(error, width)
    return failure_text(error, width)
