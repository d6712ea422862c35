"""Plays one scenario in virtual time, and tells how what came of it differs from what is expected."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, assert_never, cast

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup, TaskStatus
from msgspec import UNSET

import stepwell
from stepwell import Engine, Limits, Workflow
from stepwell._entropy import Entropy
from stepwell._history import History
from stepwell._model import Query, Stored
from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.scenarios import form
from tests.scenarios.form import Action, End, Scenario
from tests.scenarios.handlers import VALUES, Script
from tests.scenarios.journals import Names, difference, lines_of, reduced
from tests.scenarios.library import Make
from tests.support.storages import Clock

__all__ = ["Played", "play"]

_LIMIT: Final = 100 * 86_400.0
"""virtual seconds after which a scenario hangs"""
_MOMENT: Final = 0.0005
"""seconds: less than what is told of times, and enough for everybody to do what there is to do now"""


class _Late(Entropy):
    """No chance: of every range the end, so that polls come after their whole interval."""

    def fraction(self) -> float:
        return 1.0


class _Link(Faulty):
    """A process's way to the storage, without hints: only polls find what others did, on every storage alike."""

    async def wakeup(self) -> None:
        await anyio.sleep_forever()


class _Process:
    """An engine with a storage handle of its own and, if it is a worker's, a worker."""

    def __init__(self, engine: Engine, link: _Link) -> None:
        self.engine = engine
        self.link = link
        self.scope = CancelScope()
        self.left = anyio.Event()
        self.ended = anyio.Event()

    async def run(self, worker: form.BeginWorker | None, *, task_status: TaskStatus[None]) -> None:
        with self.scope:
            async with self.engine:
                if worker is None:
                    task_status.started()
                    await self.left.wait()
                else:
                    grace, poll = worker.grace, worker.poll
                    async with self.engine.worker(concurrency=worker.concurrency, poll_interval=poll, grace=grace):
                        task_status.started()
                        await self.left.wait()
        self.ended.set()


@dataclass(frozen=True)
class Played:
    """What came of one scenario."""

    faults: list[str]
    """what is otherwise than it says"""
    workflows: list[Workflow[Any, Any]]


async def play(scenario: Scenario, storage: Storage, *, number: int, clock: Clock) -> Played:
    """Play the scenario. *number* sets it apart from others in the same storage."""
    stage = _Stage(scenario, storage, number, clock)
    try:
        with anyio.fail_after(_LIMIT):
            async with anyio.create_task_group() as tasks:
                await stage.play(tasks)
    except Exception as error:  # told with the scenario's name, beside the faults of others
        stage.faults += [f"{type(leaf).__name__}: {leaf}" for leaf in _leaves(error)]
    return Played(stage.faults, stage.workflows)


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    members = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return [leaf for member in members for leaf in _leaves(member)]


