"""The little shop that the demo's refund and payment work on: one SQLite file.

It stands for the services of others. Whatever moves money or writes to somebody takes an idempotency key, and does
under one key what it does once: asked again with the same key, it gives the same answer and does nothing more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "DECLINED_CARD",
    "CardDeclined",
    "CustomerHistory",
    "Order",
    "authorise",
    "book",
    "find_order",
    "history_of",
    "hold_order",
    "money",
    "pay_out",
    "place_order",
    "reserve_goods",
    "send_message",
]

DECLINED_CARD: Final = "card-always-declined"
"""what the bank knows a card by, so that no number is stored here; a payment service has such test cards too"""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS orders (
    number TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    total INTEGER NOT NULL,
    state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS reservations (idempotency_key TEXT PRIMARY KEY, order_number TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS bookings (
    idempotency_key TEXT PRIMARY KEY,
    order_number TEXT NOT NULL,
    amount INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS payouts (
    idempotency_key TEXT PRIMARY KEY,
    order_number TEXT NOT NULL,
    amount INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS messages (
    idempotency_key TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    text TEXT NOT NULL
);
"""


class CardDeclined(Exception):
    """Raised when the bank says no, for good: asking again would change nothing."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order; *total* is in cents."""

    number: str
    customer: str
    total: int
    state: str


@dataclass(frozen=True, slots=True)
class CustomerHistory:
    """What a customer did before."""

    orders: int
    refunds: int


def money(cents: int) -> str:
    """Return an amount as people write it.

    >>> money(8050)
    '80.50 EUR'
    """
    return f"{cents // 100}.{cents % 100:02} EUR"


def place_order(shop: Path, number: str, customer: str, total: int) -> None:
    """Take an order, unless it was taken before."""
    with _opened(shop) as connection:
        connection.execute("INSERT OR IGNORE INTO orders VALUES (?, ?, ?, 'placed')", (number, customer, total))


def find_order(shop: Path, number: str) -> Order:
    """Return an order. Raises LookupError where there is none."""
    with _opened(shop) as connection:
        found = connection.execute("SELECT number, customer, total, state FROM orders WHERE number = ?", (number,))
        row = found.fetchone()
    if row is None:
        raise LookupError(f"there is no order {number}")
    return Order(*row)


def history_of(shop: Path, customer: str) -> CustomerHistory:
    """Return how many orders a customer placed, and how many of them were refunded."""
    with _opened(shop) as connection:
        counted = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE state = 'refunded') FROM orders WHERE customer = ?", (customer,)
        )
        return CustomerHistory(*counted.fetchone())


def pay_out(shop: Path, order: Order, amount: int, *, key: str) -> None:
    """Pay *amount* cents back, once per key."""
    with _opened(shop) as connection:
        connection.execute("INSERT OR IGNORE INTO payouts VALUES (?, ?, ?)", (key, order.number, amount))
        connection.execute("UPDATE orders SET state = 'refunded' WHERE number = ?", (order.number,))


def reserve_goods(shop: Path, order: Order, *, key: str) -> None:
    """Lay the goods of an order aside, once per key."""
    with _opened(shop) as connection:
        connection.execute("INSERT OR IGNORE INTO reservations VALUES (?, ?)", (key, order.number))


def authorise(card: str) -> None:
    """Ask the bank whether a card is good for it. Raises CardDeclined."""
    if card == DECLINED_CARD:
        raise CardDeclined("insufficient funds")


def book(shop: Path, order: Order, *, key: str) -> None:
    """Take an order's total off the card, once per key."""
    with _opened(shop) as connection:
        connection.execute("INSERT OR IGNORE INTO bookings VALUES (?, ?, ?)", (key, order.number, order.total))
        connection.execute("UPDATE orders SET state = 'paid' WHERE number = ?", (order.number,))


def hold_order(shop: Path, order: Order) -> None:
    """Put an order on hold; to do so twice changes nothing, so that this needs no key."""
    with _opened(shop) as connection:
        connection.execute("UPDATE orders SET state = 'on hold' WHERE number = ?", (order.number,))


def send_message(shop: Path, customer: str, text: str, *, key: str) -> None:
    """Write to a customer, once per key."""
    with _opened(shop) as connection:
        connection.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?)", (key, customer, text))


@contextmanager
def _opened(shop: Path) -> Generator[sqlite3.Connection]:
    """Open the shop for one transaction."""
    with closing(sqlite3.connect(shop, timeout=5.0, isolation_level=None)) as connection:
        connection.executescript(_TABLES)
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
