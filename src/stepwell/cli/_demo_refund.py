"""The refund of `stepwell demo`: checked for fraud by a subworkflow, and above a limit approved by a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from stepwell import Context, Retry, Workflow, activity, decision, fail, subworkflow, succeed, wait
from stepwell.cli._demo_fraud import FraudQuery, fraud_check
from stepwell.cli._demo_shop import Order, find_order, money, pay_out

__all__ = ["Receipt", "RefundRequest", "Review", "load_order", "refund", "review"]

_REVIEW_ABOVE: Final = 50_00
"""cents: up to this, nobody is asked"""


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """What to pay back: *amount* cents of an order. *shop* is the shop's file."""

    shop: str
    order: str
    amount: int
    pause: float
    """seconds that the fraud check takes, so that there is something to see"""


@dataclass(frozen=True, slots=True)
class Review:
    """A person's answer."""

    approved: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was paid back; *number* is the key under which it was paid."""

    number: str
    customer: str
    amount: int


Ctx = Context[RefundRequest]


@activity(retry=Retry(max_attempts=3, backoff=0.5), timeout=10, label="Load the order")
def load_order(ctx: Ctx) -> Order:
    """Look the order up. A plain function like this one runs in a thread, so that it may block."""
    return find_order(Path(ctx.input.shop), ctx.input.order)


@subworkflow(fraud_check, label="Check for fraud")
def screen(ctx: Ctx) -> FraudQuery:
    """Have the customer looked at by another workflow; this one goes on when that has ended."""
    return FraudQuery(ctx.input.shop, ctx.output(load_order).customer, ctx.input.pause)


@decision(label="How much?")
def route(ctx: Ctx) -> Literal["auto", "review", "deny"]:
    """Refuse more than was paid, and have larger sums looked at."""
    if ctx.input.amount > ctx.output(load_order).total:
        return "deny"
    return "auto" if ctx.input.amount <= _REVIEW_ABOVE else "review"


@wait(timeout=timedelta(days=7), label="Review the refund")
def review(ctx: Ctx, signal: Review) -> Literal["approved", "rejected"]:
    """Wait until a person has decided, for a week at most."""
    return "approved" if signal.approved else "rejected"


@activity(retry=Retry(max_attempts=5, backoff=0.5), timeout=10, label="Pay back")
def pay_back(ctx: Ctx) -> Receipt:
    """Pay. The key is the same for every attempt: if this process is killed after it paid, the next one won't again."""
    order, amount, key = ctx.output(load_order), ctx.input.amount, ctx.idempotency_key
    pay_out(Path(ctx.input.shop), order, amount, key=key)
    return Receipt(key, order.customer, amount)


@succeed(label="Refunded")
def refunded(ctx: Ctx) -> Receipt:
    """End with the receipt."""
    return ctx.output(pay_back)


@fail(label="Denied")
def denied(ctx: Ctx) -> str:
    """End without having paid anything."""
    return f"the refund of {money(ctx.input.amount)} was denied; nothing was paid"


@fail(label="Expired")
def expired(ctx: Ctx) -> str:
    """End because nobody looked."""
    return f"nobody looked at the refund of {money(ctx.input.amount)} within a week; nothing was paid"


refund = Workflow[RefundRequest, Receipt](
    "refund",
    version="1",
    start=load_order,
    edges=[
        load_order.then(screen),
        screen.to(succeeded=route, failed=denied, cancelled=denied),
        route.to({"auto": pay_back, "review": review, "deny": denied}),
        review.to({"approved": pay_back, "rejected": denied}, timeout=expired),
        pay_back.then(refunded),
    ],
)
