"""Create executions, several at a time, until killed; print the ids of those whose commit was acknowledged."""

# ruff: noqa: T201 -- it prints to the test, and nothing else runs here

from __future__ import annotations

import sys
from itertools import count

import anyio

from stepwell.storage.sqlite import SQLiteStorage
from stepwell.testing._scene import Scene, change


async def main(path: str, name: str) -> None:
    async with SQLiteStorage(path) as storage:
        scene = Scene(storage, name)
        for number in count():
            rows = [scene.row(f"{number}.{place}") for place in range(5)]
            results = await storage.commit([(change(row),) for row in rows])
            print(*(row.id for row, done in zip(rows, results, strict=True) if done))


anyio.run(main, sys.argv[1], sys.argv[2])
