"""`stepwell list` and `stepwell show`: they need no workflow definition."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stepwell import Engine, Execution, Failure, Query, Status, StepState
from stepwell.cli._database import existing, options_of
from stepwell.cli._text import command, escaped, failure_text, json_text, length, moment, say, shortened, table

__all__ = ["list_executions", "show_execution"]


async def list_executions(database: Path, *, statuses: Sequence[str] | None, limit: int, as_json: bool) -> int:
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


async def show_execution(database: Path, id: str, *, as_json: bool) -> int:
    """Print an execution, its steps, and the command to type next where it waits for a signal."""
    async with existing(database) as storage, Engine(storage) as engine:
        execution = await engine.get(id)
    if as_json:
        print(json_text(execution))
        return 0
    for line in table(_header(execution)):
        say(line)
    if execution.steps:
        say()
        rows = [("STEP", "STATUS", "ATTEMPTS", "TOOK", "OUTPUT OR ERROR"), *map(_step, execution.steps.values())]
        for line in table(rows):
            say(line)
    if (waiting := awaited_step(execution)) is not None:
        payload = '{"approved": true}' if execution.workflow == "import_airports" else "JSON"
        say()
        say(f"It waits for a signal: {command('stepwell', 'signal', *options_of(database), id, waiting, payload)}")
    return 0


def awaited_step(execution: Execution) -> str | None:
    """Return the wait at which an execution stands; None if it stands elsewhere."""
    step = execution.steps.get(execution.current_step or "")
    if execution.status is not Status.SUSPENDED or step is None or step.child is not None:
        return None
    return step.name


def _header(execution: Execution) -> list[tuple[str, str]]:
    now = datetime.now(UTC)
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
    if execution.tags:
        rows.append(("tags", ", ".join(execution.tags)))
    rows.append(("input", shortened(execution.input, 100)))
    if execution.output is not None:
        rows.append(("output", shortened(execution.output, 100)))
    if execution.error is not None:
        rows.append(("error", _error(execution.error, 200)))
    return [(name, escaped(text)) for name, text in rows]


def _step(step: StepState) -> tuple[str, ...]:
    took = "-"
    if step.started_at is not None and step.ended_at is not None:
        took = length((step.ended_at - step.started_at).total_seconds())
    about = ""
    if step.error is not None:
        about = _error(step.error, 60)
    elif step.output is not None:
        about = shortened(step.output)
    route = "" if step.route is None or step.route == "next" else f"{escaped(step.route)}: "
    return (step.name, step.status, str(step.attempts), took, f"{route}{about}" or "-")


def _error(error: object, width: int) -> str:
    if not isinstance(error, Failure):
        return shortened(error, width)
    return failure_text(error, width)
