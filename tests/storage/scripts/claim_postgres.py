"""Claim until nothing is due any more, when a line comes in; print the ids of what was claimed."""

# ruff: noqa: T201 -- it prints to the test, and nothing else runs here

from __future__ import annotations

import os
import sys

import anyio

from stepwell.storage.postgres import PostgresStorage
from stepwell.testing._scene import Scene


async def main(dsn: str, name: str) -> None:
    async with PostgresStorage(dsn, connections=2, notify=False) as storage:
        scene = Scene(storage, name)
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        while found := await scene.claimed(worker=f"worker-{os.getpid()}", limit=7):
            print(*found, flush=True)
        print("end", flush=True)


anyio.run(main, sys.argv[1], sys.argv[2], backend=sys.argv[3])
