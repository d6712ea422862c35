"""`stepwell.testing.simulate`, as those use it who test workflows of their own."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Literal

import anyio
import pytest

from stepwell import Context, Workflow, activity, succeed, wait
from stepwell.storage import Stored
from stepwell.testing import Backend, Client, Fault, Scenario, SimulationFailed, simulate

Ctx = Context[int]


@activity(retry=3)
async def reserve(ctx: Ctx) -> int:
    await anyio.sleep(1)
    return ctx.input


@activity
def note(ctx: Ctx) -> str:
    return "called in line, for there are no threads"


@wait(timeout=600)
def approval(ctx: Ctx, signal: str) -> Literal["yes", "no"]:
    return "yes" if signal == "boss" else "no"


@succeed
def approved(ctx: Ctx) -> str:
    return f"{ctx.output(reserve)} {ctx.output(approval)}"


ORDER = Workflow[int, str](
    "order",
    version="1",
    start=reserve,
    edges=[
        reserve.then(note),
        note.then(approval),
        approval.to({"yes": approved, "no": approved}, timeout=approved),
    ],
)


async def orders(client: Client) -> None:
    for number in range(3):
        await client.start(ORDER, number, id=f"order-{number}")
        await client.signal(f"order-{number}", "approval", "boss", signal_id="first")


def test_workflows_survive_and_it_is_counted_what_they_survived(backend: Backend) -> None:
    report = simulate([ORDER], workload=orders, seeds=5, backends=[backend])
    assert report.runs == 5
    assert report.failures == []
    assert report.happened["journal: execution.succeeded"] == 15
    assert sum(report.happened[kind] for kind in ("crash", "pause", "partition", "flaky")) > 0


def test_a_plan_of_ones_own_is_followed(backend: Backend) -> None:
    faults = [Fault(1.0, "crash", 0), Fault(1.0, "drain", 1)]
    report = simulate([ORDER], workload=orders, seeds=2, backends=[backend], faults=faults)
    assert (report.happened["crash"], report.happened["drain"], report.happened["pause"]) == (2, 2, 0)


def test_a_broken_promise_tells_how_to_see_it_again(backend: Backend) -> None:
    def never_suspended(stored: Stored) -> Iterable[str]:
        if stored.row.status == "suspended":
            yield "it is suspended"

    with pytest.raises(SimulationFailed, match="it is suspended") as failed:
        simulate([ORDER], workload=orders, seeds=range(7, 9), backends=[backend], faults=[], checks=[never_suspended])
    assert f"simulate(…, seeds=[7], backends=['{backend}'])" in str(failed.value)
    assert failed.value.outcome.seed == 7


def test_what_must_have_come_of_it_may_be_told(backend: Backend) -> None:
    def scenario(random: Random) -> Scenario:
        return Scenario([ORDER], orders, expect=lambda rows: [f"{len(rows)} orders, drawn {random.randint(1, 1)}"])

    report = simulate(scenario, seeds=1, backends=[backend], faults=[], fail_fast=False)
    assert [outcome.problems[0].partition("s: ")[2] for outcome in report.failures] == ["3 orders, drawn 1"]


def test_without_a_workload_there_is_nothing_to_simulate() -> None:
    with pytest.raises(TypeError, match="workload"):
        simulate([ORDER])
