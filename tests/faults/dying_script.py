"""A process that ends at its n-th storage call: `dying_script.py <kind> <address> <backend> <n> <before|after>`.

With n 0 it lives to the end. Tells on its standard output what it was told and what its steps do, and at last how many
storage calls there were.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio

from stepwell import Context, Engine, Handle, SQLiteStorage, Workflow
from stepwell.storage import Storage
from tests.engine.faulty import ALL, Faulty, How
from tests.faults.scenarios.children import NESTED
from tests.faults.scenarios.steps import LINE, THIRD
from tests.faults.scenarios.waits import AHEAD
from tests.faults.world import World

__all__ = ["DIED", "several"]

DIED = 137


async def several(world: World) -> None:
    """Play a scenario of steps, a wait whose signal is early, and a child. Begun anew, it goes on where it stood."""
    async with world.engine(AHEAD, LINE, NESTED) as engine:
        handle = await world.start(engine, AHEAD, "wait")
        await world.insist(lambda: handle.signal("gate", "go", signal_id="s"))
        async with world.worker(engine, poll_interval=10):
            await world.start(engine, LINE, "line")
            await world.start(engine, NESTED, "nest")
            await world.output(engine, "wait", "go")
            await world.output(engine, "line", THIRD)
            await world.output(engine, "nest", "succeeded worked None nest/inner")


def tell(*words: object) -> None:
    sys.stdout.write(f"{' '.join(map(str, words))}\n")
    sys.stdout.flush()


class Telling(World):
    """A world that others hear of."""

    async def start(self, engine: Engine, flow: Workflow[Any, Any], id: str, **options: Any) -> Handle[Any]:
        handle = await super().start(engine, flow, id, **options)
        tell("acknowledged", id)
        return handle

    def began(self, ctx: Context[Any]) -> None:
        tell("ran", ctx.execution_id, ctx.step, ctx.visit, ctx.attempt)


async def die() -> None:
    os._exit(DIED)


def storage_of(kind: str, address: str) -> Any:
    if kind == "sqlite":
        return SQLiteStorage(address)
    from stepwell.storage.postgres import PostgresStorage  # noqa: PLC0415 (its driver is only needed here)

    return PostgresStorage(address, notify=False)


async def main(kind: str, address: str, at: int, when: str) -> None:
    opened: Storage
    async with storage_of(kind, address) as opened, anyio.create_task_group() as tasks:
        faulty = Faulty(opened, tasks)
        if at:
            how = How.FAILS_BEFORE if when == "before" else How.FAILS_AFTER
            faulty.spoil(*ALL, how=how, at=at, action=die)
        await several(Telling(opened, faulty, tasks, seed=1, lasting=0))
        tell("calls", sum(faulty.calls.values()))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[4]), sys.argv[5], backend=sys.argv[3])
