"""`stepwell purge`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from stepwell import Engine, parse_duration
from stepwell.cli._database import Database, existing
from stepwell.cli._text import say

__all__ = ["add_purge", "purge_executions"]

Added: TypeAlias = Callable[[Any, str, str, Callable[[Namespace], int]], ArgumentParser]
Ran: TypeAlias = Callable[[Callable[[], Awaitable[int]]], int]


def add_purge(commands: Any, added: Added, ran: Ran) -> None:
    """Add the command: *added* makes a parser with what all commands have, *ran* runs what is asynchronous."""
    parser = added(
        commands,
        "purge",
        "delete executions that ended long ago, with their journals",
        lambda given: ran(lambda: purge_executions(given.db, given.older_than)),
    )
    parser.add_argument(
        "--older-than",
        type=_duration,
        required=True,
        metavar="TIME",
        help="how long ago they ended at least, such as 30d or 12h (ms, s, m, h, d, w)",
    )


def _duration(text: str) -> tuple[str, float]:
    try:
        return text.strip(), parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


async def purge_executions(database: Database, older_than: tuple[str, float]) -> int:
    """Delete what ended so long ago, given as text and in seconds; say how many went."""
    text, seconds = older_than
    async with existing(database) as storage, Engine(storage) as engine:
        count = await engine.purge(older_than=seconds)
    if count:
        say(f"{count:,} execution{'s' if count > 1 else ''} deleted that had ended {text} ago or earlier")
    else:
        say(f"nothing to delete: no execution ended {text} ago or earlier, or its parent or a child is still needed")
    return 0
