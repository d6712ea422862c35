"""One deliberate mistake on each marked line; both checkers must flag these lines and no others."""

from __future__ import annotations

from typing import Literal

from stepwell import Context, Workflow, activity, decision, subworkflow, succeed, wait
from tests.typing.clean_refund import approval, denied, load_order, paid, pay, refund, route
from tests.typing.domain import Approval, CardDeclined, Order, Other, Receipt, RefundRequest


Ctx = Context[RefundRequest]


@activity
async def foreign(ctx: Context[Other]) -> int:
    return ctx.input.x


@succeed
def wrong_result(ctx: Ctx) -> int:
    return ctx.attempt


@decision
def two_way(ctx: Ctx) -> Literal["a", "b"]:
    return "a"


def undecorated(ctx: Ctx) -> Receipt:
    return Receipt(ctx.step)


def upstream(ctx: Ctx) -> None:
    receipt: Receipt = ctx.output(load_order)  # E: wrong upstream type
    order: Order = ctx.output(load_order)
    signal: Receipt = ctx.output(approval)  # E: wrong type of a wait's signal
    ctx.output(route)  # E: a decision has no output
    ctx.output(undecorated)  # E: not a step
    ctx.input.amuont  # E: misspelt input field
    ctx.input = RefundRequest("o-2", 1)  # E: a context is read-only
    print(receipt, order, signal)


load_order.then("route")  # E: a name in place of a step
load_order.then(undecorated)  # E: a plain function in place of a step
load_order.to({"next": route})  # E: an activity has no routes
paid.then(pay)  # E: a terminal step has no edges
route.to({"auto": pay, "review": approval, "dney": denied})  # E: misspelt route
approval.to({"approved": pay, "rejectd": denied}, timeout=denied)  # E: misspelt route of a wait
approval.to({"approved": pay, "rejected": denied}, timeout="denied")  # E: a name in place of a step
pay.then(paid, catch={"CardDeclined": denied})  # E: a name in place of an exception
pay.then(paid, catch={CardDeclined: undecorated})  # E: a plain function in place of a step

Workflow[RefundRequest, Receipt]("b1", version="1", start=load_order, edges=[load_order.then(foreign)])  # E: foreign step
Workflow[RefundRequest, Receipt]("b2", version="1", start=load_order, edges=[load_order.then(wrong_result)])  # E: result
Workflow[Other, Receipt]("b3", version="1", start=load_order, edges=[])  # E: start of another input
Workflow[RefundRequest, Receipt]("b4", version="1", start=load_order, edges=[foreign.then(paid)])  # E: foreign source
Workflow[RefundRequest, Receipt]("b5", version="1", start=pay, edges=[pay.then(paid, catch={OSError: foreign})])  # E: catch
Workflow[RefundRequest, Receipt]("b6", version=1, start=paid, edges=[])  # E: version is a string
Workflow[RefundRequest, Receipt]("b7", version="1", start=paid, edges=[paid])  # E: a step in place of its edges
Workflow[RefundRequest, Receipt]("b8", version="1", start=two_way, edges=[two_way.to({"a": paid, "b": foreign})])  # E: foreign


@activity(retries=3)  # E: misspelt option
async def misspelt(ctx: Ctx) -> None: ...


@activity(retry="3")  # E: retry is a number or a Retry
async def retried(ctx: Ctx) -> None: ...


@wait(timeout="7d")  # E: a timeout is seconds or a timedelta
def slow(ctx: Ctx, signal: Approval) -> Literal["ok"]:
    return "ok"


@decision  # E: a route is a string or an Enum member
def numbered(ctx: Ctx) -> int:
    return 1


@decision  # E: a route can't be None
def nothing(ctx: Ctx) -> Literal["a"] | None:
    return None


@wait  # E: a wait takes the signal too
def deaf(ctx: Ctx) -> Literal["ok"]:
    return "ok"


@activity  # E: nothing provides `key`
async def needy(ctx: Ctx, key: str) -> None: ...


@subworkflow(refund)  # E: wrong child input
def wrong_child_input(ctx: Ctx) -> str:
    return ctx.step


@subworkflow  # E: subworkflow takes the child
def childless(ctx: Ctx) -> RefundRequest:
    return ctx.input


@subworkflow(refund)
def child(ctx: Ctx) -> RefundRequest:
    return ctx.input


child.to(succeeded=paid, failed=denied)  # E: missing child route
child.to(succeeded=paid, failed=denied, canceled=denied)  # E: misspelt child route
child.then(paid)  # E: a subworkflow has a route for each end


def child_output(ctx: Ctx) -> str:
    receipt: Receipt = ctx.output(child)  # E: the output is the child's outcome
    return receipt.number


async def direct_calls() -> None:
    context = Context(RefundRequest("o-1", 80))
    route(Context(Other(1)))  # E: wrong context
    await load_order(Context(Other(1)))  # E: wrong context
    approval(context, Receipt("1"))  # E: wrong signal
    approval(context)  # E: no signal
    await pay(context)  # E: a plain function's result can't be awaited
    order: Order = load_order(context)  # E: an async function's result must be awaited
    receipt: Receipt = await load_order(context)  # E: wrong result
    print(order, receipt)
