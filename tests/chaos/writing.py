"""Starts executions and runs them, and tells what was acknowledged: `writing.py <file> <backend>`.

What the storage refuses is told on the standard error, and tried again.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import anyio

from stepwell import Engine, Event, SQLiteStorage, StorageError
from tests.chaos.mixture import MIXTURE, chain, family, loop

__all__ = ["EXECUTIONS"]

EXECUTIONS: Final = 9


def tell_refusal(what: object) -> None:
    sys.stderr.write(f"refused: {what}\n")


def on_error(event: Event) -> None:
    tell_refusal(event.message)


async def start(engine: Engine, workflow: Any, number: int) -> None:
    id = f"{workflow.name} {number}"
    is_acknowledged = False
    while not is_acknowledged:
        try:
            await engine.start(workflow, number, id=id)
            is_acknowledged = True
        except StorageError as error:
            tell_refusal(error)
            await anyio.sleep(0.05)
    sys.stdout.write(f"acknowledged {id}\n")
    await engine.result_of(id)


async def main(path: str) -> None:
    async with (
        SQLiteStorage(path) as storage,
        Engine(storage, workflows=MIXTURE, lease=2.0, max_crashes=10) as engine,
    ):
        engine.on("worker.error", on_error)
        async with engine.worker(poll_interval=0.1):
            for number in range(EXECUTIONS // 3):
                async with anyio.create_task_group() as tasks:
                    for workflow in (chain, family, loop):
                        tasks.start_soon(start, engine, workflow, number)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], backend=sys.argv[2])
