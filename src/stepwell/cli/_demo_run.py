"""A run of the demo: its three executions, found or started."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from stepwell import Engine, Execution, ExecutionNotFound, Handle, Query, Status, Workflow
from stepwell.cli._demo_import import ImportRequest, import_airports
from stepwell.cli._demo_payment import PaymentRequest, payment
from stepwell.cli._demo_refund import RefundRequest, refund
from stepwell.cli._demo_shop import DECLINED_CARD, place_order
from stepwell.cli._demo_workflow import TAG
from stepwell.cli._errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Member", "Run", "found_or_started"]

_UNFINISHED: Final = (Status.QUEUED, Status.RUNNING, Status.WAITING, Status.SUSPENDED, Status.PAUSED)
_BATCH_PAUSE: Final = 0.6
_STEP_PAUSE: Final = 1.2
"""seconds, at a pace of 1"""
_REFUND: Final = 80_00
_PURCHASE: Final = 42_50


@dataclass(frozen=True, slots=True)
class Member:
    """One of the three: what people call it, and its execution."""

    title: str
    handle: Handle[Any]


@dataclass(frozen=True, slots=True)
class Run:
    """What runs side by side. *found* are the executions of an earlier process that had not ended."""

    members: tuple[Member, ...]
    found: tuple[Execution, ...]
    target: Path
    """the database of airports that the import fills"""

    @property
    def has_load_ahead(self) -> bool:
        """Whether the slow step may still be to come."""
        return not self.found or any(execution.workflow == import_airports.name for execution in self.found)


@dataclass(frozen=True, slots=True)
class _Plan:
    title: str
    workflow: Workflow[Any, Any]
    input: Any


async def found_or_started(engine: Engine, database: Path, *, pace: float) -> Run:
    """Return the run that has not ended, or a new one where all have.

    Ids and inputs follow from the run's number. A process that dies between two starts thus leaves nothing undone: the
    next one starts what is missing, under the id that it was to have.
    """
    found = await _unfinished(engine)
    number = _number(found[0]) if found else await _last_number(engine) + 1
    shop = database.with_name(f"{database.stem}-shop.db")
    await to_thread.run_sync(partial(place_order, shop, _bought(number), "Ada", 90_00))
    await to_thread.run_sync(partial(place_order, shop, _ordered(number), "Grace", _PURCHASE))
    members = tuple(
        [Member(plan.title, await _started(engine, plan, number)) for plan in _plans(database, shop, number, pace)]
    )
    unfinished = {execution.id for execution in found}
    mine = tuple([await member.handle.get() for member in members if member.handle.id in unfinished])
    for execution in mine:
        if execution.status is Status.PAUSED or execution.pausing:
            await engine.resume(execution.id)
    return Run(members, mine, _target(database))


def _plans(database: Path, shop: Path, number: int, pace: float) -> Iterator[_Plan]:
    inbox = database.with_name(f"{database.stem}-inbox.csv")
    importing = ImportRequest(str(inbox), str(_target(database)), pause=_BATCH_PAUSE * pace)
    pause = _STEP_PAUSE * pace
    yield _Plan("import", import_airports, importing)
    yield _Plan("refund", refund, RefundRequest(str(shop), _bought(number), _REFUND, pause))
    yield _Plan("payment", payment, PaymentRequest(str(shop), _ordered(number), DECLINED_CARD, pause))


async def _started(engine: Engine, plan: _Plan, number: int) -> Handle[Any]:
    """Return the execution of this number, started now where it doesn't exist."""
    id = f"{plan.title}-{number}"
    try:
        known = await engine.get(id)
    except ExecutionNotFound:
        return await engine.start(plan.workflow, plan.input, id=id, tags=[TAG], metadata={"run": number})
    if known.workflow != plan.workflow.name or TAG not in known.tags:
        raise CommandError(f"execution {id} is not the demo's; give the demo a database of its own with --db")
    return engine.handle(plan.workflow, id)


async def _unfinished(engine: Engine) -> list[Execution]:
    """Return what has not ended of the newest run that has not ended."""
    query = Query(tag=TAG, status=_UNFINISHED, limit=10)
    executions = (await engine.find(query)).executions
    return [execution for execution in executions if _number(execution) == _number(executions[0])]


async def _last_number(engine: Engine) -> int:
    newest = (await engine.find(Query(tag=TAG, limit=1))).executions
    return _number(newest[0]) if newest else 0


def _number(execution: Execution) -> int:
    return int(execution.metadata.get("run", 0))


def _bought(number: int) -> str:
    return f"A-{1000 + number}"


def _ordered(number: int) -> str:
    return f"B-{1000 + number}"


def _target(database: Path) -> Path:
    return database.with_name(f"{database.stem}-airports.db")
