"""Small questions to a Postgres, from tests that have no event loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import asyncpg

__all__ = ["ask", "execute", "is_gone", "is_removed"]

LIMIT = 15.0


def ask(dsn: str, query: str) -> Any:
    """Return the first value of the answer."""

    async def run() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return anyio.run(run)


def execute(dsn: str, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    anyio.run(run)


def is_gone(pid: int, *, within: float = LIMIT) -> bool:
    """Tell whether a process ends in this time."""

    def has_ended() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return comes_true(has_ended, within)


def is_removed(folder: Path) -> bool:
    return comes_true(lambda: not folder.exists(), LIMIT)


def comes_true(condition: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
