"""Every scenario ends as it says, line by line of its journal, on every storage and backend.

Those of one file share a storage: each has workflows and ids of its own. That they cover what there is to cover is the
other half of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import stepwell
from stepwell import StepKind, StepwellError, Workflow
from stepwell._model import Kind
from stepwell._transition import Event, _machine
from stepwell.storage import Storage
from stepwell.storage.memory import MemoryStorage
from stepwell.testing import check_invariants
from tests.scenarios.form import DATA, FAILURE_CODES, VERBS, Action, Scenario, on_postgres, read, read_all
from tests.scenarios.handlers import Script
from tests.scenarios.library import LIBRARY, Make
from tests.scenarios.stage import play
from tests.support.storages import Clock

EVERYWHERE: Final = [path for path in sorted(DATA.glob("*.toml")) if not on_postgres(path)]
ON_POSTGRES: Final = [path for path in sorted(DATA.glob("*.toml")) if on_postgres(path)]


async def play_all(path: Path, storage: Storage, clock: Clock) -> None:
    """Play all scenarios of a file, and see to it that they end as they say and that the storage is sound."""
    faults: list[str] = []
    workflows: list[Workflow[Any, Any]] = []
    for number, scenario in enumerate(read(path)):
        played = await play(scenario, storage, number=number, clock=clock)
        faults += [f"\n== {path.name}: {scenario.name}", *played.faults] if played.faults else []
        workflows += played.workflows
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)
    await check_invariants(storage, workflows=workflows)


@pytest.mark.anyio
@pytest.mark.promise("I42")
@pytest.mark.parametrize("path", EVERYWHERE, ids=lambda path: path.stem)
async def test_every_scenario_ends_as_it_says(path: Path, storage: Storage, clock: Clock) -> None:
    await play_all(path, storage, clock)


@pytest.mark.anyio
@pytest.mark.real_time
@pytest.mark.parametrize("backend", ["asyncio"])
@pytest.mark.parametrize("storage_kind", ["postgres"])
@pytest.mark.parametrize("path", ON_POSTGRES, ids=lambda path: path.stem)
async def test_every_scenario_of_a_transaction_ends_as_it_says(path: Path, storage: Storage, clock: Clock) -> None:
    await play_all(path, storage, clock)


# -- what is covered ---------------------------------------------------------------------------------------------------

SCENARIOS: Final = [scenario for _, scenario in read_all()]


def lines() -> Iterator[list[str]]:
    """Yield every expected line of every journal, as its parts."""
    for scenario in SCENARIOS:
        for end in scenario.ends.values():
            for line in end.journal.splitlines():
                if line.strip():
                    yield line.split()


def steps_of(scenario: Scenario) -> dict[str, StepKind]:
    """Return the steps of a scenario's workflow and of its children, and their kinds."""
    found: dict[str, StepKind] = {}
    ahead = [Make(Script(scenario.steps), suffix="covered").workflow(scenario.workflow, "1")]
    while ahead:
        for name, step in ahead.pop().steps.items():
            found[name] = StepKind(step.kind)
            child = getattr(step, "child", None)
            ahead += [child] if child is not None else []
    return found


def test_there_are_enough_scenarios_and_each_has_a_name_of_its_own() -> None:
    assert len(SCENARIOS) >= 250
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_every_workflow_of_the_library_is_used() -> None:
    assert {scenario.workflow for scenario in SCENARIOS} == LIBRARY.keys()


def test_every_kind_of_entry_is_in_some_journal() -> None:
    assert {line[1] for line in lines()} == {kind.value for kind in Kind}


