"""Children to kill: Python scripts in processes of their own, for tests on the wall clock.

A child is always reaped, every wait for it has a limit, and what it wrote to its standard error is part of the message
when it disappoints. Its standard output is a pipe of 64 KiB or so: a child that writes more than is read will stop.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from signal import Signals
from subprocess import PIPE
from typing import IO, Final

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

__all__ = ["Child", "ChildDisappointed", "run_command", "run_script"]

LIMIT: Final = 30.0
LINE: Final = 1_000_000
REAPING: Final = 10.0


ENVIRONMENT: Final = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")))),
}
"""In which scripts find the helpers of these tests, as the tests themselves do."""


class ChildDisappointed(AssertionError):
    """Raised when a child ended, or stayed silent, where the test needed something else."""


class Child:
    """A script that runs in a process of its own."""

    def __init__(self, process: Process, errors: IO[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self._errors = errors
        self._output = BufferedByteReceiveStream(process.stdout)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line(self, containing: str = "", *, within: float = LIMIT) -> str:
        """Return the next line of its output that contains this text; lines before it are dropped."""
        with anyio.move_on_after(within):
            while True:
                try:
                    line = (await self._output.receive_until(b"\n", LINE)).decode()
                except (anyio.EndOfStream, anyio.IncompleteRead):
                    raise self._disappointment(f"ended without a line containing {containing!r}") from None
                if containing in line:
                    return line
        raise self._disappointment(f"wrote no line containing {containing!r} within {within} s")

    async def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        await self._process.stdin.send(f"{line}\n".encode())

    def send_signal(self, signal: Signals) -> None:
        """Send it a signal: SIGTERM, SIGSTOP, SIGCONT, …"""
        self._process.send_signal(signal)

    def kill(self) -> None:
        """Kill it where it stands (SIGKILL); `ended` tells when it is gone."""
        self._process.kill()

    async def ended(self, *, within: float = LIMIT) -> int:
        """Return its exit code once it has ended; negative is the signal that ended it."""
        with anyio.move_on_after(within):
            return await self._process.wait()
        raise self._disappointment(f"still runs after {within} s")

    def errors(self) -> str:
        """Return what it has written to its standard error so far."""
        file = self._errors.fileno()  # its offset is the child's too: reading must not move it
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    async def reap(self) -> None:
        """Kill it if it still runs, and take its exit code; cancelled or not, in at most ten seconds."""
        if self._process.returncode is None:
            self._process.kill()
        with anyio.move_on_after(REAPING, shield=True):
            await self._process.wait()
            await self._process.aclose()

    def _disappointment(self, what: str) -> ChildDisappointed:
        return ChildDisappointed(f"child {self.pid} {what}; its standard error:\n{self.errors()}")


@asynccontextmanager
async def run_script(
    script: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Child]:
    """Run a Python script with this interpreter; kill what is left of it at the end of the block."""
    async with run_command(sys.executable, "-u", str(script), *arguments, environment=environment) as child:
        yield child


@asynccontextmanager
async def run_command(*command: str, environment: Mapping[str, str] | None = None) -> AsyncGenerator[Child]:
    """Run a program; kill what is left of it at the end of the block."""
    with tempfile.TemporaryFile() as errors:
        process = await anyio.open_process(
            command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            env={**ENVIRONMENT, **(environment or {})},
        )
        child = Child(process, errors)
        try:
            yield child
        finally:
            await child.reap()
