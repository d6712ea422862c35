"""The demo as a tree that is redrawn in place, with what a person is asked below it. Needs `rich`."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stepwell import Event, Execution, Status
from stepwell.cli._demo_keys import forget_typed, is_line_waiting
from stepwell.cli._live import Region, screen_size
from stepwell.cli._next import signal_words
from stepwell.cli._text import escaped, folded_command
from stepwell.cli._tree import Line, head, signs_for, steps_of

if TYPE_CHECKING:
    from stepwell.cli._database import Database
    from stepwell.cli._demo_board import Board
    from stepwell.cli._demo_questions import Question, Questions

__all__ = ["Live", "can_be_live"]

_STYLES: Final = {
    Status.QUEUED: "dim",
    Status.RUNNING: "cyan",
    Status.WAITING: "yellow",
    Status.SUSPENDED: "bold magenta",
    Status.PAUSED: "blue",
    Status.SUCCEEDED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "red",
}
_BAR: Final = 16
"""columns"""
_FEWEST_COLUMNS: Final = 30
_FEWEST_ROWS: Final = 8
_LAST_STEPS: Final = 3


def can_be_live() -> bool:
    """Tell whether the standard output is a terminal on which lines can be redrawn."""
    if sys.platform == "win32" or not sys.stdout.isatty():  # there, this was never tried
        return False
    size = screen_size()
    is_large = size.columns >= _FEWEST_COLUMNS and size.lines >= _FEWEST_ROWS
    return is_large and bool(os.environ.get("TERM")) and not Console().is_dumb_terminal


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much of the tree is shown."""

    folded: Collection[str] = ()
    """ids of executions, and of children, without their steps"""
    last: int | None = None
    """so many lines of each of the others; None for all"""


def _details(board: Board) -> Iterator[_Detail]:
    """Return ever less: first without the steps of children that ended, then of what ended itself, one by one."""
    yield _Detail()
    folded = [id for id, child in board.children.items() if child.status.is_terminal]
    yield _Detail(folded)
    executions = [execution for _, execution in board.executions()]
    ended = [execution for execution in executions if execution.ended_at is not None]
    for execution in sorted(ended, key=lambda execution: execution.ended_at or execution.created_at):
        folded = [*folded, execution.id]
        yield _Detail(folded)
    yield _Detail(folded, _LAST_STEPS)
    yield _Detail([execution.id for execution in executions])


