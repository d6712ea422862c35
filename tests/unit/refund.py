"""The workflow of a refund, which tests of definitions take as it is or change in one thing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Any, Literal

from stepwell._context import Context
from stepwell._definition import Workflow, activity, decision, fail, succeed, wait

__all__ = [
    "REFUND_EDGES",
    "CardDeclinedError",
    "Colour",
    "Ctx",
    "Number",
    "Order",
    "Request",
    "approval",
    "denied",
    "load",
    "paid",
    "pay",
    "refund",
    "route",
]

Ctx = Context[Any]


@dataclass(frozen=True)
class Request:
    amount: int


@dataclass(frozen=True)
class Order:
    total: int


class CardDeclinedError(Exception):
    pass


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Number(Enum):
    ONE = 1
    TWO = 2


@activity
async def load(ctx: Ctx) -> Order:
    return Order(ctx.input.amount)


@decision
def route(ctx: Ctx) -> Literal["auto", "review"]:
    return "auto"


@wait(timeout=timedelta(days=7))
def approval(ctx: Ctx, signal: Order) -> Literal["yes", "no"]:
    return "yes" if signal.total else "no"


@activity
def pay(ctx: Ctx) -> int:
    return ctx.output(load).total


@succeed
def paid(ctx: Ctx) -> int:
    return ctx.output(pay)


@fail
def denied(ctx: Ctx) -> str:
    return "denied"


REFUND_EDGES = [
    load.then(route),
    route.to({"auto": pay, "review": approval}),
    approval.to({"yes": pay, "no": denied}, timeout=denied),
    pay.then(paid, catch={CardDeclinedError: denied}),
]


def refund(**options: Any) -> Workflow[Request, int]:
    given: dict[str, Any] = {
        "version": "1",
        "start": load,
        "edges": REFUND_EDGES,
    }
    return Workflow[Request, int]("refund", **{**given, **options})
