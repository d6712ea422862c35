"""Correct uses of an engine and a handle, in which neither checker may find anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

import asyncpg

from stepwell import Context, Engine, Handle, activity
from tests.typing.clean_refund import approval, refund
from tests.typing.domain import Approval, Receipt, RefundRequest


async def typed(engine: Engine) -> None:
    handle = await engine.start(refund, RefundRequest("o-1", 80), id="refund:o-1", tags=["vip"], delay=5)
    assert_type(handle, Handle[Receipt])
    assert_type(await handle.result(), Receipt)
    await handle.signal(approval, Approval(True), signal_id="s-1")
    await engine.signal("refund:o-1", approval, Approval(True))


async def within(engine: Engine, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    handle = await engine.start(refund, RefundRequest("o-1", 80), connection=connection)
    assert_type(handle, Handle[Receipt])
    await engine.signal("refund:o-1", approval, Approval(True), connection=connection)
    await engine.signal("refund:o-1", "approval", connection=connection)


@activity(transactional=True)
async def book(ctx: Context[RefundRequest]) -> Receipt:
    await ctx.connection.execute("INSERT INTO receipts VALUES ($1)", ctx.execution_id)
    return Receipt(ctx.execution_id)


def booked(ctx: Context[RefundRequest]) -> None:
    assert_type(ctx.output(book), Receipt)


async def by_name(engine: Engine) -> None:
    handle = await engine.start("refund", {"order_id": "o-1", "amount": 80}, version="1")
    assert_type(handle, Handle[Any])
    await handle.signal("approval", {"approved": True})
    await engine.signal("refund:o-1", "approval")


async def kept_for_a_month(engine: Engine) -> None:
    assert_type(await engine.purge(older_than=timedelta(days=30)), int)
    assert_type(await engine.purge(older_than=3600, batch=100), int)
