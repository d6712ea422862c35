"""One deliberate mistake on each marked line; both checkers must flag these lines and no others."""

from __future__ import annotations

from stepwell import Engine, Handle, activity
from tests.typing.clean_refund import approval, pay, refund
from tests.typing.domain import Approval, Order, Other, Receipt, RefundRequest


async def starts(engine: Engine) -> None:
    await engine.start(refund, Other(1))  # E: wrong workflow input
    await engine.start(refund, RefundRequest("o-1", "80"))  # E: wrong field type
    await engine.start(refund)  # E: no input
    await engine.start(refund, RefundRequest("o-1", 80), delay="5m")  # E: a delay is seconds or a timedelta
    await engine.start(refund, RefundRequest("o-1", 80), key="o-1")  # E: misspelt option


async def within(engine: Engine, connection: object) -> None:
    await engine.start(refund, Other(1), connection=connection)  # E: wrong workflow input
    await engine.signal("refund:o-1", approval, "yes", connection=connection)  # E: wrong signal payload
    await engine.start(refund, RefundRequest("o-1", 80), transaction=connection)  # E: misspelt option
    activity(transactional="yes")  # E: transactional is a bool


async def results(handle: Handle[Receipt]) -> None:
    receipt = await handle.result()
    receipt.amount  # E: a receipt has no amount
    order: Order = await handle.result()  # E: wrong result type
    print(order)


async def result_of_a_start(engine: Engine) -> None:
    handle = await engine.start(refund, RefundRequest("o-1", 80))
    order: Order = await handle.result()  # E: wrong result type
    print(order)


async def signals(engine: Engine, handle: Handle[Receipt]) -> None:
    await engine.signal("refund:o-1", approval, "yes")  # E: wrong signal payload
    await engine.signal("refund:o-1", pay, Approval(True))  # E: an activity takes no signal
    await handle.signal(approval, Receipt("1"))  # E: wrong signal payload
    await handle.signal(approval)  # E: no payload
