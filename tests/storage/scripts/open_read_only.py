"""Open a database that, or whose folder, can't be written to; print why that is refused."""

# ruff: noqa: T201, ASYNC240 -- it prints to the test, and nothing else runs here

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio

from stepwell.storage import StorageError
from stepwell.storage.sqlite import SQLiteStorage

NOBODY = 65_534


async def main(path: Path, place: str) -> None:
    async with SQLiteStorage(path):  # also reads what nobody may not be able to read: modules, the schema
        pass
    path.chmod(0o444 if place == "file" else 0o666)
    path.parent.chmod(0o777 if place == "file" else 0o555)
    if os.geteuid() == 0:  # root may write everywhere
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        async with SQLiteStorage(path):
            print("opened")
    except StorageError as error:
        print(error)


anyio.run(main, Path(sys.argv[1]), sys.argv[2])
