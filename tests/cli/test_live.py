"""Lines that are redrawn in place while somebody types below them, on the screen of a terminal."""

from __future__ import annotations

import os

import pytest

from stepwell.cli._live import Region, screen_size
from tests.cli.screen import Screen


class Terminal:
    """A screen, a region on it, and a keyboard whose typing the terminal echoes."""

    def __init__(self, columns: int = 20, rows: int = 6, *, above: int = 1) -> None:
        self.screen = Screen(columns, rows)
        self.screen.feed("".join(f"above {number}\r\n" for number in range(above)))
        self.region = Region(self.screen.feed)

    def draw(self, *lines: str, prompt: str = "> ") -> None:
        size = os.terminal_size((self.screen.columns, self.screen.rows))
        self.region.draw(lines, prompt=prompt, prompt_width=len(prompt), size=size)

    def type(self, text: str) -> None:
        self.screen.feed(text)

    def enter(self, text: str) -> None:
        self.screen.feed(f"{text}\r\n")
        self.region.typed(len(text))


def test_lines_are_redrawn_where_they_stand() -> None:
    terminal = Terminal()
    terminal.draw("one: running", "two: queued")
    terminal.draw("one: done", "two: running")
    assert terminal.screen.shown() == ["above 0", "one: done", "two: running", ">", "", ""]
    assert (terminal.screen.row, terminal.screen.column) == (3, 2)


@pytest.mark.parametrize("above", [0, 1, 3, 10])
def test_what_is_being_typed_stays_while_lines_change_grow_and_shrink(above: int) -> None:
    terminal = Terminal(above=above)
    terminal.draw("one")
    terminal.type("ref")
    terminal.draw("one again")
    terminal.draw("one", "two", "three")
    terminal.type("und")
    terminal.draw("one")
    terminal.type(" y")
    shown = terminal.screen.shown()
    top = shown.index("one")
    assert shown[top : top + 4] == ["one", "", "", "> refund y"]
    assert (terminal.screen.row, terminal.screen.column) == (top + 3, len("> refund y"))


def test_lines_that_fill_the_screen_push_out_what_was_above() -> None:
    terminal = Terminal(above=4)
    terminal.draw("one")
    terminal.draw("one", "two", "three", "four", "five")
    assert terminal.screen.shown() == ["one", "two", "three", "four", "five", ">"]
    assert terminal.screen.scrolled == [f"above {number}" for number in range(4)]


@pytest.mark.parametrize("above", [0, 3, 10])
@pytest.mark.parametrize("typed", ["y", "perhaps not today, for it rains"])
def test_a_line_that_was_typed_leaves_no_trace(above: int, typed: str) -> None:
    terminal = Terminal(above=above)
    terminal.draw("one", "two")
    terminal.enter(typed)
    terminal.draw("three", "four", prompt="next > ")
    shown = [line for line in terminal.screen.shown() if line and not line.startswith("above")]
    assert shown == ["three", "four", "next >"]
    assert terminal.screen.column == len("next > ")


def test_another_size_begins_a_clean_screen() -> None:
    terminal = Terminal(columns=30)
    terminal.draw("a line of some length", "two")
    terminal.screen.resize(12, 5)
    terminal.draw("a line", "two", prompt="")
    assert terminal.screen.shown() == ["a line", "two", "", "", ""]


def test_the_cursor_ends_below_what_is_left() -> None:
    terminal = Terminal()
    terminal.draw("one", "two")
    terminal.type("^C")
    terminal.region.close()
    assert terminal.screen.shown() == ["above 0", "one", "two", "", "", ""]
    assert (terminal.screen.row, terminal.screen.column) == (3, 0)
    terminal.region.close(["never seen"])
    assert "never seen" not in terminal.screen.shown()


def test_the_last_drawing_may_be_longer_than_the_screen() -> None:
    terminal = Terminal()
    terminal.draw("one", "two")
    terminal.enter("y")
    lines = [f"line {number}" for number in range(10)]
    terminal.region.close(lines)
    assert [*terminal.screen.scrolled, *terminal.screen.shown()] == ["above 0", *lines, ""]


def test_what_others_wrote_meanwhile_is_left_alone() -> None:
    terminal = Terminal()
    terminal.draw("one")
    terminal.screen.feed("\r\n$ fg\r\n")
    terminal.region.forget()
    terminal.draw("two")
    assert terminal.screen.shown() == ["above 0", "one", ">", "$ fg", "two", ">"]


def test_nothing_is_drawn_where_there_is_nothing_to_draw() -> None:
    terminal = Terminal()
    terminal.draw(prompt="> ")
    terminal.draw(prompt="> ")
    assert terminal.screen.shown()[:3] == ["above 0", ">", ""]


def test_a_terminal_that_does_not_tell_its_size_is_taken_for_a_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def shrug(_file: int) -> os.terminal_size:
        return os.terminal_size((0, 0))

    monkeypatch.setattr(os, "get_terminal_size", shrug)
    assert screen_size() == (80, 24)

    def refuse(_file: int) -> os.terminal_size:
        raise OSError

    monkeypatch.setattr(os, "get_terminal_size", refuse)
    assert screen_size() == (80, 24)
