"""The workflows of `stepwell demo`, which other commands know without being told where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepwell.cli._demo_fraud import fraud_check
from stepwell.cli._demo_import import import_airports
from stepwell.cli._demo_payment import payment
from stepwell.cli._demo_refund import refund

if TYPE_CHECKING:
    from stepwell import Execution, Workflow

__all__ = ["DEMO_WORKFLOWS", "TAG", "demo_workflow_of"]

TAG: Final = "stepwell-demo"
"""what the demo's executions bear, but for children"""

DEMO_WORKFLOWS: Final[list[Workflow[Any, Any]]] = [import_airports, refund, payment, fraud_check]


def demo_workflow_of(execution: Execution) -> Workflow[Any, Any] | None:
    """Return the workflow of an execution of the demo's; None for any other, whatever its workflow's name."""
    if TAG not in execution.tags and (execution.parent is None or execution.workflow != fraud_check.name):
        return None
    return next((workflow for workflow in DEMO_WORKFLOWS if workflow.name == execution.workflow), None)
