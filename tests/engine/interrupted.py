"""A program that is interrupted: `python interrupted.py <backend> <database> <what>`.

It starts executions of two steps, and runs them. *what* tells where it stands when it says `ready`: `idle` (nothing to
do), `handler` (in the middle of a step), `commits` (one commit after another), `term` (as `handler`, and SIGTERM is
answered by cancelling). With `claimed` and `committed` it interrupts itself, at the instant at which the storage has
answered a claim or a commit. `finish` runs what is left.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel

from stepwell import Context, Engine, SQLiteStorage, Workflow, activity, succeed

BACKEND, DATABASE, WHAT = sys.argv[1:4]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@activity(timeout=None)
async def first(ctx: Context[int]) -> int:
    if WHAT in {"handler", "term"}:
        say("ready")
        await anyio.sleep_forever()
    return ctx.input


@activity
async def second(ctx: Context[int]) -> int:
    if WHAT == "commits" and ctx.input == 3:
        say("ready")
    return ctx.output(first)


@succeed
def done(ctx: Context[int]) -> int:
    return ctx.output(second)


flow = Workflow[int, int]("flow", version="1", start=first, edges=[first.then(second), second.then(done)])


class SelfInterrupting(SQLiteStorage):
    """Raises SIGINT once, in the engine's own task, between the storage's answer and what the engine makes of it."""

    is_interrupted = False

    def interrupt(self) -> None:
        if not self.is_interrupted:
            self.is_interrupted = True
            signal.raise_signal(signal.SIGINT)

    async def claim(self, *arguments: Any, **named: Any) -> Any:
        claims = await super().claim(*arguments, **named)
        if WHAT == "claimed" and claims.claimed:
            self.interrupt()
        return claims

    async def commit(self, units: Sequence[Any], /) -> list[bool]:
        committed = await super().commit(units)
        if WHAT == "committed" and len(units) > 1:
            self.interrupt()
        return committed


async def work(engine: Engine) -> None:
    async with engine.worker(concurrency=4, grace=3600):
        if WHAT == "finish":
            for page in [await engine.find()]:
                for execution in page.executions:
                    await engine.handle(flow, execution.id).result()
            return
        if WHAT == "idle":
            say("ready")
        for number in range(0 if WHAT == "idle" else 12 if WHAT != "commits" else 100_000):
            await engine.start(flow, number)
        await anyio.sleep_forever()


async def cancel_on_sigterm(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def main() -> None:
    async with SelfInterrupting(DATABASE) as storage, Engine(storage, workflows=[flow]) as engine:
        if WHAT != "term":
            await work(engine)
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_on_sigterm, tasks.cancel_scope)
                await anyio.lowlevel.checkpoint()
                await work(engine)
    say("left")


def run() -> None:
    try:
        anyio.run(main, backend=BACKEND)
    except KeyboardInterrupt:
        say("KeyboardInterrupt")
        sys.exit(130)


run()
