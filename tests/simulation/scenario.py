"""What the simulation runs: drawn workflows, and clients that start, signal, pause, resume and cancel them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Final

import anyio

from stepwell import (
    AlreadySignalled,
    ExecutionEnded,
    ExecutionNotFound,
    NotResumable,
    SignalError,
    StepwellError,
)
from stepwell._invariants import check_execution
from stepwell._model import LEGAL, Status
from stepwell.storage import Row, Stored
from stepwell.testing import Client, Scenario, WorkerSettings
from tests.simulation.blocks import Flow, drawn_flow, poisoned_flow

__all__ = ["checks", "drawn_scenario", "drawn_settings"]

_NEVER_SIGNALLED: Final = 0.05
_CANCELLED: Final = 0.3
_PAUSED: Final = 0.25
_BEGIN_WITHIN: Final = (1.0, 10.0)
"""seconds"""
UNLIMITED: Final = 1_000
"""crashes that no run comes to"""
_GIVE_UP_AT: Final = 120.0
"""seconds after which whoever signals an execution that waits for what nobody sends gives up"""
_NOTHING_LATE_AT: Final = 46.0
"""seconds from when on nothing that a client asked for during the faults is still on its way"""


@dataclass
class _Case:
    """One execution, and what clients will do with it."""

    id: str
    flow: Flow
    random: Random
    is_cancelled: bool = False
    is_resumed: bool = False
    """which, where it failed for having crashed, starts it anew without the signals that it had"""
    unsignalled: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])


@dataclass
class _Wanted:
    """A wait that is to be signalled."""

    case: _Case
    id: str
    """of the execution, which may be a child of the case's"""
    step: str
    random: Random


def drawn_settings(random: Random) -> WorkerSettings:
    """Draw how engines are set up. Only where few crashes are allowed may an execution end for having crashed."""
    return WorkerSettings(
        lease=random.choice((2.0, 3.0, 3.0, 10.0)),
        max_crashes=random.choice((2, UNLIMITED, UNLIMITED)),
        concurrency=random.choice((1, 2, 10)),
        poll_interval=random.choice((0.5, 1.0, 3.0)),
        grace=random.choice((0.0, 2.0)),
    )


def drawn_scenario(random: Random) -> Scenario:
    """Draw workflows, executions, and what happens to them."""
    settings = drawn_settings(random)
    flows = [drawn_flow(random, f"flow{number}") for number in range(random.randint(1, 2))]
    if random.random() < 0.4:
        flows.append(drawn_flow(random, "flow0", version="2"))
    if random.random() < 0.15:
        flows.append(poisoned_flow("poisoned"))
        settings = replace(settings, max_crashes=2)
    cases = [_Case(f"e{number}", random.choice(flows), Random(random.getrandbits(63))) for number in range(4)]
    return Scenario(
        [flow.workflow for flow in flows],
        partial(_drive, cases),
        expect=partial(_expected, cases, may_crash=settings.max_crashes < UNLIMITED),
        settings=settings,
        checks=checks(),
    )


async def _drive(cases: list[_Case], client: Client) -> None:
    within = client.random.choice(_BEGIN_WITHIN)
    async with anyio.create_task_group() as tasks:
        for case in cases:
            tasks.start_soon(_drive_one, case, client, within)


async def _drive_one(case: _Case, client: Client, within: float) -> None:
    random = case.random
    await client.sleep(random.random() * within)
    await client.start(case.flow.workflow, 1, id=case.id)
    if random.random() < 0.2:
        await client.start(case.flow.workflow, 1, id=case.id)
    async with anyio.create_task_group() as tasks:
        for below, step, count in case.flow.waits:
            draw = Random(random.getrandbits(63))
            if draw.random() < _NEVER_SIGNALLED:
                case.unsignalled.add((case.id + below, step))
            else:
                tasks.start_soon(_signal, client, _Wanted(case, case.id + below, step, draw), count)
        if random.random() < _PAUSED:
            case.is_resumed = True
            tasks.start_soon(_pause, client, case.id, Random(random.getrandbits(63)))
        if random.random() < _CANCELLED:
            case.is_cancelled = True
            tasks.start_soon(_cancel, client, case.id, Random(random.getrandbits(63)))


