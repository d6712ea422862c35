"""A worker process on Postgres for the tests: runs what is there until it is killed or told to stop.

Usage: postgres_script.py <dsn> <backend> <notify> <poll>; tells on its standard output what its steps do.
"""

from __future__ import annotations

import sys

import anyio
from anyio import to_thread

from stepwell import Engine, PostgresStorage, Workflow
from tests.engine.flows import Ctx, gated, line

__all__ = ["HELD", "SHARED", "WAITING"]


def tell(*words: object) -> None:
    sys.stdout.write(f"{' '.join(map(str, words))}\n")
    sys.stdout.flush()


async def hold(ctx: Ctx) -> None:
    tell("holds", ctx.execution_id)
    try:
        await anyio.sleep_forever()
    finally:
        tell("released", ctx.execution_id)


async def first(ctx: Ctx) -> int:
    tell("first", ctx.execution_id)
    return ctx.input + 1


async def second(ctx: Ctx) -> int:
    tell("second", ctx.execution_id)
    return int(ctx.output("first")) + 1


HELD: Workflow[int, str] = line(hold, name="held", timeout=None)
SHARED: Workflow[int, str] = line(first, second, name="shared")
WAITING: Workflow[int, str] = gated(name="waiting")


async def main(dsn: str, notify: str, poll: str) -> None:
    async with (
        PostgresStorage(dsn, notify=notify == "notify") as storage,
        Engine(storage, workflows=[HELD, SHARED, WAITING], lease=10.0) as engine,
        engine.worker(poll_interval=float(poll), concurrency=4),
    ):
        tell("ready")
        await to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[3], sys.argv[4], backend=sys.argv[2])
