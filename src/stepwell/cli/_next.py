"""What to do next with an execution: in a sentence, and as commands that can be pasted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, cast, get_type_hints

import msgspec

from stepwell import Execution, Failure, Status, Wait
from stepwell.cli._database import Database, options_of
from stepwell.cli._demo_workflow import demo_workflow_of
from stepwell.cli._text import command, escaped, length, moment

__all__ = ["awaited_step", "next_told", "payload_for", "signal_words"]

_UNKNOWN: Final = "JSON"
_APP: Final = "MODULE:NAME"


def awaited_step(execution: Execution) -> str | None:
    """Return the wait at which an execution stands; None if it stands elsewhere."""
    step = execution.steps.get(execution.current_step or "")
    if execution.status is not Status.SUSPENDED or step is None or step.child is not None:
        return None
    return step.name


def next_told(execution: Execution, database: Database, *, now: datetime, reason: str = "") -> Iterator[str]:
    """Tell what an execution waits for and what may be done; *reason* is why it was cancelled, if it was."""
    commands = _Commands(execution, database)
    match execution.status:
        case Status.QUEUED:
            yield from _queued(execution, commands, now)
        case Status.RUNNING:
            yield from _running(execution, commands, now)
        case Status.WAITING:
            yield f"It waits for its next attempt, which {_due(execution, now)}. To stop it:"
            yield commands.of("cancel")
        case Status.SUSPENDED:
            yield from _suspended(execution, commands, database)
        case Status.PAUSED:
            yield "It is paused: nothing starts until it is resumed. What was sent to it meanwhile is kept."
            yield commands.of("resume", *commands.app)
            yield from commands.app_told
        case Status.FAILED:
            yield from _failed(execution, commands)
        case Status.CANCELLED:
            because = f", because: {escaped(reason)}" if reason else ""
            yield f"It was cancelled{because}. That is final; what its steps did stays done."
        case Status.SUCCEEDED:
            yield "It has succeeded; there is nothing left to do."
    if execution.parent is not None:
        yield "It is a child; its parent:"
        yield commands.show(execution.parent)


def payload_for(execution: Execution, step: str) -> str:
    """Return what may be sent to a wait, as JSON; `JSON` itself where the workflow isn't known here."""
    workflow = demo_workflow_of(execution)
    wait = None if workflow is None else workflow.steps.get(step)
    if not isinstance(wait, Wait):
        return _UNKNOWN
    *_, signal = [type_ for name, type_ in get_type_hints(wait.function).items() if name != "return"]
    schema = msgspec.json.schema(signal)
    return json.dumps(_example(schema, schema.get("$defs", {})))


def signal_words(execution: Execution, database: Database, step: str) -> list[str]:
    """Return the command that signals a wait, as words."""
    app = _Commands(execution, database).app
    return ["stepwell", "signal", *options_of(database), *app, execution.id, step, payload_for(execution, step)]


class _Commands:
    """The commands about one execution of one database."""

    def __init__(self, execution: Execution, database: Database) -> None:
        self._id = execution.id
        self._options = options_of(database)
        is_known = demo_workflow_of(execution) is not None
        self.app = [] if is_known else ["--app", _APP]
        self.app_told = [] if is_known else [f"({_APP} is where Python finds your workflow, such as shop.flows:refund)"]

    def of(self, verb: str, *words: str) -> str:
        """Return an indented command about this execution; *words* are its options."""
        return f"  {command('stepwell', verb, *self._options, *words, self._id)}"

    def show(self, id: str) -> str:
        """Return the command that shows another execution."""
        return f"  {command('stepwell', 'show', *self._options, id)}"


def _queued(execution: Execution, commands: _Commands, now: datetime) -> Iterator[str]:
    if execution.due_at is not None and execution.due_at > now:
        yield f"It {_due(execution, now)}. To stop it:"
    else:
        name = f"{execution.workflow}, version {escaped(execution.version)}"
        yield f"It is due, and waits for a worker that has workflow {name}. To stop it:"
    yield commands.of("cancel")


def _running(execution: Execution, commands: _Commands, now: datetime) -> Iterator[str]:
    worker = escaped(execution.worker or "?")
    if execution.due_at is not None and execution.due_at <= now:
        yield f"Worker {worker} has not renewed its lease in time; another one takes over as soon as it looks."
    else:
        left = "soon" if execution.due_at is None else f"in {length((execution.due_at - now).total_seconds())}"
        yield f"It runs in worker {worker}; its lease ends {left} unless that renews it, and then another takes over."
    yield "To look again, to let the running step be the last one for now, or to stop it:"
    yield commands.of("show")
    if not execution.pausing:
        yield commands.of("pause")
    yield commands.of("cancel")


def _suspended(execution: Execution, commands: _Commands, database: Database) -> Iterator[str]:
    waiting = awaited_step(execution)
    if waiting is not None:
        ends = execution.due_at
        timeout = "" if ends is None else f" until {moment(ends)}; then it takes its timeout route"
        yield f"It waits for a signal{timeout}:"
        words = signal_words(execution, database, waiting)
        yield f"  {command(*words)}"
        if words[-1] == _UNKNOWN:
            yield f"({_UNKNOWN} is what you send, such as '{{\"approved\": true}}')"
        yield from commands.app_told
    elif (step := execution.steps.get(execution.current_step or "")) is not None and step.child is not None:
        yield "It waits for its child to end:"
        yield commands.show(step.child)


def _failed(execution: Execution, commands: _Commands) -> Iterator[str]:
    if not isinstance(execution.error, Failure):
        yield f"It ended at step {execution.failed_step}, as the workflow provides for; there is nothing to resume."
        return
    yield f"Step {execution.failed_step} failed. Once the cause is mended, give it one more attempt:"
    yield commands.of("resume", *commands.app)
    yield from commands.app_told


def _due(execution: Execution, now: datetime) -> str:
    if execution.due_at is None or execution.due_at <= now:
        return "is due now"
    return f"is due in {length((execution.due_at - now).total_seconds())}"


def _example(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """Return a value that a JSON schema allows."""
    if "$ref" in schema:
        return _example(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    match schema.get("type"):
        case "boolean":
            return True
        case "integer" | "number":
            return 0
        case "string":
            return "text"
        case "array":
            return cast("list[object]", [])
        case "object":
            properties: Mapping[str, Any] = schema.get("properties", {})
            return {name: _example(properties[name], definitions) for name in schema.get("required", ())}
        case _:
            return None
