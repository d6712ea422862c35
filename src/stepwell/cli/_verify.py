"""`stepwell verify`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stepwell import Breach, InvalidArgument, StepwellError, verify
from stepwell.cli._app import imported
from stepwell.cli._database import Database, existing
from stepwell.cli._errors import USAGE, CommandError
from stepwell.cli._text import json_text, say

if TYPE_CHECKING:
    from stepwell import Storage

__all__ = ["add_verify", "verify_database"]

Added: TypeAlias = Callable[[Any, str, str, Callable[[Namespace], int]], ArgumentParser]
Ran: TypeAlias = Callable[[Callable[[], Awaitable[int]]], int]

_PAGE: Final = 1_000
"""executions that are looked at between two words of progress"""
_SHOWN: Final = 20
_NOT_CHECKED: Final = 2
_ALL: Final = 2**63


def add_verify(commands: Any, added: Added, ran: Ran, positive: Callable[[str], int]) -> None:
    """Add the command: *added* makes a parser with what all commands have, *ran* runs what is asynchronous."""
    parser = added(
        commands,
        "verify",
        "check every execution against what is promised; reads only, also beside workers",
        lambda given: ran(lambda: _verify(given)),
    )
    parser.add_argument(
        "--app", metavar="MODULE:NAME", help="your workflow, or a list of them: paths through the graph are checked too"
    )
    parser.add_argument("--after", metavar="CURSOR", help="go on from there, as an earlier run has told")
    parser.add_argument("--limit", type=positive, metavar="N", help="stop after so many executions (at the last)")
    parser.add_argument(
        "--show",
        type=positive,
        default=_SHOWN,
        metavar="N",
        help=f"print so many breaches and count the rest ({_SHOWN})",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def _verify(given: Namespace) -> Awaitable[int]:
    return verify_database(
        given.db, app=given.app, after=given.after, limit=given.limit, shown=given.show, as_json=given.json
    )


async def verify_database(
    database: Database, *, app: str | None, after: str | None, limit: int | None, shown: int, as_json: bool
) -> int:
    """Look through a database for broken promises; return 0 if there are none, else 1.

    Raises CommandError with exit code 2 where it can't be looked at: a script must not take that for a broken promise.
    """
    workflows = () if app is None else imported(app, option="--app")
    try:
        async with existing(database) as storage:
            walk = _Walk(storage, shown)
            await walk.through(workflows, after, _ALL if limit is None else limit)
    except InvalidArgument as error:
        raise CommandError(f"--{error}", exit_code=USAGE) from error  # it is about `after`
    except (CommandError, StepwellError, OSError) as error:
        raise CommandError(str(error), exit_code=_NOT_CHECKED) from error
    walk.tell(as_json=as_json)
    return 1 if walk.found else 0


class _Walk:
    """A walk through one database, and what has been found on the way."""

    def __init__(self, storage: Storage, shown: int) -> None:
        self._storage = storage
        self._shown = shown
        self.breaches: list[Breach] = []
        self.found = 0
        self.checked = 0
        self.next: str | None = None

    async def through(self, workflows: Any, after: str | None, limit: int) -> None:
        """Check up to *limit* executions, and say how it goes on where there are many."""
        self.next, left = after, limit
        while left > 0:
            part = await verify(self._storage, workflows=workflows, after=self.next, limit=min(left, _PAGE))
            left -= max(part.checked, 1)
            self.checked += part.checked
            self.found += len(part.breaches)
            self.breaches += part.breaches[: self._shown - len(self.breaches)]
            self.next = part.next
            if part.next is None:
                break
            print(f"{self._told()} so far; go on from here with --after {part.next}", file=sys.stderr, flush=True)

    def _told(self) -> str:
        return f"{_counted(self.checked, 'execution')} checked, {_counted(self.found, 'breach', 'breaches')}"

    def tell(self, *, as_json: bool) -> None:
        """Print what was found."""
        if as_json:
            unshown = self.found - len(self.breaches)
            told = {"checked": self.checked, "breaches": self.breaches, "unshown": unshown, "next": self.next}
            print(json_text(told))
            return
        for breach in self.breaches:
            say(str(breach))
        if self.found > len(self.breaches):
            say(f"… and {self.found - len(self.breaches):,} more (--show)")
        say(self._told())
        if self.next is not None:
            say(f"there is more: go on with --after {self.next}")


def _counted(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
