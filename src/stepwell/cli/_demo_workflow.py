"""The workflows of `stepwell demo`, which other commands know without being told where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepwell.cli._demo_fraud import fraud_check
from stepwell.cli._demo_import import import_airports
from stepwell.cli._demo_payment import payment
from stepwell.cli._demo_refund import refund

if TYPE_CHECKING:
    from stepwell import Workflow

__all__ = ["DEMO_WORKFLOWS"]

DEMO_WORKFLOWS: Final[list[Workflow[Any, Any]]] = [import_airports, refund, payment, fraud_check]
