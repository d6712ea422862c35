"""A process that ends without a word before or after its n-th storage call: another finishes, and nothing is lost.

A few calls here; every one of them in `nox -s faults`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.engine.faulty import Faulty
from tests.faults import dying_script
from tests.faults.dying_script import DIED, several
from tests.faults.places import opened_again
from tests.faults.world import World
from tests.support.processes import ENVIRONMENT
from tests.support.virtual_time import Backend, VirtualTime

LIMIT = 60.0
LATER = 3600.0
"""seconds after the process's death at which another looks: by then its leases have lapsed"""
SOME = [("asyncio", 4, "after"), ("trio", 9, "before"), ("asyncio", 12, "after")]


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def addresses(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[str]:
    """Empty databases, one after the other."""
    if kind == "sqlite":
        return (str(tmp_path / f"{number}.db") for number in count())
    databases: Any = request.getfixturevalue("postgres_databases")
    return (databases.shared() for _ in count())


def told_by_child(kind: str, address: str, backend: Backend, at: int, when: str) -> tuple[int, list[list[str]]]:
    """Run the process; return its exit code, and the words of each line that it wrote."""
    child = subprocess.run(
        [sys.executable, dying_script.__file__, kind, address, backend, str(at), when],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert child.returncode in {0, DIED}, child.stderr
    return child.returncode, [line.split() for line in child.stdout.splitlines()]


async def go_on(kind: str, address: str, time_source: VirtualTime, told: list[list[str]]) -> list[str]:
    """Finish in another process's place; return what is broken."""
    clock = time_source.clock(epoch=time.time() + LATER)
    async with opened_again(kind, address, time_source, clock) as storage, anyio.create_task_group() as tasks:
        lost = [words[1] for words in told if words[0] == "acknowledged" and await storage.load(words[1]) is None]
        world = World(storage, Faulty(storage, tasks), tasks, seed=1, lasting=0)
        for words in told:
            if words[0] == "ran":
                world.note(words[1], words[2], int(words[3]), int(words[4]))
        await several(world)
        return [f"{id} was acknowledged, and is not there" for id in lost] + await world.breaches()
    raise AssertionError("unreachable: nobody cancels it from outside")


def check(kind: str, address: str, backend: Backend, at: int, when: str) -> list[list[str]]:
    code, told = told_by_child(kind, address, backend, at, when)
    time_source = VirtualTime(backend)
    name, options = time_source.anyio_backend
    broken = anyio.run(go_on, kind, address, time_source, told, backend=name, backend_options=options)
    assert not broken, f"{kind} {backend}: ended {when} storage call {at}: {broken}"
    assert (code == 0) == any(words[0] == "calls" for words in told)
    return told


@pytest.mark.promise("P5", "P10", "I5", "I9", "I25")
@pytest.mark.parametrize(("backend", "at", "when"), SOME)
def test_another_process_finishes_what_one_left_at_a_storage_call(
    kind: str, addresses: Iterator[str], backend: Backend, at: int, when: str
) -> None:
    told = check(kind, next(addresses), backend, at, when)
    assert not any(words[0] == "calls" for words in told), "it was to end before its end"


@pytest.mark.promise("P5", "P10", "I5", "I9", "I25")
@pytest.mark.faults
def test_a_process_may_end_at_any_storage_call(kind: str, addresses: Iterator[str], backend: Backend) -> None:
    (calls,) = (int(words[1]) for words in check(kind, next(addresses), backend, 0, "") if words[0] == "calls")
    assert calls > 10
    for at in range(1, calls + 1):
        for when in ("before", "after"):
            check(kind, next(addresses), backend, at, when)
