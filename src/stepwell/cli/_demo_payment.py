"""The payment of `stepwell demo`: the card is declined, and the step's `catch` leads to another end than planned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from stepwell import Context, Retry, Workflow, activity, succeed
from stepwell.cli._demo_shop import (
    CardDeclined,
    Order,
    authorise,
    book,
    find_order,
    hold_order,
    money,
    reserve_goods,
    send_message,
)

__all__ = ["Payment", "PaymentRequest", "charge", "payment"]

_STAGED_FAILURES: Final = 1


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What to pay: an order's total, by *card*, which is a token of the bank's. *shop* is the shop's file."""

    shop: str
    order: str
    card: str
    pause: float
    """seconds that the bank takes, so that there is something to see"""


@dataclass(frozen=True, slots=True)
class Payment:
    """How it ended; *state* is the order's."""

    order: str
    state: str
    reason: str = ""


class BankUnreachable(Exception):
    """Raised on purpose, to show that one error is tried again and another is not."""


Ctx = Context[PaymentRequest]


@activity(timeout=10, label="Reserve the goods")
def reserve(ctx: Ctx) -> Order:
    """Lay the goods aside. A plain function like this one runs in a thread, so that it may block."""
    order = find_order(Path(ctx.input.shop), ctx.input.order)
    reserve_goods(Path(ctx.input.shop), order, key=ctx.idempotency_key)
    return order


@activity(retry=Retry(max_attempts=5, backoff=0.5, give_up_on=(CardDeclined,)), timeout=10, label="Charge the card")
async def charge(ctx: Ctx) -> None:
    """Take the money. A bank that can't be reached is asked again; a card that was declined is not."""
    await anyio.sleep(ctx.input.pause)
    if ctx.attempt <= _STAGED_FAILURES:
        raise BankUnreachable("no answer; this is staged, the first attempt fails on purpose")
    authorise(ctx.input.card)
    await to_thread.run_sync(partial(book, Path(ctx.input.shop), ctx.output(reserve), key=ctx.idempotency_key))


@succeed(label="Paid")
def paid(ctx: Ctx) -> Payment:
    """End as planned."""
    return Payment(ctx.input.order, "paid")


@activity(retry=3, timeout=10, label="Tell the customer")
def notify(ctx: Ctx) -> None:
    """Write to the customer why the order waits."""
    order, why = ctx.output(reserve), ctx.failure(charge).message
    text = f"Your card was declined ({why}). We keep order {order.number} over {money(order.total)} for you."
    send_message(Path(ctx.input.shop), order.customer, text, key=ctx.idempotency_key)


@activity(timeout=10, label="Hold the order")
def hold(ctx: Ctx) -> None:
    """Keep the order until it is paid some other way."""
    hold_order(Path(ctx.input.shop), ctx.output(reserve))


@succeed(label="On hold")
def on_hold(ctx: Ctx) -> Payment:
    """End with the order on hold, and why."""
    return Payment(ctx.input.order, "on hold", ctx.failure(charge).message)


payment = Workflow[PaymentRequest, Payment](
    "payment",
    version="1",
    start=reserve,
    edges=[
        reserve.then(charge),
        charge.then(paid, catch={CardDeclined: notify}),
        notify.then(hold),
        hold.then(on_hold),
    ],
)
