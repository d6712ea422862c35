"""Open the database when a line comes in; say that it is open."""

# ruff: noqa: T201 -- it prints to the test, and nothing else runs here

from __future__ import annotations

import sys

import anyio

from stepwell.storage.sqlite import SQLiteStorage


async def main(path: str) -> None:
    async with SQLiteStorage(path, busy_timeout=30):
        print("opened")


print("ready")
sys.stdin.readline()
anyio.run(main, sys.argv[1])
