"""The smallest workflow that does something."""

from __future__ import annotations

from stepwell import Context, Workflow, activity, succeed

__all__ = ["once"]


@activity
async def greet(ctx: Context[str]) -> str:
    return f"hello {ctx.input}"


@succeed
def greeted(ctx: Context[str]) -> str:
    return ctx.output(greet)


once = Workflow[str, str]("once", version="1", start=greet, edges=[greet.then(greeted)])