def test_every_kind_of_step_does_each_thing_that_it_can_do() -> None:
    """Each entry about a step stands in some journal with each kind of step of which it can tell."""
    seen = {
        (steps[line[2]].value, line[1])
        for scenario in SCENARIOS
        for steps in [steps_of(scenario)]
        for end in scenario.ends.values()
        for line in map(str.split, end.journal.splitlines())
        if len(line) > 2 and line[2] in steps
    }
    working = {"execution.claimed", "step.failed", "execution.failed"}
    expected = {
        "activity": working | {"step.succeeded", "step.started", "step.retry", "step.interrupted", "execution.queued"},
        "decision": working | {"step.routed", "step.started", "step.retry"},
        "wait": working | {"step.suspended", "step.resumed", "execution.paused", "execution.discarded_signal"},
        "subworkflow": working | {"step.suspended", "step.resumed", "step.interrupted", "execution.paused"},
        "succeed": working | {"execution.succeeded", "step.started", "execution.queued"},
        "fail": working | {"step.started", "execution.queued"},
    }
    assert set(expected) == {kind.value for kind in StepKind}
    assert {(kind, entry) for kind, entries in expected.items() for entry in entries} <= seen


def test_every_verb_of_a_client_is_used_and_every_one_that_changes_something_is_refused_once() -> None:
    used = {(verb_of(action), action.raises is not None) for scenario in SCENARIOS for action in scenario.actions}
    assert {verb for verb, _ in used} >= VERBS
    assert {verb for verb, is_refused in used if is_refused} >= {
        "start",
        "signal",
        "cancel",
        "pause",
        "resume",
        "purge",
    }


def verb_of(action: Action) -> str:
    return str(action.__struct_config__.tag)


def test_every_code_of_a_failure_is_in_some_journal() -> None:
    codes = {part.removeprefix("code=") for line in lines() for part in line if part.startswith("code=")}
    assert codes == FAILURE_CODES


def test_the_codes_of_failures_are_all_that_the_library_gives() -> None:
    """What `_calls` and the transitions name as codes, read from their text."""
    sources = [Path(stepwell.__file__).parent / "_calls.py", *Path(_machine.__file__).parent.glob("*.py")]
    named = set[str]()
    for source in sources:
        for line in source.read_text(encoding="utf-8").splitlines():
            if "self._failed(" in line or "failure_text(" in line:
                named |= {part for part in line.split('"')[1::2] if part}
    assert named == FAILURE_CODES


EXEMPT: Final = {
    "DefinitionChanged": "takes another graph under the same name; tests/storage",
    "DefinitionError": "is raised before there is anything to run",
    "EngineClosed": "takes an engine that is not open",
    "ExecutionUnreadable": "takes rows that were damaged; tests/bad_input",
    "IllegalTransition": "is what the clients' own checks prevent",
    "SignalError": "is a base",
    "StepwellError": "is a base",
    "UnstoppableHandler": "ends a worker that was told to exit; tests/engine",
    "UnsupportedType": "is raised before there is anything to run",
    "WorkerCrashed": "takes a defect of the library",
}
"""Errors that no scenario ends with, and why."""


def test_every_error_of_the_library_is_met() -> None:
    met = {action.raises for scenario in SCENARIOS for action in scenario.actions}
    met |= {part.removeprefix("type=") for line in lines() for part in line if part.startswith("type=")}
    public = (getattr(stepwell, name) for name in stepwell.__all__)
    errors = {error.__name__ for error in public if isinstance(error, type) and issubclass(error, StepwellError)}
    assert errors - met == EXEMPT.keys()


@pytest.mark.anyio
@pytest.mark.parametrize("backend", ["asyncio"])
async def test_every_event_happens(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = set[type]()
    can_happen = _machine._can_happen

    def watched(event: Event, status: stepwell.Status) -> bool:
        happened.add(type(event))
        return can_happen(event, status)

    monkeypatch.setattr(_machine, "_can_happen", watched)
    async with MemoryStorage(clock=clock) as storage:
        for path in EVERYWHERE:
            if path.stem in {"activities", "children", "crashes", "decisions", "drains", "pauses", "waits"}:
                for number, scenario in enumerate(read(path)):
                    await play(scenario, storage, number=1000 * EVERYWHERE.index(path) + number, clock=clock)
    assert happened == set(Event.__args__)
