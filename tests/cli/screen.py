"""A terminal's screen, as far as the live demo uses one: what it shows, and where its cursor is.

It knows the sequences that the demo may write, by the manual of the VT100, and refuses all others: a new one must be
thought about.
"""

from __future__ import annotations

import re

__all__ = ["Screen"]

_SEQUENCE = re.compile(r"\x1b(?:\[(?P<numbers>[\d;]*)(?P<final>[A-Za-z])|(?P<single>[78D]))")


class Screen:
    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines = [""] * rows
        self.row = self.column = 0
        self.scrolled: list[str] = []
        self._saved = (0, 0)
        self._rest = ""

    def resize(self, columns: int, rows: int) -> None:
        """Become another size, as a terminal that cuts off what doesn't fit."""
        self.lines = [line[:columns] for line in self.lines[:rows]] + [""] * (rows - len(self.lines))
        self.columns, self.rows = columns, rows
        self.row, self.column = min(self.row, rows - 1), min(self.column, columns - 1)

    def feed(self, text: str) -> None:
        """Take what was written to the terminal, cut anywhere."""
        text, self._rest = self._rest + text, ""
        place = 0
        while place < len(text):
            if text[place] != "\x1b":
                self._put(text[place])
                place += 1
                continue
            found = _SEQUENCE.match(text, place)
            if found is None:
                assert len(text) - place < 16, f"an unknown sequence: {text[place : place + 16]!r}"
                self._rest = text[place:]
                return
            place = found.end()
            self._do(found["single"] or found["final"], found["numbers"] or "")

    def shown(self) -> list[str]:
        """Return its lines, without the blanks at their ends."""
        return [line.rstrip() for line in self.lines]

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif character == "\b":
            self.column = max(self.column - 1, 0)
        else:
            if self.column == self.columns:
                self.column = 0
                self._down()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        if self.row < self.rows - 1:
            self.row += 1
        else:
            self.scrolled.append(self.lines.pop(0).rstrip())
            self.lines.append("")

    def _do(self, what: str, numbers: str) -> None:
        count = int(numbers) if numbers.isdecimal() else 1
        match what:
            case "7":
                self._saved = (self.row, self.column)
            case "8":
                self.row, self.column = self._saved
            case "D":
                self._down()
            case "A":
                self.row = max(self.row - count, 0)
            case "B":
                self.row = min(self.row + count, self.rows - 1)
            case "H" if not numbers:
                self.row = self.column = 0
            case "J" if not numbers:
                self.lines[self.row] = self.lines[self.row][: self.column]
                self.lines[self.row + 1 :] = [""] * (self.rows - self.row - 1)
            case "K" if not numbers:
                self.lines[self.row] = self.lines[self.row][: self.column]
            case "L":
                self.lines[self.row : self.row] = [""] * count
                del self.lines[self.rows :]
                self.column = 0
            case "m":
                return
            case _:
                raise AssertionError(f"an unknown sequence: {numbers}{what}")
