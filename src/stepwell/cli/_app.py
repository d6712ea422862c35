"""Workflows of the user's own modules."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import reduce
from typing import Any, cast

from stepwell import Workflow
from stepwell.cli._errors import USAGE, CommandError
from stepwell.cli._text import type_and_text

__all__ = ["imported"]


def imported(app: str, *, option: str = "") -> list[Workflow[Any, Any]]:
    """Return the workflow, or the workflows, that *app* (`module:name`) names; *option* is how errors call it.

    Modules of the current directory are found. What they print while they are imported goes to the standard error.
    """
    module, colon, name = app.partition(":")
    if not (module and colon and name):
        message = f"{option or 'this command'} takes MODULE:NAME, such as shop.flows:refund, not {app!r}"
        raise CommandError(message, exit_code=USAGE)
    called = f"{option} {app}".lstrip()
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with redirect_stdout(sys.stderr):
            found: object = reduce(getattr, name.split("."), cast("Any", importlib.import_module(module)))
    except (Exception, SystemExit) as error:  # the module's own code runs here, and may raise anything
        raise CommandError(f"{called} can't be imported: {type_and_text(error)}") from error
    several = cast("Sequence[object]", found) if isinstance(found, list | tuple) else [found]
    workflows: list[Workflow[Any, Any]] = [workflow for workflow in several if isinstance(workflow, Workflow)]
    if not workflows or len(workflows) != len(several):
        raise CommandError(f"{called} is neither a Workflow nor a list of them")
    return workflows
