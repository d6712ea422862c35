"""A check that can't fail is none: each breach that is made by hand is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import pytest
from msgspec.structs import replace

from stepwell._model import Entry, Kind, SignalState, Status
from stepwell.storage.memory import MemoryStorage
from tests.faults import cases
from tests.faults.cases import Case, play
from tests.faults.scenarios import SCENARIOS
from tests.faults.world import World
from tests.support.oracle import breaches_in
from tests.support.virtual_time import VirtualTime


@dataclass
class Kept:
    """Keeps the storage in which a case was played."""

    storage: MemoryStorage = field(default_factory=MemoryStorage)

    def open(self, time: VirtualTime) -> MemoryStorage:
        self.storage = MemoryStorage(clock=time.clock())
        return self.storage


def played(scenario: str) -> MemoryStorage:
    kept = Kept()
    assert not play(Case(scenario, "asyncio"), kept.open).breaches
    assert not anyio.run(breaches_in, kept.storage)
    return kept.storage


def a_gap(storage: MemoryStorage) -> None:
    del storage._journals["x"][1]


def another_row(storage: MemoryStorage) -> None:
    storage._rows["x"] = replace(storage._rows["x"], status=Status.FAILED)


def a_second_success(storage: MemoryStorage) -> None:
    journal = storage._journals["x"]
    success = next(entry for entry in journal if entry.kind is Kind.STEP_SUCCEEDED)
    journal[-2] = replace(success, seq=journal[-2].seq)


def a_signal_left_over(storage: MemoryStorage) -> None:
    storage._signals["x"]["s"] = replace(storage._signals["x"]["s"], state=SignalState.PENDING)


def a_lost_parent(storage: MemoryStorage) -> None:
    storage._rows["x"] = replace(storage._rows["x"], parent="nobody")


def stranded(storage: MemoryStorage) -> None:
    """Let it be queued, with a journal that says so, and never due."""
    storage._journals["x"] = [Entry(Kind.CREATED, "gate", 1, seq=1)]
    row = storage._rows["x"]
    storage._rows["x"] = replace(
        row, status=Status.QUEUED, step="gate", visit=1, attempt=0, revision=1, token=0, ended_at=None, output=None
    )


@pytest.mark.parametrize("damage", [a_gap, another_row, a_second_success, a_signal_left_over, a_lost_parent, stranded])
def test_each_breach_is_found(damage: Callable[[MemoryStorage], None]) -> None:
    storage = played("early_signals_of_which_one_counts")
    damage(storage)
    assert anyio.run(breaches_in, storage)


# -- what is only seen while a case is played --------------------------------------------------------------------------


def broken(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[World], None]) -> str:
    """Play a scenario in a world that tells something wrong; return what is found."""

    async def three(world: World) -> None:
        spoil(world)
        await SCENARIOS["three_steps_that_a_worker_here_claims_as_they_start"](world)

    monkeypatch.setattr(cases, "SCENARIOS", {"three": three})
    return "; ".join(play(Case("three", "trio"), Kept().open).breaches)


def test_a_handler_that_ran_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "attempt 1 of second (visit 1) ran 2 times" in broken(
        monkeypatch, lambda world: world.note("x", "second", 1, 1)
    )


def test_a_handler_that_ran_after_its_success_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ran again, after its success" in broken(monkeypatch, lambda world: world.note("x", "second", 1, 2))


def test_what_was_acknowledged_and_is_gone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "gone was acknowledged and is None" in broken(
        monkeypatch, lambda world: world.expect("gone", Status.SUCCEEDED)
    )


def unheard(_world: World, *_types: str) -> None:
    pass


def test_a_storages_error_that_is_booked_as_a_handlers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the scenario doesn't know of is no failure of its steps."""
    kept = Kept()
    monkeypatch.setattr(World, "may_raise", unheard)
    found = play(Case("a_failure_that_a_catch_takes", "asyncio"), kept.open).breaches
    assert any("is booked as what step broken raised" in breach for breach in found), found
