"""Opens a storage when it is told to, runs one execution of a workflow with it, and tells what it did."""

# ruff: noqa: T201 -- it prints to the test, and nothing else runs here

from __future__ import annotations

import sys

import anyio

from stepwell import Engine, PostgresStorage
from tests.support.postgres.flow import once


async def main(dsn: str) -> None:
    print("ready")
    sys.stdin.readline()
    async with PostgresStorage(dsn, wait=60) as storage, Engine(storage, workflows=[once]) as engine, engine.worker():
        handle = await engine.start(once, "Ada")
        print(f"ran {await handle.result()}, applied {len(storage.applied)}")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], backend=sys.argv[2])