async def _signal(client: Client, wanted: _Wanted, count: int) -> None:
    """Signal a wait as often as it is passed: early, late, some twice, and some after it was signalled already."""
    random = wanted.random
    await client.sleep(random.random() * random.choice((0.0, 5.0, 30.0)))
    for number in range(count):
        signal_id = f"s-{wanted.step}-{number}"
        for _ in range(2 if random.random() < 0.2 else 1):
            if not await _signal_once(client, wanted, signal_id):
                return
        if random.random() < 0.1:
            try:
                await client.signal(wanted.id, wanted.step, "again", signal_id=f"{signal_id}-again")
            except StepwellError:
                continue


async def _signal_once(client: Client, wanted: _Wanted, signal_id: str) -> bool:
    """Send one signal until it is taken; return False where none is needed any more."""
    id = wanted.id
    while not (wanted.case.unsignalled and anyio.current_time() > _GIVE_UP_AT):  # it may never come to this wait
        try:
            await client.signal(id, wanted.step, "go", signal_id=signal_id)
        except (AlreadySignalled, ExecutionNotFound):
            if id.count("/") and await _has_ended(client, id.partition("/")[0]):
                return False
            await client.sleep(0.5 + wanted.random.random())
        except (ExecutionEnded, SignalError):
            return False
        else:
            return True
    return False


async def _has_ended(client: Client, id: str) -> bool:
    return (await client.get(id)).status.is_terminal


async def _pause(client: Client, id: str, random: Random) -> None:
    """Pause for a while; a pause that an impatient client asked for twice may come when it was resumed already."""
    try:
        await client.sleep(random.random() * 10)
        await client.pause(id)
    except ExecutionEnded:
        return
    await client.sleep(random.random() * 5)
    try:
        await client.resume(id)
        await client.sleep(max(0.0, _NOTHING_LATE_AT - anyio.current_time()))
        if (await client.get(id)).status is Status.PAUSED:
            await client.resume(id)
    except NotResumable:
        return


async def _cancel(client: Client, id: str, random: Random) -> None:
    await client.sleep(random.random() * random.choice((3.0, 20.0)))
    await client.cancel(id)


def _expected(cases: list[_Case], rows: Mapping[str, Row], *, may_crash: bool) -> Iterable[str]:
    for case in cases:
        crashed = [row.id for row in rows.values() if _is_of(row, case.id) and "StepCrashed" in (row.error or "")]
        if crashed and not may_crash:
            yield f"{case.id}: {crashed} failed for having crashed, and no limit was set"
        if case.id in rows and not crashed:
            lacks_signals = bool(case.unsignalled) or (may_crash and case.is_resumed)
            wrong = _wrong_with(case, rows[case.id], lacks_signals=lacks_signals)
            yield from (f"{case.id}: {each}" for each in wrong)


def _is_of(row: Row, id: str) -> bool:
    return row.id == id or row.id.startswith(f"{id}/")


def _wrong_with(case: _Case, row: Row, *, lacks_signals: bool) -> Iterable[str]:
    flow = case.flow
    if case.is_cancelled and row.status is Status.CANCELLED:
        return
    if row.status is Status.SUSPENDED:
        if not lacks_signals:
            yield "it is suspended, and every wait was signalled"
        return
    if row.status.value != flow.status:
        yield f"it is {row.status} ({row.error}), and should be {flow.status}"
        return
    error = json.loads(row.error or "{}").get("value")
    given = json.loads(row.output or "null") if row.status is Status.SUCCEEDED else error
    if given != flow.output:
        yield f"it went {given!r}, and should have gone {flow.output!r}"


def checks() -> tuple[Callable[[Stored], Iterable[str]], ...]:
    """Return what is looked at besides, at every commit: whether each execution is sound, and moves by legal steps."""
    last: dict[str, Status] = {}

    def sound(stored: Stored) -> Iterable[str]:
        return map(str, check_execution(stored))

    def legal(stored: Stored) -> Iterable[str]:
        row = stored.row
        before = last.get(row.id)
        last[row.id] = row.status
        if before is not None and row.revision > 1 and row.status is not before and row.status not in LEGAL[before]:
            yield f"[5] it became {row.status} from {before}"

    return sound, legal
