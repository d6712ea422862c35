"""Correct uses, in which neither checker may find anything: all kinds of steps, async and plain."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Literal, assert_type

from stepwell import Context, Outcome, Retry, Workflow, activity, decision, fail, subworkflow, succeed, wait
from tests.typing.domain import Approval, CardDeclined, Order, Receipt, RefundRequest

Ctx = Context[RefundRequest]


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@activity(retry=Retry(max_attempts=3, backoff=5), timeout=30)
async def load_order(ctx: Ctx) -> Order:
    return Order(ctx.input.amount, "ada")


@activity
async def load_bare(ctx: Ctx) -> Order:
    return Order(ctx.input.amount, "ada")


@activity
def pay_bare(ctx: Ctx) -> Receipt:
    return Receipt(ctx.output(load_order).customer)


@activity(retry=5, timeout=None)
def pay(ctx: Ctx) -> Receipt:
    return Receipt(ctx.idempotency_key)


@activity
async def in_any_workflow(ctx: Context[object]) -> None:
    ctx.log.info("seen %s", ctx.execution_id)


@decision
def route(ctx: Ctx) -> Literal["auto", "review", "deny"]:
    order = ctx.output(load_order)
    return "deny" if ctx.input.amount > order.total else "auto"


@decision(retry=2)
async def size(ctx: Ctx) -> Size:
    return Size.SMALL if ctx.input.amount < 10 else Size.LARGE


@decision
def mood(ctx: Ctx) -> Mood:
    return Mood.GOOD if ctx.input.amount < 10 else Mood.BAD


@wait(timeout=timedelta(days=7))
def approval(ctx: Ctx, signal: Approval) -> Literal["approved", "rejected"]:
    return "approved" if signal.approved else "rejected"


@wait
async def approval_bare(ctx: Ctx, signal: Approval) -> Literal["approved", "rejected"]:
    return "approved" if signal.approved else "rejected"


@succeed
def paid(ctx: Ctx) -> Receipt:
    assert_type(ctx.output(approval), Approval)
    assert_type(ctx.output(pay, default=None), Receipt | None)
    return ctx.output(pay)


@fail
def denied(ctx: Ctx) -> str:
    return f"denied: {ctx.failure(pay).message}"


@fail(label="Declined")
async def declined(ctx: Context[object]) -> dict[str, int]:
    return {"attempt": ctx.attempt}


refund = Workflow[RefundRequest, Receipt](
    "refund",
    version="1",
    start=load_order,
    edges=[
        load_order.then(route),
        route.to({"auto": pay, "review": approval, "deny": denied}),
        approval.to({"approved": pay, "rejected": denied}, timeout=denied),
        pay.then(in_any_workflow, catch={CardDeclined: denied, Exception: declined}),
        in_any_workflow.then(paid),
    ],
)

by_enum = Workflow[RefundRequest, Receipt](
    "by_enum",
    version="1",
    start=in_any_workflow,
    edges=[
        in_any_workflow.then(size),
        size.to({Size.SMALL: pay, Size.LARGE: mood}),
        mood.to({Mood.GOOD: pay, Mood.BAD: denied}),
        pay.then(paid),
    ],
)


@subworkflow(refund)
def refund_first(ctx: Ctx) -> RefundRequest:
    return ctx.input


@subworkflow(refund, max_visits=2)
async def refund_again(ctx: Ctx) -> RefundRequest:
    return ctx.input


@succeed
def outcome(ctx: Ctx) -> Receipt | None:
    assert_type(ctx.output(refund_first), Outcome[Receipt])
    return ctx.output(refund_first).output


parent = Workflow[RefundRequest, Receipt | None](
    "parent",
    version="1",
    start=refund_first,
    edges=[
        refund_first.to(succeeded=outcome, failed=refund_again, cancelled=denied),
        refund_again.to(succeeded=outcome, failed=denied, cancelled=denied),
    ],
)


async def direct_calls() -> None:
    context = Context(RefundRequest("o-1", 80), outputs={load_order: Order(90, "ada")})
    assert_type(await load_order(context), Order)
    assert_type(await load_bare(context), Order)
    assert_type(pay(context), Receipt)
    assert_type(pay_bare(context), Receipt)
    assert_type(await approval_bare(context, Approval(True)), Literal["approved", "rejected"])
    assert_type(await refund_again(context), RefundRequest)
    print(route(context), await size(context), approval(context, Approval(True)), denied(context))


def from_plain_code() -> Order:
    return asyncio.run(load_order(Context(RefundRequest("o-1", 80))))
