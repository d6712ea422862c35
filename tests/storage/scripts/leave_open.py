"""Open a storage, and let the loop go without closing it."""

# ruff: noqa: T201 -- it prints to the test, and nothing else runs here

from __future__ import annotations

import sys

import anyio

from stepwell.storage.sqlite import SQLiteStorage

storage = SQLiteStorage(sys.argv[1])


async def main() -> None:
    await storage.__aenter__()
    print("leaving")


anyio.run(main)
