"""A worker process for the kill tests: runs what is in the SQLite file, and tells on its standard output what it does.

Usage: kill_script.py <file> <backend> <hold>; with hold `hold` the second step waits for ever.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from stepwell import Engine, SQLiteStorage, Workflow
from tests.engine.flows import Ctx, line

ID = "killed"


def flow(*, hold: bool) -> Workflow[int, str]:
    async def tell(ctx: Ctx) -> None:
        sys.stdout.write(f"begin {ctx.step} {ctx.attempt}\n")
        sys.stdout.flush()

    async def before(ctx: Ctx) -> int:
        await tell(ctx)
        return ctx.input + 1

    async def middle(ctx: Ctx) -> int:
        await tell(ctx)
        if hold:
            await anyio.sleep_forever()
        return int(ctx.output("before")) + 1

    async def after(ctx: Ctx) -> str:
        await tell(ctx)
        return f"{ctx.output('middle')}"

    return line(before, middle, after, timeout=None)


async def main(path: str, hold: str) -> None:
    workflow = flow(hold=hold == "hold")
    async with (
        SQLiteStorage(Path(path)) as storage,
        Engine(storage, workflows=[workflow], lease=1.0) as engine,
        engine.worker(poll_interval=0.1),
    ):
        handle = await engine.start(workflow, 1, id=ID)
        sys.stdout.write(f"result {await handle.result()}\n")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[3], backend=sys.argv[2])
