"""The workflows of the soak, and how each of its executions must end, whatever happens to those who run it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

import anyio

from stepwell import (
    Context,
    Outcome,
    Retry,
    Status,
    Workflow,
    activity,
    decision,
    fail,
    subworkflow,
    succeed,
    wait,
)

__all__ = ["KINDS", "MIXTURE", "Kind", "kind_of"]

Ctx = Context[int]
PATIENT: Final = Retry(5, backoff=0.05, max_backoff=0.2)


class Declined(Exception):
    """What a step raises that is to fail for good."""


# -- a chain: three activities -------------------------------------------------------------------------------------


@activity
async def one(ctx: Ctx) -> int:
    return ctx.input + 1


@activity
def two(ctx: Ctx) -> int:
    """Run in a thread."""
    return ctx.output(one) + 1


@activity
async def three(ctx: Ctx) -> int:
    await anyio.sleep(0.01)
    return ctx.output(two) + 1


@succeed
def chained(ctx: Ctx) -> int:
    return ctx.output(three)


chain = Workflow[int, int]("chain", version="1", start=one, edges=[one.then(two), two.then(three), three.then(chained)])

# -- one that needs three tries, and one for which no number of them is enough -------------------------------------


@activity(retry=PATIENT)
async def waver(ctx: Ctx) -> str:
    if ctx.attempt < 3:
        raise ConnectionError("not yet")
    return "at last"


@succeed
def wavered(ctx: Ctx) -> str:
    return ctx.output(waver)


wavering = Workflow[int, str]("wavering", version="1", start=waver, edges=[waver.then(wavered)])


@activity(retry=Retry(5, backoff=0.05, give_up_on=(Declined,)))
async def charge(ctx: Ctx) -> int:
    raise Declined("no money")


@succeed
def charged(ctx: Ctx) -> int:
    return ctx.output(charge)


@fail
def declined(ctx: Ctx) -> str:
    return "declined"


failing = Workflow[int, int](
    "failing", version="1", start=charge, edges=[charge.then(charged, catch={Declined: declined})]
)

# -- waits: one for a signal, one that nobody answers --------------------------------------------------------------


@activity
async def prepare(ctx: Ctx) -> int:
    return ctx.input


@wait
def gate(ctx: Ctx, signal: int) -> Literal["go"]:
    return "go"


@succeed
def gone(ctx: Ctx) -> str:
    return "gone"


waiting = Workflow[int, str]("waiting", version="1", start=prepare, edges=[prepare.then(gate), gate.to({"go": gone})])


@wait(timeout=0.3)
def silence(ctx: Ctx, signal: int) -> Literal["go"]:
    return "go"


@succeed
def late(ctx: Ctx) -> str:
    return "late"


unanswered = Workflow[int, str](
    "unanswered", version="1", start=silence, edges=[silence.to({"go": gone}, timeout=late)]
)

# -- a parent with a child that has one, too -----------------------------------------------------------------------


@subworkflow(chain)
def inner(ctx: Ctx) -> int:
    return ctx.input


@succeed
def well(ctx: Ctx) -> str:
    return f"{outcome_of(ctx)}"


@fail
def badly(ctx: Ctx) -> str:
    return "badly"


def outcome_of(ctx: Ctx) -> Any:
    outcome: Outcome[int] = ctx.output(inner)
    return outcome.output


middle = Workflow[int, str](
    "middle", version="1", start=inner, edges=[inner.to(succeeded=well, failed=badly, cancelled=badly)]
)


@subworkflow(middle)
def middling(ctx: Ctx) -> int:
    return ctx.input


@succeed
def ended_well(ctx: Ctx) -> str:
    outcome: Outcome[str] = ctx.output(middling)
    return f"my child's child said {outcome.output}"


family = Workflow[int, str](
    "family", version="1", start=middling, edges=[middling.to(succeeded=ended_well, failed=badly, cancelled=badly)]
)

# -- a loop --------------------------------------------------------------------------------------------------------


@activity(max_visits=4)
async def turn(ctx: Ctx) -> int:
    return ctx.visit


@decision(max_visits=4)
def again(ctx: Ctx) -> Literal["more", "enough"]:
    return "more" if ctx.output(turn) < 4 else "enough"


@succeed
def turned(ctx: Ctx) -> int:
    return ctx.output(turn)


loop = Workflow[int, int](
    "loop", version="1", start=turn, edges=[turn.then(again), again.to({"more": turn, "enough": turned})]
)

# -- steps that take long, take their process down, or stop its loop: at their first attempt -----------------------


@activity(timeout=60, retry=3)
async def dawdle(ctx: Ctx) -> str:
    await anyio.sleep(0.5 + ctx.input % 20 / 10)
    return "slowly"


@succeed
def dawdled(ctx: Ctx) -> str:
    return ctx.output(dawdle)


slow = Workflow[int, str]("slow", version="1", start=dawdle, edges=[dawdle.then(dawdled)])


@activity(retry=3)
async def poison(ctx: Ctx) -> str:
    if ctx.attempt == 1:
        os._exit(7)
    return "survived"


@succeed
def survived(ctx: Ctx) -> str:
    return ctx.output(poison)


poisoned = Workflow[int, str]("poisoned", version="1", start=poison, edges=[poison.then(survived)])


@activity(timeout=1, retry=3)
async def block(ctx: Ctx) -> str:
    if ctx.attempt == 1:
        time.sleep(2.5)  # noqa: ASYNC251 (the loop is to stand still)
    return "blocked"


@succeed
def unblocked(ctx: Ctx) -> str:
    return ctx.output(block)


blocked = Workflow[int, str]("blocked", version="1", start=block, edges=[block.then(unblocked)])

Deed = Literal["nothing", "signal", "cancel", "pause"]


@dataclass(frozen=True)
class Kind:
    """A kind of execution: what is started, what a client then does to it, and how it must have ended."""

    workflow: Workflow[int, Any]
    share: int
    """how many of a thousand"""
    deed: Deed = "nothing"
    status: Status = Status.SUCCEEDED
    output: Any = None
    """None where it follows from the input"""

    def expected(self, number: int) -> Any:
        """Return what an execution with this input must end with."""
        if self.workflow is chain:
            return number + 3
        return f"my child's child said {number + 3}" if self.workflow is family else self.output


KINDS: Final[dict[str, Kind]] = {
    "chain": Kind(chain, 400),
    "wavering": Kind(wavering, 100, output="at last"),
    "failing": Kind(failing, 60, status=Status.FAILED, output="declined"),
    "waiting": Kind(waiting, 150, deed="signal", output="gone"),
    "unanswered": Kind(unanswered, 60, output="late"),
    "family": Kind(family, 80, output=""),
    "loop": Kind(loop, 80, output=4),
    "slow": Kind(slow, 30, output="slowly"),
    "cancelled": Kind(slow, 20, deed="cancel", status=Status.CANCELLED),
    "paused": Kind(slow, 19, deed="pause", output="slowly"),
    "poisoned": Kind(poisoned, 0, output="survived"),
    "blocked": Kind(blocked, 0, output="blocked"),
}
"""Of those without a share the soak starts a few, spread over its length."""

MIXTURE: Final[tuple[Workflow[int, Any], ...]] = tuple(
    {kind.workflow.name: kind.workflow for kind in KINDS.values()}.values()
)


def kind_of(id: str) -> Kind:
    """Return the kind of the execution with this id: `<kind> <number>`."""
    return KINDS[id.partition(" ")[0]]
