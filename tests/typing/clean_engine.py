"""Correct uses of an engine and a handle, in which neither checker may find anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from stepwell import Engine, Handle
from tests.typing.clean_refund import approval, refund
from tests.typing.domain import Approval, Receipt, RefundRequest


async def typed(engine: Engine) -> None:
    handle = await engine.start(refund, RefundRequest("o-1", 80), id="refund:o-1", tags=["vip"], delay=5)
    assert_type(handle, Handle[Receipt])
    assert_type(await handle.result(), Receipt)
    await handle.signal(approval, Approval(True), signal_id="s-1")
    await engine.signal("refund:o-1", approval, Approval(True))


async def by_name(engine: Engine) -> None:
    handle = await engine.start("refund", {"order_id": "o-1", "amount": 80}, version="1")
    assert_type(handle, Handle[Any])
    await handle.signal("approval", {"approved": True})
    await engine.signal("refund:o-1", "approval")


async def kept_for_a_month(engine: Engine) -> None:
    assert_type(await engine.purge(older_than=timedelta(days=30)), int)
    assert_type(await engine.purge(older_than=3600, batch=100), int)
