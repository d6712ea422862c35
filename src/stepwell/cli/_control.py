"""`stepwell cancel`, `stepwell pause` and `stepwell resume`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from stepwell import Engine
from stepwell.cli._database import Database, existing, options_of
from stepwell.cli._known import known_workflows, register_for
from stepwell.cli._text import command, say

__all__ = ["add_controls", "cancel_execution", "pause_execution", "resume_execution"]

Added: TypeAlias = Callable[[Any, str, str, Callable[[Namespace], int]], ArgumentParser]
Ran: TypeAlias = Callable[[Callable[[], Awaitable[int]]], int]


def add_controls(commands: Any, added: Added, ran: Ran) -> None:
    """Add the three commands: *added* makes a parser with what all commands have, *ran* runs what is asynchronous."""
    parser = added(
        commands,
        "cancel",
        "cancel an execution and its open children",
        lambda given: ran(lambda: cancel_execution(given.db, given.execution, reason=given.reason)),
    )
    _add_execution(parser)
    _add_reason(parser)
    parser = added(
        commands,
        "pause",
        "let a running step finish, and start nothing further",
        lambda given: ran(lambda: pause_execution(given.db, given.execution, reason=given.reason)),
    )
    _add_execution(parser)
    _add_reason(parser)
    parser = added(
        commands,
        "resume",
        "go on after a pause, or give a step that failed one more attempt",
        lambda given: ran(lambda: resume_execution(given.db, given.execution, app=given.app)),
    )
    _add_execution(parser)
    parser.add_argument(
        "--app", metavar="MODULE:NAME", help="your workflow, or a list of them; not needed for the demo's workflows"
    )


def _add_execution(parser: ArgumentParser) -> None:
    parser.add_argument("execution", metavar="EXECUTION", help="the execution's id")


def _add_reason(parser: ArgumentParser) -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; the journal keeps it")


async def cancel_execution(database: Database, id: str, *, reason: str) -> int:
    """Cancel an execution; return 0 if it is cancelled then, 1 if it had ended in another way."""
    async with existing(database) as storage, Engine(storage) as engine:
        status = await engine.cancel(id, reason)
    if status != "cancelled":
        say(f"execution {id}: it has already {status}; nothing was done")
        return 1
    say(f"execution {id}: cancelled; a step that runs in another process ends as soon as that looks")
    return 0


async def pause_execution(database: Database, id: str, *, reason: str) -> int:
    """Pause an execution. Raises ExecutionEnded."""
    async with existing(database) as storage, Engine(storage) as engine:
        await engine.pause(id, reason)
        is_running = (await engine.get(id)).pausing
    say(f"execution {id}: {'paused as soon as its running step ends' if is_running else 'paused'}")
    _say_what_next("to go on", "resume", database, id)
    return 0


async def resume_execution(database: Database, id: str, *, app: str | None) -> int:
    """Let an execution go on. Raises NotResumable, and CommandError where its workflow isn't known."""
    workflows = known_workflows(app)
    async with existing(database) as storage, Engine(storage) as engine:
        register_for(await engine.get(id), engine, workflows)
        await engine.resume(id)
    say(f"execution {id}: resumed; it goes on where a worker has its workflow")
    _say_what_next("see what becomes of it", "show", database, id)
    return 0


def _say_what_next(why: str, verb: str, database: Database, id: str) -> None:
    say(f"{why}: {command('stepwell', verb, *options_of(database), id)}")