class _Stage:
    def __init__(self, scenario: Scenario, storage: Storage, number: int, clock: Clock) -> None:
        self.faults: list[str] = []
        self.workflows: list[Workflow[Any, Any]] = []
        self._scenario = scenario
        self._storage = storage
        self._clock = clock
        self._began = clock()
        self._prefix = f"{number:04}~"
        self._script = Script(scenario.steps)
        self._make = Make(self._script, suffix=f"{number:04}")
        self._processes: dict[str, _Process] = {}

    async def play(self, tasks: TaskGroup) -> None:
        await self._open(tasks, "client", None, self._scenario.versions)
        for place, action in enumerate(self._scenario.actions, 1):
            fault = await self._told(action, tasks)
            if fault:
                self.faults.append(f"action {place}, {type(action).__name__}: {fault}")
        await self._compare()
        await self._close()

    # -- processes -----------------------------------------------------------------------------------------------------

    async def _open(
        self, tasks: TaskGroup, name: str, worker: form.BeginWorker | None, versions: tuple[str, ...]
    ) -> None:
        link = _Link(self._storage)
        options = dict(self._scenario.engine)
        if "limits" in options:
            options["limits"] = Limits(**options["limits"])
        workflows = [self._make.workflow(self._scenario.workflow, version) for version in versions]
        self.workflows += workflows if worker is None else []
        # A step's own transaction goes past the link, which could not be cut with it.
        storage = self._storage if self._scenario.workflow == "booking" else link
        engine = Engine(storage, workflows=workflows, name=name, **options)
        engine._entropy = _Late()
        self._processes[name] = process = _Process(engine, link)
        await tasks.start(partial(process.run, worker))

    async def _close(self) -> None:
        """Let everybody go, also those who were killed: what they send late must not do any harm."""
        for process in self._processes.values():
            process.link.mend()
            process.scope.cancel()
        for process in self._processes.values():
            await process.ended.wait()

    # -- actions -------------------------------------------------------------------------------------------------------

    async def _told(self, action: Action, tasks: TaskGroup) -> str:
        """Do it; return what was otherwise than the action says, or nothing."""
        try:
            fault = await self._do(action, tasks)
        except Exception as error:
            name = type(error).__name__
            return "" if name == action.raises else f"raised {name}: {error}"
        return f"did not raise {action.raises}" if action.raises else fault

    async def _do(self, action: Action, tasks: TaskGroup) -> str:
        match action:
            case form.BeginWorker():
                await self._open(tasks, action.name, action, action.versions or self._scenario.versions)
            case form.Stop():
                process = self._processes[action.name]
                process.left.set()
                if action.wait:
                    await process.ended.wait()
            case form.Interrupt():
                self._processes[action.name].scope.cancel()
                await self._processes[action.name].ended.wait()
            case form.Kill():
                self._processes[action.name].link.cut(how=How(action.how))
            case form.Heal():
                self._processes[action.name].link.mend()
            case form.Spoil():
                how, link = How(action.how), self._processes[action.name].link
                link.spoil(action.method, how=how, at=action.at, times=action.times, seconds=action.seconds)
            case form.Reach():
                await self._script.gates[action.gate].reached(action.count)
            case form.Open():
                self._script.gates[action.gate].open()
            case form.Advance():
                passed = self._clock() - self._began
                await anyio.sleep(action.by if action.to is None else action.to - passed)
            case form.Settle():
                await anyio.sleep(_MOMENT)
            case _:
                return await self._ask(action)
        return ""

    async def _ask(self, action: form.Asked) -> str:
        engine = self._processes[action.via].engine
        match action:
            case form.Cancel():
                return _other(await engine.cancel(self._id(action.id), action.reason), action.returns)
            case form.Purge():
                return await self._purge(engine, action)
            case form.Result():
                with anyio.fail_after(action.timeout):
                    return _other(await engine.result_of(self._id(action.id)), action.output)
            case form.Get():
                found = await engine.get(self._id(action.id))
                return _other({key: self._plain(found, key) for key in action.shows}, action.shows)
            case form.Find():
                page = await engine.find(stepwell.Query(id_prefix=self._prefix, **action.query))
                return _other([self._name(execution.id) for execution in page.executions], action.found)
            case form.ReadJournal():
                lines = await engine.journal(self._id(action.id), action.after, action.limit)
                return _other([line.kind for line in lines], action.kinds)
            case form.RunDue():
                return _other(await engine.run_due(action.limit), action.claimed)
            case form.RunUntilIdle():
                return _other(await engine.run_until_idle(), action.claimed)
            case _:
                await self._tell(engine, action)
        return ""

    async def _tell(self, engine: Engine, action: form.Start | form.SendSignal | form.Pause | form.Resume) -> None:
        match action:
            case form.Start():
                await self._start(engine, action)
            case form.SendSignal():
                payload = action.payload if action.value is None else VALUES[action.value]()
                await engine.signal(self._id(action.id), action.step, payload, signal_id=action.signal_id)
            case form.Pause():
                await engine.pause(self._id(action.id), action.reason)
            case form.Resume():
                await engine.resume(self._id(action.id), action.attempts)
            case _:
                assert_never(action)

    async def _start(self, engine: Engine, action: form.Start) -> None:
        given = self._scenario.input if action.input is UNSET else action.input
        at = None if action.at is None else datetime.fromtimestamp(self._began + action.at, UTC)
        await engine.start(
            self._make.full_name(action.workflow or self._scenario.workflow),
            given if action.value is None else VALUES[action.value](),
            id=self._id(action.id),
            version=action.version,
            delay=action.delay,
            at=at,
            tags=action.tags,
            metadata=action.metadata or None,
        )

    async def _purge(self, engine: Engine, action: form.Purge) -> str:
        """Purge; what other scenarios left behind may go, too."""
        await engine.purge(older_than=action.older_than)
        there = {name for name in (*action.gone, *action.kept) if await self._storage.load(self._id(name)) is not None}
        return _other(there, {*action.kept})

    def _id(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _name(self, id: str) -> str:
        return id.removeprefix(self._prefix)

    def _plain(self, found: Any, path: str) -> Any:
        """Return a part of an execution as a data file can hold it: times from the beginning, and no null."""
        for part in path.split("."):
            found = cast("dict[str, Any]", found)[part] if isinstance(found, dict) else getattr(found, part)
        if isinstance(found, datetime):
            return round(found.timestamp() - self._began, 2)
        if found is None:
            return "none"
        return json.loads(json.dumps(found, default=str).replace(self._prefix, ""))

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        page = await self._storage.find(Query(id_prefix=self._prefix))
        found = {self._name(row.id) for row in page.rows}
        if found != self._scenario.ends.keys():
            self.faults.append(f"there are {sorted(found)}, not {sorted(self._scenario.ends)}")
        names = Names()
        for name, end in self._scenario.ends.items():
            stored = await self._storage.load(self._id(name))
            if stored is not None:
                self._compare_one(name, end, stored, names)

    def _compare_one(self, name: str, end: End, stored: Stored, names: Names) -> None:
        found = lines_of(stored.journal, prefix=self._prefix, began=round(self._began * 1e6))
        differs = difference(end.journal, found, names)
        if differs:
            self.faults.append(f"the journal of {name!r} is another:\n{differs}")
        if not History.of(stored.journal).matches(stored.row):
            self.faults.append(f"the journal of {name!r} does not fold to its row: {stored.row}")
        ended = End(journal=end.journal, **_ended(stored, names))
        if ended != end:
            self.faults.append(f"{name!r} stands otherwise:\n  expected {end}\n  found    {ended}")


def _ended(stored: Stored, names: Names) -> dict[str, Any]:
    row = stored.row
    error: dict[str, Any] = {} if row.error is None else reduced(json.loads(row.error))
    signals = {names.name_of(signal.id): signal.state.value for signal in stored.signals}
    return {
        "status": row.status.value,
        "step": row.step or error.get("step"),
        "output": None if row.output is None else json.loads(row.output),
        "error": error.get("value"),
        "code": error["failure"]["code"] if "failure" in error else None,
        "signals": signals,
    }


def _other(found: object, expected: object) -> str:
    return "" if found == expected else f"came to {found!r}, not {expected!r}"
