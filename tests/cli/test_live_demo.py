"""`stepwell demo` in a terminal: the tree that is redrawn, what is typed below it, and how the terminal is left."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from signal import SIGCONT, SIGTERM

import pytest

from stepwell import Engine
from stepwell.cli import _demo_live
from stepwell.cli._demo_board import Board
from stepwell.cli._demo_live import Live
from stepwell.cli._demo_questions import Question, Questions
from stepwell.cli._demo_run import Member
from tests.cli.demos import Demo
from tests.cli.screen import Screen
from tests.cli.shop import Verdict, greeting, verdict
from tests.support.virtual_time import Backend

if sys.platform == "win32":
    pytest.skip("has no such terminals", allow_module_level=True)

from tests.cli.terminals import terminal_with

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

HIDES_CURSOR = "\x1b[?25l"


@pytest.fixture
def demo(tmp_path: Path, backend: Backend) -> Demo:
    return Demo(tmp_path, backend)


async def test_the_tree_is_drawn_progress_moves_and_answers_are_taken(demo: Demo) -> None:
    async with terminal_with(*demo.arguments) as terminal:
        modes = terminal.modes()
        await terminal.until("kill -9", "import-1", "refund-1", "├─ ✓ screen", "│  ├─ ✓ history", "payment-1")
        await terminal.until_shown("└─ ? review", "refund waits for you: 80.00 EUR", "refund: y or n, then Enter >")
        terminal.type("refund")
        await terminal.until_shown("suspended at approval", "✓ payment-1", "then: import", "Enter > refund")
        terminal.type(" y\n")
        await terminal.until_shown("└─ ✓ refunded", "import: y or n, then Enter >")
        await demo.signal("import-1", "approval")
        await terminal.until("● load")
        assert await terminal.ended() == 0
        assert terminal.modes() == modes
    shown = "\n".join([*terminal.screen.scrolled, *terminal.screen.shown()])
    assert "├─ ✗ charge" in shown
    assert "2 attempts  caught CardDeclined: insufficient funds" in shown
    assert "Imported: 626 rows, each once, 21 of them marked" in shown
    assert "stepwell show" in shown
    steps = [int(done) for done in re.findall(r"━ +(\d+)/16", terminal.plain())]
    assert len(set(steps)) >= 2
    assert steps == sorted(steps)
    assert HIDES_CURSOR not in terminal.written
    assert terminal.screen.column == 0
    await demo.check_ended_well()


async def test_a_small_terminal_is_enough_and_ctrl_c_leaves_it_as_it_was(demo: Demo) -> None:
    words = [*demo.arguments, "--yes", "--pace", "0.5"]
    async with terminal_with(*words, columns=60, rows=20, environment={"NO_COLOR": "1"}) as terminal:
        modes = terminal.modes()
        await terminal.until_shown("running at load", "└─ ● load", "✓ payment-1")
        terminal.resize(40, 9)
        await terminal.until("● import-1", "● load", "/16", "✓ payment-1", "✓ payment-1")
        heads = [line.split()[:2] for line in terminal.screen.shown() if "-1 " in line]
        assert heads == [["●", "import-1"], ["✓", "refund-1"], ["✓", "payment-1"]]
        terminal.screen.feed("\r\n$ fg\r\n")  # as after Ctrl-Z: a shell has written, and lets the demo go on
        terminal.process.send_signal(SIGCONT)
        await terminal.until("● import-1", "● load", "✓ payment-1")
        assert "$ fg" in [*terminal.screen.scrolled, *terminal.screen.shown()]
        terminal.type("\x03")
        await terminal.until("Stopped. What was done is kept")
        assert await terminal.ended() == 130
        assert terminal.modes() == modes
    assert HIDES_CURSOR not in terminal.written
    assert not re.search(r"\x1b\[[\d;]*3[0-7]", terminal.written)  # no colours
    assert terminal.screen.column == 0
    assert "stepwell demo" in "".join(terminal.screen.shown())


@pytest.mark.parametrize("options", [["--without-rich"], []], ids=["without rich", "dumb"])
async def test_a_terminal_that_cannot_be_redrawn_gets_lines(demo: Demo, options: list[str]) -> None:
    environment = {} if options else {"TERM": "dumb"}
    async with terminal_with(*options, *demo.arguments, environment=environment) as terminal:
        await terminal.until("refund: load_order: done", "refund: review: waits for you", "y or n, then Enter")
        terminal.type("y\n")
        await terminal.until("refund: succeeded at refunded")
        terminal.process.send_signal(SIGTERM)
        assert await terminal.ended() == 143
    assert "\x1b" not in terminal.written


async def test_data_can_neither_style_the_tree_nor_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    async with Engine(workflows=[greeting]) as engine:
        handle = await engine.start(greeting, "break", id="[bold red]:boom:[link=x]")
        await engine.run_until_idle()
        board = Board((Member("import", handle),))
        await board.look(engine)
    live = Live(tmp_path / "demo.db", has_keys=False)
    live.hint("what [red]\x1b[2J was typed")
    live.draw(board, Questions())
    live.close()
    screen = Screen(80, 24)
    screen.feed(capsys.readouterr().out)
    top, step, hint, *_ = screen.shown()
    assert top.startswith("✗ [bold red]:boom:[link=x]")
    assert "ValueError: red: \\x1b[31m" in step
    assert hint == "what [red]\\x1b[2J was typed"


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 9), (30, 8), (12, 4), (3, 2), (1, 1)], ids=str)
async def test_whatever_the_size_nothing_is_wrapped_or_scrolled(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
) -> None:
    monkeypatch.setattr(_demo_live, "screen_size", lambda: os.terminal_size(size))
    async with Engine(workflows=[greeting]) as engine:
        handles = [await engine.start(greeting, name, id=f"id-{name}") for name in ("break", "Ada", "Bob")]
        await engine.run_until_idle()
        board = Board(tuple(Member("import", handle) for handle in handles))
        await board.look(engine)
        execution = await handles[1].get()
    questions = Questions()
    questions.update([Question("import", execution, verdict, "Is this what you want? " * 3, Verdict)])
    live = Live(tmp_path / "demo.db", has_keys=False)
    screen = Screen(*size)
    for _ in range(2):
        live.draw(board, questions)
        screen.feed(capsys.readouterr().out)
    assert screen.scrolled == []
    assert (screen.shown()[0][:2] == "✗ ") == (size[1] > 1 and size[0] > 3)
