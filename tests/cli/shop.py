"""Workflows as a user has them, for `--app`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import anyio

from stepwell import Context, Retry, Workflow, activity, fail, subworkflow, succeed, wait

Ctx = Context[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    approved: bool


@activity
async def greet(ctx: Ctx) -> str:
    if ctx.input == "break":
        raise ValueError("red: \x1b[31m and\na second line")
    return f"hello \x1b[31m{ctx.input}"


@wait
def verdict(ctx: Ctx, signal: Verdict) -> Literal["yes", "no"]:
    return "yes" if signal.approved else "no"


@succeed
def done(ctx: Ctx) -> str:
    return ctx.output(greet)


@fail
def refused(ctx: Ctx) -> str:
    return "refused"


greeting = Workflow[str, str](
    "greeting",
    version="1",
    start=greet,
    edges=[greet.then(verdict), verdict.to({"yes": done, "no": refused})],
)


@activity(retry=Retry(max_attempts=2, backoff=timedelta(days=3), max_backoff=timedelta(days=3), jitter=0))
async def call(ctx: Ctx) -> str:
    if ctx.input == "busy":
        raise OSError("the line is busy")
    if ctx.input == "long":
        await anyio.sleep_forever()
    return ctx.input


@wait(timeout=timedelta(days=7))
def answer(ctx: Ctx, signal: str) -> Literal["heard"]:
    return "heard"


@succeed
def over(ctx: Ctx) -> str:
    return "over"


@fail
def unanswered(ctx: Ctx) -> str:
    return "nobody answered"


calling = Workflow[str, str](
    "calling",
    version="1",
    start=call,
    edges=[call.then(answer), answer.to({"heard": over}, timeout=unanswered)],
)


@subworkflow(calling)
def ring(ctx: Ctx) -> str:
    return ctx.input


inviting = Workflow[str, str](
    "inviting",
    version="1",
    start=ring,
    edges=[ring.to(succeeded=over, failed=unanswered, cancelled=unanswered)],
)

workflows = [greeting, calling, inviting]
other = "no workflow"
