"""SQLite and Postgres do what memory does, call by call, whatever is asked of them in whatever order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from stepwell import SQLiteStorage
from stepwell.storage import Storage
from stepwell.storage.memory import MemoryStorage
from tests.storage.agreeing import Agreeing, OpenAll

if TYPE_CHECKING:
    from tests.support.postgres._databases import Databases

SHORT = settings(  # without shrinking, which would take minutes
    max_examples=20,
    stateful_step_count=20,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
LONG = settings(
    SHORT, max_examples=1_000, stateful_step_count=50, derandomize=False, phases=list(Phase), print_blob=True
)


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal("asyncio") as portal:
        yield portal


@pytest.fixture
def open_all(
    portal: BlockingPortal, tmp_path: Path, postgres_databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> OpenAll:
    # Where claims are slow, as on a busy machine, they look less far back for a while: not what a model can foresee.
    monkeypatch.setattr("stepwell.storage._postgres._horizon._SLOW", math.inf)
    from stepwell.storage.postgres import PostgresStorage  # noqa: PLC0415 (its driver is only needed here)

    numbers = count(1)

    def open_them(clock: Callable[[], float]) -> Sequence[AbstractContextManager[Storage]]:
        path = tmp_path / f"{next(numbers)}.db"
        dsn = postgres_databases.shared()
        storages: list[Any] = [
            MemoryStorage(clock=clock),
            SQLiteStorage(path, clock=clock, synchronous="NORMAL"),
            PostgresStorage(dsn, clock=clock, notify=False, connections=1),
        ]
        return [portal.wrap_async_context_manager(storage) for storage in storages]

    return open_them


@pytest.fixture
def machine(portal: BlockingPortal, open_all: OpenAll) -> type[Agreeing]:
    class Machine(Agreeing):
        def __init__(self) -> None:
            super().__init__(portal, open_all)

    return Machine


@pytest.mark.promise("I11", "I42")
def test_storages_answer_and_keep_the_same(machine: type[Agreeing]) -> None:
    run_state_machine_as_test(machine, settings=SHORT)


@pytest.mark.faults
def test_storages_answer_and_keep_the_same_for_long(machine: type[Agreeing]) -> None:
    run_state_machine_as_test(machine, settings=LONG)
