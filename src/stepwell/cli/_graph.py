"""`stepwell graph`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from stepwell import Engine, JournalEntry, Workflow, draw
from stepwell.cli._app import imported
from stepwell.cli._database import Database, existing
from stepwell.cli._errors import USAGE, CommandError

__all__ = ["FORMATS", "draw_graph"]

FORMATS: Final = ("svg", "mermaid", "dot")
_SUFFIXES: Final = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot"}
_PAGE: Final = 10_000


async def draw_graph(
    app: str, *, output: Path | None, format_name: str | None, database: Database, execution: str | None
) -> int:
    """Draw a workflow to a file, or to the standard output; with an execution, how that stands."""
    chosen = format_name or _format_of(output)
    if execution is not None and chosen != "svg":
        raise CommandError(f"an execution can only be drawn as svg, not as {chosen}", exit_code=USAGE)
    workflows = imported(app)
    if execution is not None:
        text = await _drawn(database, execution, workflows)
    elif len(workflows) > 1:
        names = ", ".join(workflow.name for workflow in workflows)
        raise CommandError(f"{app} is a list of {len(workflows)} workflows ({names}); name the one to draw")
    else:
        text = format(workflows[0], chosen)
    _write(text, output, is_xml=chosen == "svg")
    return 0


def _format_of(output: Path | None) -> str:
    if output is None:
        return FORMATS[0]
    found = _SUFFIXES.get(output.suffix.lower())
    if found is None:
        known = ", ".join(_SUFFIXES)
        message = f"the suffix of {output} names no format; use one of {known}, or say --format"
        raise CommandError(message, exit_code=USAGE)
    return found


async def _drawn(database: Database, id: str, workflows: Sequence[Workflow[Any, Any]]) -> str:
    async with existing(database) as storage, Engine(storage) as engine:
        execution = await engine.get(id)
        journal: list[JournalEntry] = []
        while page := await engine.journal(id, after=len(journal), limit=_PAGE):
            journal += page
    for workflow in workflows:
        if workflow.key == (execution.workflow, execution.version):
            return draw(workflow, execution, journal=journal)
    known = ", ".join(f"{workflow.name!r} version {workflow.version!r}" for workflow in workflows)
    theirs = f"{execution.workflow!r} version {execution.version!r}"
    raise CommandError(f"execution {id!r} is of workflow {theirs}, and this is {known}")


def _write(text: str, output: Path | None, *, is_xml: bool) -> None:
    if output is None:
        encoding = sys.stdout.encoding or "utf-8"
        if is_xml:  # what the terminal's encoding doesn't have can be written in another way there
            text = text.encode(encoding, "xmlcharrefreplace").decode(encoding)
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(f"{output} can't be written: {error.strerror or error}") from error
