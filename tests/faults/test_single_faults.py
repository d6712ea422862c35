"""Every scenario, with one storage call after the other that fails, is done but reported failed, hangs or comes late.

There are some 3,600 faults. Here is each of them on memory, on one of the two event loops, and a seeded twentieth on
SQLite and Postgres. `nox -s faults` plays them all everywhere, and pairs of them.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepwell import _claims, _client, _settling
from stepwell._model import LEGAL, Change, Kind, Status, Wake
from stepwell._transition import Event, transition
from stepwell.storage import Storage, Unit
from stepwell.storage.memory import MemoryStorage
from tests.engine.faulty import ALL, How
from tests.faults.cases import BACKENDS, Case, Outcome, breaches_of, play, single_faults
from tests.faults.places import Place, in_memory, place_for
from tests.faults.scenarios import SCENARIOS
from tests.support.storages import StorageKind
from tests.support.virtual_time import Backend, VirtualTime

SEED = 1
SHARE = 20
"""one in so many cases is played on a database"""


def check(outcome: Outcome, case: Case, clean: Outcome, storage: str) -> None:
    if broken := breaches_of(case, outcome, clean):
        breaches = "\n  ".join(broken)
        again = f"python -m tests.faults --storage {storage} --seed {SEED} --replay '{case}'"
        pytest.fail(f"{case}\n  {breaches}\nreplay: {again}", pytrace=False)


def drawn(what: object, sides: int) -> int:
    """Return a number below *sides* that depends on the seed and on nothing else but this."""
    return zlib.crc32(f"{SEED} {what}".encode()) % sides


@pytest.fixture(scope="module")
def clean() -> dict[tuple[str, Backend], Outcome]:
    """What each scenario comes to on each event loop where nothing goes wrong."""
    return {
        (name, backend): play(Case(name, backend), in_memory, seed=SEED) for name in SCENARIOS for backend in BACKENDS
    }


@pytest.mark.promise("P1", "P5", "P9", "P12", "I1", "I2", "I5", "I9", "I17", "I30")
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_single_fault_on_memory_breaks_a_promise(name: str, clean: dict[tuple[str, Backend], Outcome]) -> None:
    unmet: list[Case] = []
    for turn, backend in enumerate(BACKENDS):
        before = clean[name, backend]
        check(before, Case(name, backend), before, "memory")
        for fault in single_faults(before.calls):
            if drawn(f"{name} {fault}", len(BACKENDS)) != turn:
                continue
            case = Case(name, backend, (fault,))
            outcome = play(case, in_memory, seed=SEED)
            check(outcome, case, before, "memory")
            if not outcome.met:
                unmet.append(case)
    assert not unmet, "a fault that no call meets shows nothing"


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: StorageKind, tmp_path: Path) -> Place:
    emptied: Callable[[], str] = lambda: ""  # noqa: E731
    if kind == "postgres":
        emptied = request.getfixturevalue("postgres_databases").shared
    return place_for(kind, tmp_path, emptied)


@pytest.mark.promise("P1", "P5", "P12", "I1", "I5", "I9", "I42")
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_single_faults_on_a_database_break_no_promise(kind: StorageKind, place: Place, name: str) -> None:
    for backend in BACKENDS:
        clean = play(Case(name, backend), place, seed=SEED)
        check(clean, Case(name, backend), clean, kind)
        for fault in single_faults(clean.calls):
            case = Case(name, backend, (fault,))
            if drawn(case, SHARE) == 0:
                outcome = play(case, place, seed=SEED)
                check(outcome, case, clean, kind)


# -- what the scenarios cover ------------------------------------------------------------------------------------------


def test_the_scenarios_call_every_method_of_a_storage(clean: dict[tuple[str, Backend], Outcome]) -> None:
    calls = sum((outcome.calls for outcome in clean.values()), Counter[str]())
    assert set(calls) == set(ALL)
    assert sum(calls.values()) * len(How) > 7_000


class Seen:
    """What happened in all scenarios together."""

    def __init__(self) -> None:
        self.events: set[type[Any]] = set()
        self.pairs: set[tuple[Status, Status]] = set()
        self.kinds: set[Kind] = set()


class Watched(MemoryStorage):
    """Notes which status follows which, and what kinds of entries are written."""

    def __init__(self, seen: Seen, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self._seen = seen

    async def commit(self, units: Any, /) -> list[bool]:
        before = {id: row.status for id, row in self._rows.items()}
        results = await super().commit(units)
        for unit, is_committed in zip(units, results, strict=True):
            if is_committed:
                self._note(unit, before)
        return results

    def _note(self, unit: Unit, before: dict[str, Status]) -> None:
        for item in unit:
            if isinstance(item, Change):
                self._seen.kinds.update(entry.kind for entry in item.entries)
                if item.row.id in before:
                    self._seen.pairs.add((before[item.row.id], item.row.status))
            elif isinstance(item, Wake):
                self._seen.kinds.add(item.entry.kind)

    async def claim(self, *arguments: Any, **options: Any) -> Any:
        claims = await super().claim(*arguments, **options)
        for stored in claims.claimed:
            self._seen.kinds.add(stored.journal[-1].kind)
            self._seen.pairs.add((Status(stored.journal[-1].ref or ""), Status.RUNNING))
        return claims


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Play all scenarios under observation."""
    seen = Seen()

    def deciding(workflow: Any, state: Any, event: Event, terms: Any) -> Any:
        seen.events.add(type(event))
        return transition(workflow, state, event, terms)

    for module in (_claims, _client, _settling):
        monkeypatch.setattr(module, "transition", deciding)
    monkeypatch.setattr("stepwell._transition._machine.transition", deciding)

    def opened(time: VirtualTime) -> Storage:
        return Watched(seen, time.clock())

    for name in SCENARIOS:
        assert not play(Case(name, "asyncio"), opened, seed=SEED).breaches
    return seen


def test_the_scenarios_take_every_transition_there_is(seen: Seen) -> None:
    assert set(Kind) - seen.kinds == set()
    assert {(before, after) for before, others in LEGAL.items() for after in others} - seen.pairs == set()
    assert set(Event.__args__) - seen.events == set()
