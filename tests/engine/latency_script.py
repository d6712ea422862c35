"""A worker process for the latency tests: runs what is there until it is killed or told to stop.

Usage: latency_script.py <backend> <database> <lease> <poll> <notify>; the database is a file or a DSN. Tells on its
standard output what its step does, and when by the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import anyio
from anyio import to_thread

from stepwell import Engine, PostgresStorage, SQLiteStorage, Storage, Workflow
from tests.engine.flows import Ctx, line

__all__ = ["FLOW", "tell"]


def tell(*words: object) -> None:
    sys.stdout.write(f"{' '.join(map(str, words))} at {time.monotonic()}\n")
    sys.stdout.flush()


async def work(ctx: Ctx) -> None:
    tell("begins", ctx.execution_id, ctx.attempt)
    try:
        await anyio.sleep_forever()
    finally:
        tell("ends", ctx.execution_id, ctx.attempt)


FLOW: Workflow[int, None] = line(work, timeout=None)


def opened(database: str, *, notify: bool) -> Storage:
    return PostgresStorage(database, notify=notify) if "://" in database else SQLiteStorage(Path(database))


async def main(database: str, lease: str, poll: str, notify: str) -> None:
    async with (
        opened(database, notify=notify == "notify") as storage,
        Engine(storage, workflows=[FLOW], lease=float(lease)) as engine,
        engine.worker(poll_interval=float(poll), grace=0),
    ):
        tell("ready")
        await to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5], backend=sys.argv[1])
