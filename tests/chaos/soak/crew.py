"""The worker processes: each is replaced as soon as it is gone.

Starts tasks: one for each worker, in the caller's task group.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, Signals
from subprocess import DEVNULL
from typing import Final

import anyio
import msgspec
from anyio.abc import Process

from tests.chaos import worker
from tests.chaos.worker import Options
from tests.support.processes import ENVIRONMENT

__all__ = ["LEASE", "Crew", "Slot"]

LEASE: Final = 3.0
"""seconds"""
SCRIPT: Final = Path(worker.__file__)
LEAVING: Final = 60.0


class Slot:
    """The place of one worker process."""

    def __init__(self, options: Options, log: Path) -> None:
        self.options = options
        self.log = log
        self.process: Process | None = None
        self.is_frozen = False

    def send(self, signal: Signals) -> bool:
        """Send a signal; tell whether there was somebody to get it."""
        process = self.process
        if process is None or process.returncode is not None:
            return False
        with suppress(ProcessLookupError):
            process.send_signal(signal)
            return True
        return False


class Crew:
    """All workers. Between `run` and `leave` there is always one in each slot, or about to be."""

    def __init__(self, options: list[Options], folder: Path) -> None:
        self.slots = [Slot(one, folder / f"{one.name}.log") for one in options]
        self.exits: Counter[int] = Counter()
        """by exit code; negative is a signal"""
        self.crashes: list[str] = []
        """what those said at last who were ready, and then ended with an error of their own"""
        self.is_leaving = False

    async def run(self, slot: Slot) -> None:
        """Keep a worker in the slot until the crew leaves."""
        while not self.is_leaving:
            with slot.log.open("ab") as log:
                begin = log.tell()
                told = msgspec.json.encode(slot.options).decode()
                command = [sys.executable, "-u", str(SCRIPT), told]
                slot.process = await anyio.open_process(command, stdin=DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT)
            try:
                code = await slot.process.wait()
                if not self.is_leaving:
                    self.exits[code] += 1
                if code == 1:
                    said = slot.log.read_bytes()[begin:].decode(errors="replace")
                    if "ready\n" in said:
                        self.crashes.append(said[-2000:])
            finally:
                await self._end(slot.process)

    async def _end(self, process: Process) -> None:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.aclose()

    async def leave(self) -> list[int | None]:
        """Ask all to go, and return how they went; who doesn't in time is killed."""
        self.is_leaving = True
        processes = [slot.process for slot in self.slots if slot.process is not None]
        for slot in self.slots:
            slot.send(SIGCONT)
            slot.send(Signals.SIGTERM)
        with anyio.move_on_after(LEAVING):
            for process in processes:
                await process.wait()
        return [process.returncode for process in processes]

    def told(self, word: str) -> int:
        """Return how often the workers have told of this."""
        return sum(slot.log.read_text(errors="replace").count(f"\n{word} ") for slot in self.slots if slot.log.exists())

    def complaints(self) -> list[str]:
        """Return the last lines of each worker's log."""
        return [f"{slot.options.name}: {slot.log.read_text(errors='replace')[-1500:]}" for slot in self.slots]
