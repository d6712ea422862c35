"""The values that the type tests pass around."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RefundRequest:
    order_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class Order:
    total: int
    customer: str


@dataclass(frozen=True, slots=True)
class Approval:
    approved: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    number: str


@dataclass(frozen=True, slots=True)
class Other:
    """An input that has nothing to do with a refund."""

    x: int


class CardDeclined(Exception):
    """Raised by a payment."""