class Live:
    """Shows the executions of a run, their steps, and the question that is asked."""

    def __init__(self, database: Database, *, has_keys: bool) -> None:
        self._database = database
        self._has_keys = has_keys
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._signs = signs_for(sys.stdout.encoding)
        self._region = Region(_written)
        self._hint = ""
        self._asked: tuple[str, str] | None = None

    def told(self, title: str, event: Event) -> None:
        """Nothing to do: the next drawing shows it."""

    def logged(self, title: str, step: str, message: str, *, is_progress: bool) -> None:
        """Keep what the board doesn't show; it stays until there is something else to say."""
        if is_progress:
            return
        self._hint = f"{title}: {step}: {message}"

    def asked(self, question: Question, *, is_first: bool) -> None:
        """Nothing to do: the next drawing shows it."""

    def answered(self, question: Question) -> None:
        """Take back what was said of the last answer."""
        self._hint = ""

    def hint(self, text: str) -> None:
        """Show how something was not understood or not taken."""
        self._hint = text

    def typed(self, line: str) -> None:
        """Take note that the cursor has moved."""
        self._hint = ""
        self._region.typed(cell_len(line))

    def draw(self, board: Board, questions: Questions) -> None:
        """Show everything as it stands now."""
        if self._has_keys and is_line_waiting():  # the cursor has moved, and nobody knows yet: draw when it was read
            return
        size = screen_size()
        question = questions.asked
        self._forget_what_was_meant_for_another(question)
        below = self._rendered(list(self._below(question, questions, size)), size)[: max(size.lines - 4, 0)]
        lines = [*self._tree(board, size, max(size.lines - 1 - len(below), 0)), *below]
        prompt = "" if question is None or not self._has_keys else f"{question.title}: y or n, then Enter > "
        prompt = prompt[: max(size.columns - 1, 0)]
        self._region.draw(lines, prompt=prompt, prompt_width=len(prompt), size=size)

    def begin_anew(self) -> None:
        """Draw where the cursor is by now."""
        self._region.forget()

    def close(self, board: Board | None = None) -> None:
        """Leave the last drawing; or, with a board, all of it, however long."""
        if board is None:
            self._region.close()
            return
        size = screen_size()
        now = datetime.now(UTC)
        whole = chain.from_iterable(
            self._lines(board, execution, now, _Detail()) for _, execution in board.executions()
        )
        self._region.close(self._rendered([self._grid(board, list(whole))], size))

    def _forget_what_was_meant_for_another(self, question: Question | None) -> None:
        asked = None if question is None else question.key
        if asked != self._asked and self._has_keys:
            forget_typed()
        self._asked = asked

    # -- the tree ------------------------------------------------------------------------------------------------------

    def _tree(self, board: Board, size: os.terminal_size, room: int) -> list[str]:
        """Return as much of the tree as fits: what has ended is folded first."""
        now = datetime.now(UTC)
        lines: list[Line] = []
        for detail in _details(board):
            lines = [line for _, execution in board.executions() for line in self._lines(board, execution, now, detail)]
            if len(lines) <= room:
                break
        return self._rendered([self._grid(board, lines[:room])], size)[:room]

    def _lines(self, board: Board, execution: Execution, now: datetime, detail: _Detail) -> list[Line]:
        top = head(execution, now=now, signs=self._signs)
        if execution.id in detail.folded:
            return [top]
        steps = steps_of(execution, board.children, now=now, signs=self._signs, folded=detail.folded)
        return [top, *deque(steps, detail.last)]

    def _grid(self, board: Board, lines: Sequence[Line]) -> RenderableType:
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        has_steps = any(line.step is not None for line in lines)
        for line in lines:
            style = _STYLES[line.status]
            name = Text.assemble((line.branches, "dim"), (f"{line.mark} ", style), (line.name, _name_style(line)))
            grid.add_row(name, Text(line.took, "dim"), self._about(board, line, style, has_steps=has_steps))
        return grid

    def _about(self, board: Board, line: Line, style: str, *, has_steps: bool) -> RenderableType:
        progress = None if line.step is None and has_steps else board.progress_of(line.execution, line.step)
        if progress is None or line.status is not Status.RUNNING:
            return Text(line.about, style if line.step is None else "")
        bar = ProgressBar(total=progress.total, completed=progress.done, width=_BAR)
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=_BAR, no_wrap=True)
        row.add_column(no_wrap=True, overflow="ellipsis")
        row.add_row(bar, Text(f"{progress.done}/{progress.total}  {line.about}"))
        return row

    # -- what is below it ----------------------------------------------------------------------------------------------

    def _below(
        self, question: Question | None, questions: Questions, size: os.terminal_size
    ) -> Iterator[RenderableType]:
        if question is not None:
            yield Text()
            yield Text.assemble((f"{question.title} waits for you: ", "bold magenta"), escaped(question.text))
            yield from self._elsewhere(question, size.columns - 3)
            others = [other.title for other in questions.open() if other is not question]
            if others:
                yield Text(f"then: {', '.join(others)}", "dim")
        if self._hint:
            yield Text(escaped(self._hint), "yellow")

    def _elsewhere(self, question: Question, width: int) -> Iterator[RenderableType]:
        words = signal_words(question.execution, self._database, question.wait.name)
        lines = [escaped(line) for line in folded_command(words, width)]
        if max(map(cell_len, lines)) > width:  # broken within a word, it could not be pasted
            yield Text("or by `stepwell signal` in another terminal; `stepwell show` tells its words", "dim")
            return
        yield Text("or, in another terminal:", "dim")
        for line in lines:
            yield Text(f"  {line}", "dim")

    def _rendered(self, parts: Sequence[RenderableType], size: os.terminal_size) -> list[str]:
        """Return what rich makes of it, line by line."""
        self._console.width = max(size.columns - 1, 1)  # what is wider is cropped
        with self._console.capture() as captured:
            for part in parts:
                self._console.print(part)
        return captured.get().splitlines()


def _name_style(line: Line) -> str:
    return "bold" if line.step is None else ""


def _written(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
