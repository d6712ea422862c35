"""The commands and their options."""

from __future__ import annotations

import importlib.util
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio

from stepwell import Status
from stepwell.cli._control import add_controls
from stepwell.cli._database import SCHEMA, VARIABLE, default_path, named
from stepwell.cli._demo import demo
from stepwell.cli._errors import USAGE, CommandError
from stepwell.cli._graph import FORMATS, draw_graph
from stepwell.cli._inspect import list_executions, show_execution
from stepwell.cli._migrate import DIALECTS, migrate_database, print_script
from stepwell.cli._purge import add_purge
from stepwell.cli._signal import send_signal
from stepwell.cli._verify import add_verify

__all__ = ["parsed"]

Number = TypeVar("Number", int, float)


def parsed(argv: Sequence[str] | None) -> Namespace:
    """Return the arguments, with what does the work as `run`. Raises SystemExit, as argparse does."""
    parser = ArgumentParser(prog="stepwell", description="Durable workflows: try them, look at them, signal them.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_signal(commands)
    _add_list(commands)
    _add_show(commands)
    _add_graph(commands)
    _add_migrate(commands)
    add_controls(commands, _added, _ran)
    add_purge(commands, _added, _ran)
    add_verify(commands, _added, _ran, _amount)
    arguments = parser.parse_args(argv)
    if not getattr(arguments, "dialect", None):  # which stands for a database
        arguments.db = named(arguments.db, arguments.schema)
    return arguments


def _add_demo(commands: Any) -> None:
    parser = _added(commands, "demo", "run three workflows at once; kill it, start it again, and it goes on", _demo)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio", help="what it runs on (asyncio)")
    parser.add_argument("--yes", action="store_true", help="approve whatever is asked")
    parser.add_argument(
        "--pace", type=_pace, default=1.0, metavar="FACTOR", help="how slow the slow steps are, 0 to 10 (1)"
    )


def _add_signal(commands: Any) -> None:
    parser = _added(commands, "signal", "send a signal to a step that waits for one", _signal)
    parser.add_argument(
        "--app", metavar="MODULE:NAME", help="your workflow, or a list of them; not needed for the demo's workflows"
    )
    parser.add_argument("execution", metavar="EXECUTION", help="the execution's id")
    parser.add_argument("step", metavar="STEP", help="the name of the step that waits")
    parser.add_argument("payload", metavar="JSON", nargs="?", default="null", help="what to send (null)")


def _add_list(commands: Any) -> None:
    parser = _added(commands, "list", "list executions, newest first", _list)
    parser.add_argument(
        "--status", action="append", choices=[str(status) for status in Status], help="only these; may be repeated"
    )
    parser.add_argument("--limit", type=_limit, default=20, metavar="N", help="at most so many, 1 to 1000 (20)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _add_show(commands: Any) -> None:
    parser = _added(commands, "show", "show one execution and its steps", _show)
    parser.add_argument("execution", metavar="EXECUTION", help="the execution's id")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _add_graph(commands: Any) -> None:
    parser = _added(commands, "graph", "draw a workflow, and how an execution of it stands", _graph)
    parser.add_argument("app", metavar="MODULE:NAME", help="your workflow; with --execution, or a list of them")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to: FILE.svg, .mmd or .dot (the standard output)"
    )
    parser.add_argument("--format", choices=FORMATS, help="what to draw it as (what the suffix of FILE says, or svg)")
    parser.add_argument("--execution", metavar="EXECUTION", help="draw how this execution of the database stands")


def _add_migrate(commands: Any) -> None:
    parser = _added(commands, "migrate", "make the tables, or bring them up to date", _migrate)
    parser.add_argument("--sql", action="store_true", help="only print the SQL that makes them from nothing")
    parser.add_argument("--dialect", choices=DIALECTS, help="with --sql: for which database (the one that --db names)")


def _added(commands: Any, name: str, purpose: str, run: Callable[[Namespace], int]) -> ArgumentParser:
    parser: ArgumentParser = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    shown = str(default_path()).replace("%", "%%")
    parser.add_argument(
        "--db", metavar="PATH|DSN", help=f"an SQLite file, or postgresql://user@host/database (${VARIABLE}, or {shown})"
    )
    parser.add_argument("--schema", metavar="NAME", help=f"the schema of Stepwell's tables in Postgres ({SCHEMA})")
    parser.set_defaults(run=run)
    return parser


def _pace(text: str) -> float:
    return _within(text, float, 0.0, 10.0)


def _limit(text: str) -> int:
    return _within(text, int, 1, 1000)


def _amount(text: str) -> int:
    return _within(text, int, 1, 2**53)


def _within(text: str, kind: Callable[[str], Number], low: Number, high: Number) -> Number:
    try:
        number = kind(text)
    except ValueError:
        pass
    else:
        if low <= number <= high:
            return number
    raise ArgumentTypeError(f"must be a number from {low:g} to {high:g}, not {text!r}")


def _demo(arguments: Namespace) -> int:
    if arguments.backend == "trio" and importlib.util.find_spec("trio") is None:
        raise CommandError("Trio is not installed; install it with: pip install 'stepwell[trio]'")
    return _ran(lambda: demo(arguments.db, approve=arguments.yes, pace=arguments.pace), arguments.backend)


def _signal(arguments: Namespace) -> int:
    return _ran(
        lambda: send_signal(arguments.db, arguments.execution, arguments.step, arguments.payload, app=arguments.app)
    )


def _list(arguments: Namespace) -> int:
    return _ran(
        lambda: list_executions(arguments.db, statuses=arguments.status, limit=arguments.limit, as_json=arguments.json)
    )


def _show(arguments: Namespace) -> int:
    return _ran(lambda: show_execution(arguments.db, arguments.execution, as_json=arguments.json))


def _graph(arguments: Namespace) -> int:
    return _ran(
        lambda: draw_graph(
            arguments.app,
            output=arguments.output,
            format_name=arguments.format,
            database=arguments.db,
            execution=arguments.execution,
        )
    )


def _migrate(arguments: Namespace) -> int:
    if arguments.sql:
        return print_script(arguments.db, dialect=arguments.dialect, schema=arguments.schema)
    if arguments.dialect is not None:
        raise CommandError("--dialect goes with --sql", exit_code=USAGE)
    return _ran(lambda: migrate_database(arguments.db))


def _ran(work: Callable[[], Awaitable[int]], backend: str = "asyncio") -> int:
    async def run() -> int:
        return await work()

    return anyio.run(run, backend=backend)
