r"""A few lines at the bottom of a terminal that are redrawn in place, above a line at which a person types.

Rule 1: nothing of the terminal is changed that would have to be restored. The cursor is never hidden, the keyboard
stays as it is, no other screen is used: whatever ends the process, even `kill -9`, leaves a terminal that works.
Rule 2: what is being typed stays visible. The terminal echoes it at the cursor, so the lines above are redrawn around
the cursor, which is put back (DECSC, DECRC); where more lines are needed, they are inserted above it (IND, IL).
Rule 3: no line is longer than the terminal is wide, and there are no more of them than fit. Both are up to the caller.

Sequences: ECMA-48 and the VT100 manual; every terminal emulator of the last decades knows them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["Region", "screen_size"]

_SAVE: Final = "\x1b7"
_RESTORE: Final = "\x1b8"
_INDEX: Final = "\x1bD"
"""one row down, in the same column; at the bottom the screen scrolls"""
_ERASE_LINE: Final = "\x1b[K"
_ERASE_BELOW: Final = "\x1b[J"
_HOME: Final = "\x1b[H"
_FALLBACK: Final = os.terminal_size((80, 24))


def screen_size() -> os.terminal_size:
    """Return the terminal's columns and rows; 80 by 24 where it doesn't say."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return _FALLBACK
    return size if size.columns > 0 and size.lines > 0 else _FALLBACK


class Region:
    """The lines, and where the cursor is. Give each line without its end."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._is_open = False
        self._size = _FALLBACK
        self._height = 0
        self._prompt = ""
        self._prompt_width = 0
        self._below = 0
        """rows that what was typed has moved the cursor down"""

    def draw(self, lines: Sequence[str], *, prompt: str, prompt_width: int, size: os.terminal_size) -> None:
        """Show these lines, and *prompt* (of so many columns) below them, at which the cursor stands."""
        if self._is_open and size != self._size:
            self._write(_HOME + _ERASE_BELOW)  # where the old lines went is up to the terminal: begin anew
            self._is_open = False
        if not self._is_open:
            self._write(_rows(lines) + prompt)
        elif self._below or prompt != self._prompt:
            self._write(self._to_top() + _ERASE_BELOW + _rows(lines) + prompt)
        else:
            self._write(self._around_the_cursor(lines))
            lines = [*lines, *[""] * (self._height - len(lines))]
        self._is_open = True
        self._size = size
        self._height = len(lines)
        self._below = 0
        self._prompt = prompt
        self._prompt_width = prompt_width

    def typed(self, width: int) -> None:
        """Take note that a line of so many columns was typed: its end moved the cursor down."""
        self._below += 1 + (self._prompt_width + width) // max(self._size.columns, 1)

    def forget(self) -> None:
        """Leave what was drawn, wherever it is, and draw at the cursor the next time."""
        self._is_open = False

    def close(self, lines: Sequence[str] | None = None) -> None:
        """Leave the lines, or *lines* in their place (as many as you like), and put the cursor below them."""
        if not self._is_open:
            return
        if lines is None:
            self._write(f"{self._rows_up(self._below)}\r{_ERASE_BELOW}")
        else:
            self._write(self._to_top() + _ERASE_BELOW + _rows(lines))
        self._is_open = False

    def _to_top(self) -> str:
        return f"{self._rows_up(self._height + self._below)}\r"

    @staticmethod
    def _rows_up(count: int) -> str:
        return f"\x1b[{count}A" if count else ""

    def _around_the_cursor(self, lines: Sequence[str]) -> str:
        """Redraw what stands above the cursor's line, which moves down where the lines become more."""
        grown = max(len(lines) - self._height, 0)
        if grown:
            room = f"{_INDEX * grown}\x1b[{grown}A"
            text = f"{room}{_SAVE}\x1b[{grown}L{_RESTORE}\x1b[{grown}B"
        else:
            text = ""
        rows = [*lines, *[""] * (self._height - len(lines))]
        if not rows:
            return text
        return f"{text}{_SAVE}\x1b[{len(rows)}A\r{_rows(rows)}{_RESTORE}"


def _rows(lines: Sequence[str]) -> str:
    return "".join(f"{line}{_ERASE_LINE}\r\n" for line in lines)
