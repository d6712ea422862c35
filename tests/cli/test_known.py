"""Whose workflow an execution is of: the demo's, or one of the user's that is called the same."""

from __future__ import annotations

import anyio
import pytest

from stepwell import Engine, Workflow
from stepwell.cli._demo_workflow import DEMO_WORKFLOWS, TAG, demo_workflow_of
from stepwell.cli._errors import CommandError
from stepwell.cli._known import register_for
from stepwell.cli._next import payload_for
from tests.engine.small import done, nothing

USERS = Workflow[int, int]("refund", version="1", start=nothing, edges=[nothing.then(done)])


def test_a_workflow_that_is_called_like_one_of_the_demos_is_not_taken_for_it() -> None:
    async def look() -> None:
        async with Engine(workflows=[USERS]) as engine:
            found = await (await engine.start(USERS, 1)).get()
            assert demo_workflow_of(found) is None
            assert payload_for(found, "approval") == "JSON"
            with pytest.raises(CommandError, match="--app MODULE:NAME"):
                register_for(found, engine, DEMO_WORKFLOWS)
            register_for(found, engine, [USERS])
            demos = await (await engine.start(USERS, 1, tags=[TAG])).get()
            assert demo_workflow_of(demos) in DEMO_WORKFLOWS

    anyio.run(look)
