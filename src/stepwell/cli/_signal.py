"""`stepwell signal`."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, cast

from stepwell import Engine, Workflow
from stepwell.cli._database import existing, options_of
from stepwell.cli._demo_workflow import import_airports
from stepwell.cli._errors import USAGE, CommandError
from stepwell.cli._text import command, say, type_and_text

__all__ = ["send_signal"]


async def send_signal(database: Path, execution: str, step: str, payload: str, *, app: str | None) -> int:
    """Send a signal to a step; its workflow must be the demo's, or one of *app* (`module:name`)."""
    value = _read(payload)
    workflows = [import_airports] if app is None else _imported(app)
    async with existing(database) as storage, Engine(storage) as engine:
        found = await engine.get(execution)
        known = [workflow for workflow in workflows if workflow.name == found.workflow]
        if not known:
            names = ", ".join(workflow.name for workflow in workflows)
            cure = f"known here: {names}; name the module of your workflows with --app MODULE:NAME"
            raise CommandError(f"execution {execution!r} is of workflow {found.workflow!r}; {cure}")
        for workflow in known:
            engine.register(workflow)
        await engine.signal(execution, step, value)
    say(f"signal to step {step} of execution {execution}: taken")
    say(f"see what becomes of it: {command('stepwell', 'show', *options_of(database), execution)}")
    return 0


def _read(text: str) -> Any:
    def refused(constant: str) -> None:
        raise CommandError(f"the payload is not JSON: {constant} is no JSON number", exit_code=USAGE)

    try:
        return json.loads(text, parse_constant=refused)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"the payload is not JSON: {error}; write for example '\"text\"'", exit_code=USAGE
        ) from error


def _imported(app: str) -> list[Workflow[Any, Any]]:
    """Return the workflow, or the workflows, that `module:name` names."""
    module, colon, name = app.partition(":")
    if not (module and colon and name):
        raise CommandError(f"--app takes MODULE:NAME, such as shop.flows:refund, not {app!r}", exit_code=USAGE)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: object = reduce(getattr, name.split("."), cast("Any", importlib.import_module(module)))
    except Exception as error:  # the module's own code runs here, and may raise anything
        raise CommandError(f"--app {app} can't be imported: {type_and_text(error)}") from error
    several = cast("Sequence[object]", found) if isinstance(found, list | tuple) else [found]
    workflows: list[Workflow[Any, Any]] = [workflow for workflow in several if isinstance(workflow, Workflow)]
    if not workflows or len(workflows) != len(several):
        raise CommandError(f"--app {app} is neither a Workflow nor a list of them")
    return workflows
