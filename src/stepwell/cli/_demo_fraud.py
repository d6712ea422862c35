"""The fraud check of `stepwell demo`: a workflow of its own, which the refund runs as a subworkflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import anyio
from anyio import to_thread

from stepwell import Context, Workflow, activity, decision, fail, succeed
from stepwell.cli._demo_shop import CustomerHistory, history_of

__all__ = ["FraudQuery", "fraud_check"]

_REFUNDS_ALLOWED: Final = 0.9
"""share of a customer's orders that may have been refunded before"""


@dataclass(frozen=True, slots=True)
class FraudQuery:
    """Whom to look at; *shop* is the shop's file."""

    shop: str
    customer: str
    pause: float
    """seconds, so that there is something to see"""


Ctx = Context[FraudQuery]


@activity(timeout=10, label="Look up the customer")
async def history(ctx: Ctx) -> CustomerHistory:
    """Count what the customer did before."""
    await anyio.sleep(ctx.input.pause)
    return await to_thread.run_sync(history_of, Path(ctx.input.shop), ctx.input.customer)


@decision(label="Usual?")
def verdict(ctx: Ctx) -> Literal["usual", "unusual"]:
    """Look whether the customer has nearly everything refunded."""
    known = ctx.output(history)
    return "unusual" if known.refunds > 2 and known.refunds > known.orders * _REFUNDS_ALLOWED else "usual"


@succeed(label="Clear")
def clear(ctx: Ctx) -> CustomerHistory:
    """End with what was found."""
    return ctx.output(history)


@fail(label="Suspicious")
def suspicious(ctx: Ctx) -> str:
    """End with a reason against it."""
    known = ctx.output(history)
    return f"{known.refunds} of {known.orders} orders of {ctx.input.customer} were refunded before"


fraud_check = Workflow[FraudQuery, CustomerHistory](
    "fraud_check",
    version="1",
    start=history,
    edges=[
        history.then(verdict),
        verdict.to({"usual": clear, "unusual": suspicious}),
    ],
)
