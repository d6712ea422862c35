"""A terminal with the command `stepwell` in it, for tests of what people see and type."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process

from tests.cli.screen import Screen

__all__ = ["Terminal", "terminal_with"]

LIMIT = 30.0
_COMMAND = Path(__file__).with_name("command_in_terminal.py")
_SEQUENCE = re.compile(r"\x1b(?:\[[\d;?]*[A-Za-z]|[78D])")


class Terminal:
    """What was written to it, in full and as its screen shows it."""

    def __init__(self, process: Process, keyboard: int, columns: int, rows: int) -> None:
        self.process = process
        self.screen = Screen(columns, rows)
        self.written = ""
        self._place = 0
        self._keyboard = keyboard
        self._decode = codecs.getincrementaldecoder("utf-8")()

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(columns, rows)
        set_size(self._keyboard, columns, rows)

    def modes(self) -> list[object]:
        """Return how the terminal treats what is typed."""
        return termios.tcgetattr(self._keyboard)

    async def until(self, *texts: str) -> None:
        """Return once each of *texts* was written, one after the other, since the last call."""
        for text in texts:
            with anyio.move_on_after(LIMIT):
                while text not in self.plain()[self._place :] and await self._read():
                    pass
            place = self.plain().find(text, self._place)
            assert place >= 0, f"{text!r} was not written; the screen shows:\n" + "\n".join(self.screen.shown())
            self._place = place + len(text)

    async def until_shown(self, *texts: str) -> None:
        """Return once all of *texts* stand on the screen together: for what stays there."""
        with anyio.move_on_after(LIMIT):
            while not self._shows(texts) and await self._read():
                pass
        assert self._shows(texts), f"{texts} are not shown together; the screen:\n" + "\n".join(self.screen.shown())

    def _shows(self, texts: Sequence[str]) -> bool:
        shown = "\n".join(self.screen.shown())
        return all(text in shown for text in texts)

    async def ended(self) -> int:
        """Return the exit code, once everything was read."""
        with anyio.fail_after(LIMIT):
            while await self._read():
                pass
            return await self.process.wait()

    def plain(self) -> str:
        """Return everything that was written, without what steers the terminal."""
        return _SEQUENCE.sub("", self.written)

    async def _read(self) -> bool:
        await anyio.wait_readable(self._keyboard)
        try:
            chunk = os.read(self._keyboard, 65_536)
        except OSError:  # how Linux tells that the other side has closed
            return False
        text = self._decode.decode(chunk)
        self.written += text
        self.screen.feed(text)
        return bool(chunk)


@asynccontextmanager
async def terminal_with(
    *arguments: str, columns: int = 80, rows: int = 24, environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Terminal]:
    """Run the command in a terminal of this size; kill it if it still runs at the end of the block."""
    keyboard, inside = os.openpty()
    try:
        set_size(inside, columns, rows)
        try:
            process = await anyio.open_process(
                [sys.executable, str(_COMMAND), *arguments],
                stdin=inside,
                stdout=inside,
                stderr=inside,
                start_new_session=True,
                env={**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1", **(environment or {})},
            )
        finally:
            os.close(inside)
        try:
            yield Terminal(process, keyboard, columns, rows)
        finally:
            if process.returncode is None:
                process.kill()
            with anyio.move_on_after(10, shield=True):
                await process.wait()
    finally:
        os.close(keyboard)


def set_size(file: int, columns: int, rows: int) -> None:
    fcntl.ioctl(file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
