from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import anyio

from stepwell import Context, Engine, Retry, SQLiteStorage, Workflow, activity, decision, fail, succeed, wait


@dataclass
class RefundRequest:
    order_id: str
    amount: int


@dataclass
class Order:
    total: int
    customer: str


@dataclass
class Approval:
    approved: bool


@dataclass
class Receipt:
    number: str
    amount: int


class CardDeclined(Exception):
    """Raised when the bank says no, for good."""


Ctx = Context[RefundRequest]


@activity(retry=Retry(max_attempts=3, backoff=5), timeout=30)
async def load_order(ctx: Ctx) -> Order:
    return Order(total=100, customer="ada")  # asks your order service


@decision
def route(ctx: Ctx) -> Literal["auto", "review", "deny"]:
    if ctx.input.amount > ctx.output(load_order).total:
        return "deny"
    return "auto" if ctx.input.amount < 50 else "review"


@wait(timeout=timedelta(days=7))
def approval(ctx: Ctx, signal: Approval) -> Literal["approved", "rejected"]:
    return "approved" if signal.approved else "rejected"


@activity(retry=5)
async def pay(ctx: Ctx) -> Receipt:
    return Receipt(number=ctx.idempotency_key, amount=ctx.input.amount)  # asks your bank, with this key


@succeed
def paid(ctx: Ctx) -> Receipt:
    return ctx.output(pay)


@fail
def denied(ctx: Ctx) -> str:
    return "refund denied"


refund = Workflow[RefundRequest, Receipt](
    "refund",
    version="1",
    start=load_order,
    edges=[
        load_order.then(route),
        route.to({"auto": pay, "review": approval, "deny": denied}),
        approval.to({"approved": pay, "rejected": denied}, timeout=denied),
        pay.then(paid, catch={CardDeclined: denied}),
    ],
)


async def main() -> None:
    async with SQLiteStorage("flows.db") as storage, Engine(storage, workflows=[refund]) as engine, engine.worker():
        execution = await engine.start(refund, RefundRequest("o-1", 80), id="refund:o-1")
        await execution.signal(approval, Approval(approved=True), signal_id="ada's yes")
        print(await execution.result())


if __name__ == "__main__":
    anyio.run(main)
