"""The demo's workflows by themselves: every way that a refund and a payment can go."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest

from stepwell import Engine, Execution, Handle, MemoryStorage, Status
from stepwell.cli._demo_fraud import FraudQuery, fraud_check
from stepwell.cli._demo_payment import PaymentRequest, charge, payment
from stepwell.cli._demo_refund import RefundRequest, Review, refund, review
from stepwell.cli._demo_shop import (
    DECLINED_CARD,
    Order,
    book,
    find_order,
    money,
    pay_out,
    place_order,
    reserve_goods,
    send_message,
)
from stepwell.cli._demo_workflow import DEMO_WORKFLOWS

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]  # plain functions run in threads

DAY = 86_400.0


@dataclass
class Shop:
    path: Path
    engine: Engine
    now: list[float] = field(default_factory=lambda: [1_000_000.0])

    async def refunded(self, amount: int, order: str = "A-1") -> Handle[Any]:
        """Start a refund and let it go as far as it can."""
        handle = await self.engine.start(refund, RefundRequest(str(self.path), order, amount, 0.0))
        await self.engine.run_until_idle()
        return handle

    async def paid(self, card: str) -> Execution:
        handle = await self.engine.start(payment, PaymentRequest(str(self.path), "B-1", card, 0.0))
        await self.engine.run_until_idle()
        self.now[0] += 60  # beyond the delay before the second attempt
        await self.engine.run_until_idle()
        return await handle.get()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(connect(self.path)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncGenerator[Shop]:
    async with opened(tmp_path / "shop.db") as made:
        yield made


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[Shop]:
    place_order(path, "A-1", "Ada", 90_00)
    place_order(path, "B-1", "Grace", 42_50)
    now = [1_000_000.0]
    async with MemoryStorage(clock=lambda: now[0]) as storage, Engine(storage, workflows=DEMO_WORKFLOWS) as engine:
        yield Shop(path, engine, now)


async def test_a_small_refund_asks_nobody(shop: Shop) -> None:
    handle = await shop.refunded(50_00)
    receipt = await handle.result()
    assert (receipt.customer, receipt.amount, receipt.number) == ("Ada", 5000, f"{handle.id}:pay_back")
    assert "review" not in (await handle.get()).steps
    assert find_order(shop.path, "A-1").state == "refunded"


@pytest.mark.parametrize(
    ("answer", "status", "paid"),
    [(Review(approved=True), Status.SUCCEEDED, 1), (Review(approved=False), Status.FAILED, 0)],
)
async def test_a_large_refund_waits_for_a_person(shop: Shop, answer: Review, status: Status, paid: int) -> None:
    handle = await shop.refunded(50_01)
    assert (await handle.get()).current_step == review.name
    await handle.signal(review, answer)
    await shop.engine.run_until_idle()
    assert (await handle.get()).status is status
    assert len(shop.rows("SELECT * FROM payouts")) == paid


async def test_a_refund_that_nobody_looks_at_expires_after_a_week(shop: Shop) -> None:
    handle = await shop.refunded(80_00)
    shop.now[0] += 6.9 * DAY
    await shop.engine.run_until_idle()
    assert (await handle.get()).status is Status.SUSPENDED
    shop.now[0] += 0.2 * DAY
    await shop.engine.run_until_idle()
    execution = await handle.get()
    assert (execution.status, execution.failed_step) == (Status.FAILED, "expired")
    assert "within a week" in execution.error
    assert shop.rows("SELECT * FROM payouts") == []


async def test_more_than_was_paid_is_denied(shop: Shop) -> None:
    execution = await (await shop.refunded(90_01)).get()
    assert (execution.failed_step, execution.steps["route"].route) == ("denied", "deny")


async def test_an_order_that_does_not_exist_fails_the_refund(shop: Shop) -> None:
    handle = await shop.refunded(10_00, order="A-99")
    assert (await handle.get()).status is Status.WAITING
    shop.now[0] += 600
    await shop.engine.run_until_idle()
    shop.now[0] += 600
    await shop.engine.run_until_idle()
    execution = await handle.get()
    assert (execution.status, execution.failed_step) == (Status.FAILED, "load_order")


async def test_a_customer_who_has_nearly_everything_refunded_is_found_by_the_fraud_check(shop: Shop) -> None:
    for number in range(3):
        place_order(shop.path, f"C-{number}", "Mallory", 10_00)
        pay_out(shop.path, find_order(shop.path, f"C-{number}"), 10_00, key=f"C-{number}")
    check = await shop.engine.start(fraud_check, FraudQuery(str(shop.path), "Mallory", 0.0))
    await shop.engine.run_until_idle()
    assert (await check.get()).error == "3 of 3 orders of Mallory were refunded before"
    execution = await (await shop.refunded(5_00, order="C-0")).get()
    assert (execution.steps["screen"].route, execution.failed_step) == ("failed", "denied")


async def test_a_card_that_is_declined_is_not_asked_again_and_its_order_is_held(shop: Shop) -> None:
    execution = await shop.paid(DECLINED_CARD)
    assert execution.status is Status.SUCCEEDED
    assert list(execution.steps) == ["reserve", "charge", "notify", "hold", "on_hold"]
    charged = execution.steps[charge.name]
    assert (charged.attempts, charged.route) == (2, "catch:CardDeclined")
    assert execution.output == {"order": "B-1", "state": "on hold", "reason": "insufficient funds"}
    assert find_order(shop.path, "B-1").state == "on hold"
    ((text,),) = shop.rows("SELECT text FROM messages")
    assert "declined (insufficient funds)" in text
    assert shop.rows("SELECT * FROM bookings") == []


async def test_a_good_card_is_charged_once(shop: Shop) -> None:
    execution = await shop.paid("card-of-grace")
    assert execution.output == {"order": "B-1", "state": "paid", "reason": ""}
    assert shop.rows("SELECT idempotency_key, amount FROM bookings") == [(f"{execution.id}:charge", 4250)]


def test_whoever_asks_twice_with_one_key_is_served_once(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    place_order(path, "A-1", "Ada", 90_00)
    place_order(path, "A-1", "Mallory", 1)
    order = Order("A-1", "Ada", 90_00, "placed")
    assert find_order(path, "A-1") == order
    for _ in range(2):
        pay_out(path, order, 80_00, key="one")
        book(path, order, key="one")
        reserve_goods(path, order, key="one")
        send_message(path, "Ada", "hello", key="one")
    with closing(connect(path)) as connection:
        for table in ("payouts", "bookings", "reservations", "messages"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)  # noqa: S608 -- our own names
    assert money(80_05) == "80.05 EUR"
