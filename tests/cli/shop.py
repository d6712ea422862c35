"""Workflows as a user has them, for `--app`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepwell import Context, Workflow, activity, fail, succeed, wait

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
workflows = [greeting]
other = "no workflow"
