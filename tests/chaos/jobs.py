"""One workflow whose second step does what its input says: hold, take its process down, block, run out of memory, …

What a step does is told on the standard output, one line each: `<word> <execution> <attempt>`, often with the seconds
of the machine's monotonic clock.
"""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from anyio import CancelScope

from stepwell import Context, Workflow, activity, fail, succeed

__all__ = ["JOBS", "Job", "say"]


@dataclass
class Job:
    """What the step does at its first attempts; after them it just returns."""

    what: str = "nothing"
    attempts: int = 1
    """how many attempts do it"""
    file: str = ""
    """the file that it waits for"""
    seconds: float = 0.0


Ctx = Context[Job]


def say(*words: object) -> None:
    sys.stdout.write(f"{' '.join(map(str, words))}\n")
    sys.stdout.flush()


async def hold(ctx: Ctx) -> None:
    """Tick until cancelled."""
    try:
        while True:
            await anyio.sleep(0.05)
            say("tick", ctx.execution_id, ctx.attempt, time.monotonic())
    finally:
        say("cancelled", ctx.execution_id, ctx.attempt, time.monotonic())


async def until_file(ctx: Ctx) -> None:
    while not Path(ctx.input.file).exists():  # noqa: ASYNC110, ASYNC240 (a test in another process makes it)
        await anyio.sleep(0.02)


async def shielded(ctx: Ctx) -> None:
    """Go on whatever happens, as a thread would, and so end with a result that comes too late."""
    with CancelScope(shield=True):
        await until_file(ctx)
    say("late", ctx.execution_id, ctx.attempt)


async def exit_process(ctx: Ctx) -> None:
    os._exit(3)


async def swallow(ctx: Ctx) -> None:
    """Never let a cancellation through."""
    while True:
        with suppress(BaseException):
            await anyio.sleep_forever()


async def block(ctx: Ctx) -> None:
    time.sleep(ctx.input.seconds)  # noqa: ASYNC251 (the loop is to stand still)


async def hold_gil(ctx: Ctx) -> None:
    """Keep the interpreter: a search that goes back and forth gives it to nobody."""
    end = time.monotonic() + ctx.input.seconds
    while time.monotonic() < end:
        re.match(r"(a+)+$", f"{'a' * 24}b")


async def eat_memory(ctx: Ctx) -> None:
    """Take what there is, page by page, until the kernel ends the process."""
    eaten: list[bytearray] = []
    while True:
        eaten.append(bytearray(b"x" * 4_000_000))


async def want_memory(ctx: Ctx) -> None:
    """Ask for more than there can be, which Python tells."""
    bytearray(2**40)


async def take_files(ctx: Ctx) -> None:
    """Open files until there are no more to be had, and keep them for a while."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        while len(taken) <= soft:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        say("taken", ctx.execution_id, ctx.attempt, error.errno)
        await until_file(ctx)
    finally:
        for one in taken:
            os.close(one)


DEEDS: Final[dict[str, Callable[[Ctx], Awaitable[None]]]] = {
    "hold": hold,
    "until_file": until_file,
    "shielded": shielded,
    "exit": exit_process,
    "swallow": swallow,
    "block": block,
    "hold_gil": hold_gil,
    "eat_memory": eat_memory,
    "want_memory": want_memory,
    "take_files": take_files,
}


@activity
async def first(ctx: Ctx) -> int:
    return 1


@activity(timeout=None, retry=2)
async def act(ctx: Ctx) -> str:
    say("begin", ctx.execution_id, ctx.attempt, time.monotonic())
    deed = DEEDS.get(ctx.input.what)
    if deed is not None and ctx.attempt <= ctx.input.attempts:
        await deed(ctx)
    return f"by attempt {ctx.attempt}"


@succeed
def done(ctx: Ctx) -> str:
    return f"{ctx.output(first)} {ctx.output(act)}"


@fail
def exhausted(ctx: Ctx) -> str:
    return f"{ctx.failure(act).type}"


JOBS = Workflow[Job, str](
    "jobs", version="1", start=first, edges=[first.then(act), act.then(done, catch={MemoryError: exhausted})]
)
