"""Lines that a person types, without holding up the event loop or the end of the process.

Read from the descriptor itself: Python's own buffer has a lock that a thread left behind would hold at the end.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Final

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token

if sys.platform != "win32":
    import termios

__all__ = ["forget_typed", "has_keys", "is_line_waiting", "read_lines"]

_CHUNK: Final = 4096


def has_keys() -> bool:
    """Tell whether a person can type here."""
    try:
        return os.isatty(0)
    except OSError:
        return False


def is_line_waiting() -> bool:
    """Tell whether a line was typed that has not been read yet."""
    if sys.platform == "win32":
        return False
    return bool(select.select([0], [], [], 0)[0])


def forget_typed() -> None:
    """Throw away what was typed and not read yet: it was meant for another question."""
    if sys.platform != "win32":
        with suppress(termios.error):
            termios.tcflush(0, termios.TCIFLUSH)


async def read_lines(take: Callable[[str], None]) -> None:
    """Call *take* with each line that is typed; returns at the end of the input."""
    lines = _Lines(take)
    if sys.platform == "win32":
        await _read_in_thread(lines)
        return
    while True:
        await anyio.wait_readable(0)
        if not lines.add(_read()):
            return


class _Lines:
    """Cuts what comes into lines."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def add(self, chunk: bytes) -> bool:
        """Take what was read; return whether there may be more."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[-_CHUNK:]
        for line in lines:
            self._take(line.decode(errors="replace").strip())
        return bool(chunk)


async def _read_in_thread(lines: _Lines) -> None:
    """Read where a terminal can't be waited for: in a thread that dies with the process."""
    ended = anyio.Event()
    token = current_token()

    def add(chunk: bytes) -> None:
        if not lines.add(chunk):
            ended.set()

    def read() -> None:
        while chunk := _read():
            from_thread.run_sync(add, chunk, token=token)
        from_thread.run_sync(add, b"", token=token)

    Thread(target=read, name="stepwell keys", daemon=True).start()
    await ended.wait()


def _read() -> bytes:
    try:
        return os.read(0, _CHUNK)
    except OSError:  # the terminal was closed
        return b""
