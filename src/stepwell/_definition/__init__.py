"""Definitions: steps as frozen, typed handles, and workflows as one immutable, checked table of their edges.

Rule 1: a decorator never raises and registers nothing; it makes a handle that carries what is wrong with it.
Rule 2: making a `Workflow` finds every problem of the definition and raises them all at once.
Rule 3: a definition never changes. What is found later (the types) is found once and kept.
"""

from __future__ import annotations

from stepwell._definition._decorators import activity, decision, fail, subworkflow, succeed, wait
from stepwell._definition._steps import (
    DEFAULT,
    Activity,
    Decision,
    Default,
    Edges,
    Fail,
    Step,
    Subworkflow,
    Succeed,
    Timeout,
    Wait,
    route_label,
)
from stepwell._definition._types import StepTypes, WorkflowTypes
from stepwell._definition._workflow import Workflow
from stepwell._graph import StepKind

__all__ = [
    "DEFAULT",
    "Activity",
    "Decision",
    "Default",
    "Edges",
    "Fail",
    "Step",
    "StepKind",
    "StepTypes",
    "Subworkflow",
    "Succeed",
    "Timeout",
    "Wait",
    "Workflow",
    "WorkflowTypes",
    "activity",
    "decision",
    "fail",
    "route_label",
    "subworkflow",
    "succeed",
    "wait",
]
