"""The workflows that a command may need: the demo's, or those of a user's module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stepwell.cli._app import imported
from stepwell.cli._demo_workflow import DEMO_WORKFLOWS, demo_workflow_of
from stepwell.cli._errors import CommandError

if TYPE_CHECKING:
    from stepwell import Engine, Execution, Workflow

__all__ = ["known_workflows", "register_for"]


def known_workflows(app: str | None) -> Sequence[Workflow[Any, Any]]:
    """Return the workflows of *app* (`module:name`), or the demo's where None is given. Raises CommandError."""
    return DEMO_WORKFLOWS if app is None else imported(app, option="--app")


def register_for(execution: Execution, engine: Engine, workflows: Sequence[Workflow[Any, Any]]) -> None:
    """Make an execution's workflow known to the engine. Raises CommandError where it is none of these."""
    known = [workflow for workflow in workflows if workflow.name == execution.workflow]
    if workflows is DEMO_WORKFLOWS and demo_workflow_of(execution) is None:
        known = []
    if not known:
        names = ", ".join(workflow.name for workflow in workflows)
        cure = f"known here: {names}; name the module of your workflows with --app MODULE:NAME"
        raise CommandError(f"execution {execution.id!r} is of workflow {execution.workflow!r}; {cure}")
    for workflow in known:
        engine.register(workflow)
