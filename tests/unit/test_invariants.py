"""Each rule of the checker finds the damage it was made for, and nothing else; what is sound has no breach.

Every case starts from what a driver committed, whose commits are all sound, and damages one thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from stepwell import MemoryStorage, verify
from stepwell._definition import Workflow
from stepwell._invariants import RULES, Breach, check_children, check_execution, check_parent, children_of
from stepwell._model import Entry, Kind, Moment, Row, Signal, SignalState, Status, Stored
from stepwell._transition import Asked, Ended, Returned
from tests.support.driver import FAILURE, Driver
from tests.support.flows import chain, choice, gates, parent, patient
from tests.unit.damages import (
    LATER,
    Damage,
    begun,
    both,
    cancelled,
    discarded,
    failed,
    lost,
    paused,
    queued,
    refused,
    running,
    signalled,
    signalled_twice,
    succeeded,
    timed,
    waiting,
    with_entry,
    with_more,
    with_row,
    with_signal,
    without_entry,
)

# -- what is sound -----------------------------------------------------------------------------------------------------

SOUND = [
    queued,
    running,
    lost,
    waiting,
    paused,
    succeeded,
    failed,
    cancelled,
    refused,
    timed,
    signalled,
    signalled_twice,
    discarded,
]


@pytest.mark.parametrize("make", SOUND, ids=lambda make: make.__name__)
def test_what_an_engine_commits_is_sound(make: Callable[[], Stored]) -> None:
    assert check_execution(make()) == []


# -- damages -----------------------------------------------------------------------------------------------------------

RETRY = Entry(Kind.STEP_RETRY, "work", 1, 1, payload=FAILURE, ref="1.0")
SUCCESS = Entry(Kind.STEP_SUCCEEDED, "work", 1, 1, payload="1")
PENDING = Signal("late", "second", "1", SignalState.PENDING)

CASES: list[tuple[str, int | None, Callable[[], Stored], Damage]] = [
    # P1
    ("one-success", 5, running, with_more(SUCCESS)),
    ("one-success", 5, running, with_more(Entry(Kind.STEP_STARTED, "work", 1, 1, "worker"), step="work")),
    ("one-outcome", 4, waiting, with_more(RETRY)),
    # P2
    ("holder", 4, succeeded, with_entry(4, worker="another")),
    ("holder", 4, succeeded, with_entry(4, worker=None)),
    ("holder", 2, cancelled, with_entry(2, worker=None)),
    ("holder", 2, queued, with_more(Entry(Kind.STEP_INTERRUPTED, "work", 1, 0))),
    (
        "holder",
        4,
        waiting,
        with_more(Entry(Kind.STEP_STARTED, "work", 1, 2, "worker"), status=Status.RUNNING, attempt=2, worker="worker"),
    ),
    ("token", 2, succeeded, both(with_entry(2, token=5), with_row(token=5))),
    ("token", 3, lost, both(with_entry(3, token=1), with_row(token=1))),
    ("token", 4, succeeded, with_entry(4, token=1)),
    ("token", 3, cancelled, both(with_entry(3, token=0), with_row(token=1))),
    # P4
    ("attempts", 2, succeeded, both(with_entry(2, attempt=2), with_entry(3, attempt=2))),
    ("attempts", 3, succeeded, with_entry(3, attempt=2)),
    ("attempts", 4, succeeded, both(with_entry(4, attempt=3), with_entry(5, attempt=3))),
    ("attempts", 3, lost, both(with_entry(3, attempt=3), with_row(attempt=3))),
    # P5
    ("stranded", None, queued, with_row(due_at=None)),
    ("stranded", None, running, with_row(due_at=None)),
    ("stranded", None, waiting, with_row(due_at=None)),
    ("stranded", None, timed, with_row(due_at=None)),
    ("stranded", None, timed, with_row(due_at=LATER)),
    ("stranded", None, signalled, with_row(due_at=None)),
    ("stranded", None, signalled, with_row(due_at=LATER)),
    ("paused", None, paused, with_row(due_at=0)),
    # P6
    ("readable", None, succeeded, with_entry(2, ref="nonsense")),
    ("numbered", 3, succeeded, without_entry(3)),
    ("numbered", None, succeeded, without_entry(6)),
    ("numbered", None, succeeded, with_row(revision=7)),
    ("numbered", 4, succeeded, with_entry(4, seq=3)),
    ("begins", None, queued, lambda stored: replace(stored, journal=(), row=replace(stored.row, revision=0))),
    ("begins", 1, queued, with_entry(1, kind=Kind.QUEUED)),
    ("begins", 2, queued, with_more(Entry(Kind.CREATED, "work", 1))),
    ("ordered", 4, succeeded, with_entry(4, at=999_999)),
    ("path", 4, succeeded, both(with_entry(4, visit=2), with_entry(5, visit=2))),
    ("path", 3, running, with_entry(3, step="elsewhere")),
    ("path", 4, timed, with_more(Entry(Kind.STEP_SUSPENDED, "first", 1, 1), at_once=True)),
    ("path", 3, cancelled, with_entry(3, step="elsewhere")),
    ("path", 5, running, with_more(Entry(Kind.QUEUED, "more", 1, 1), status=Status.QUEUED, worker=None)),
    ("path", 4, failed, with_entry(4, visit=7)),
    (
        "path",
        5,
        failed,
        with_more(
            Entry(Kind.RESUMED, "more", 1, 1, ref="queued", payload="1"),
            status=Status.QUEUED,
            step="more",
            visit=1,
            attempt=1,
            error=None,
            ended_at=None,
            due_at=0,
        ),
    ),
    *(
        ("row", None, make, with_row(**{field: value}))
        for make, field, value in (
            (succeeded, "status", Status.FAILED),
            (succeeded, "step", "work"),
            (succeeded, "visit", 1),
            (succeeded, "attempt", 1),
            (succeeded, "token", 2),
            (succeeded, "pausing", True),
            (succeeded, "output", '"another"'),
            (succeeded, "output", None),
            (succeeded, "error", "1"),
            (succeeded, "created_at", 0),
            (succeeded, "ended_at", None),
            (running, "worker", "another"),
            (running, "worker", None),
            (running, "ended_at", 1_000_000),
            (failed, "error", None),
            (failed, "error", '"' + "long" * 100 + '"'),
            (refused, "error", None),
            (refused, "output", "1"),
        )
    ),
    # P7
    ("lawful", 2, succeeded, with_entry(2, ref="waiting")),
    (
        "lawful",
        4,
        waiting,
        with_more(Entry(Kind.RESUMED, "work", 1, 1, ref="queued"), status=Status.QUEUED, due_at=0),
    ),
    ("final", 7, succeeded, with_more(Entry(Kind.PAUSING, "done", 1, 1), pausing=True)),
    ("final", 7, succeeded, with_more(Entry(Kind.WOKEN, ref="x/child", route="failed"))),
    ("final", None, succeeded, with_row(due_at=0)),
    ("final", None, cancelled, with_row(timer_at=0)),
    # P8
    ("counted", None, signalled, with_row(signals=3)),
    ("counted", None, signalled, with_row(signals=1)),
    ("used", None, signalled, with_signal("s1", state=SignalState.USED)),
    ("used", 4, signalled, with_signal("s2", state=SignalState.PENDING)),
    ("used", 4, signalled, with_signal("s2", payload="2")),
    ("used", 4, signalled, with_signal("s2", step="second")),
    ("used", 6, signalled_twice, with_entry(6, ref="s1")),
    ("discarded", 2, discarded, with_signal("s1", id="s2")),
    ("discarded", None, signalled, with_signal("s1", state=SignalState.DISCARDED)),
    ("discarded", 2, discarded, with_signal("s1", step="first")),
    (
        "pending",
        None,
        discarded,
        lambda stored: replace(stored, signals=(*stored.signals, PENDING), row=replace(stored.row, signals=2)),
    ),
]


@pytest.mark.parametrize(
    ("rule", "seq", "make", "damage"),
    CASES,
    ids=[f"{n}-{rule}-{make.__name__}" for n, (rule, _, make, _) in enumerate(CASES)],
)
def test_a_damage_is_found_and_told_as_what_it_is(
    rule: str, seq: int | None, make: Callable[[], Stored], damage: Damage
) -> None:
    damaged = damage(make())
    assert damaged != make()
    found = check_execution(damaged)
    assert {breach.rule for breach in found} == {rule}, "\n".join(map(str, found))
    assert (found[0].promise, found[0].execution, found[0].seq) == (RULES[rule], "x", seq)
    assert anyio.run(verify, Damaged(damaged)).breaches == tuple(found)


class Damaged(MemoryStorage):
    """A storage that holds one execution, as it is given."""

    def __init__(self, stored: Stored) -> None:
        super().__init__(clock=lambda: stored.now / 1_000_000)
        self._rows["x"] = stored.row
        self._journals["x"] = list(stored.journal)
        self._signals["x"] = {signal.id: signal for signal in stored.signals}


def test_every_rule_can_be_broken() -> None:
    proven = {rule for rule, *_ in CASES} | {"child", "told"}  # these two in the cases of families, below
    assert proven == set(RULES)


def test_a_breach_says_which_promise_where_and_what() -> None:
    (breach,) = check_execution(with_entry(4, token=1)(succeeded()))
    assert str(breach) == ("P2 (token) broken by 'x' at entry 4: expected token 0, found 1 in step.started")
    (breach,) = check_execution(with_row(due_at=0)(succeeded()))
    assert str(breach).startswith("P7 (final) broken by 'x': expected ")


def test_what_was_found_is_cut() -> None:
    assert len(Breach.of("row", "x", "", "y" * 10_000).found) == 1_000


# -- the path ----------------------------------------------------------------------------------------------------------


def test_a_path_of_the_graph_is_sound() -> None:
    assert check_execution(succeeded(), chain()) == []
    assert check_execution(signalled_twice(), gates()) == []
    assert check_execution(failed(), chain()) == []


@pytest.mark.parametrize(
    ("make", "workflow", "damage", "says"),
    [
        (succeeded, patient(), with_row(), "'work' to lead by 'next' to 'gate'"),
        (succeeded, gates(), with_row(), "to begin at 'first'"),
        (succeeded, chain(), with_entry(6, step="elsewhere"), "a step of workflow 'w'"),
        (succeeded, chain(), with_entry(6, step="more", visit=2), "no execution.succeeded at step of kind activity"),
        (signalled_twice, gates(), with_entry(6, route="off"), "an edge of 'second'"),
        (signalled_twice, gates(), with_entry(6, route=None), "an edge of 'second'"),
        (succeeded, choice(), with_row(), "'work' to lead by 'next' to 'route'"),
    ],
)
def test_what_is_no_path_of_the_graph_is_told(
    make: Callable[[], Stored], workflow: Workflow[Any, Any], damage: Damage, says: str
) -> None:
    found = check_execution(damage(make()), workflow)
    assert {breach.rule for breach in found} == {"path"}, "\n".join(map(str, found))
    assert any(says in breach.expected for breach in found), "\n".join(map(str, found))


# -- families ----------------------------------------------------------------------------------------------------------


def family(*, ended: bool = True) -> tuple[Stored, Stored]:
    """Return a parent that waits for its child, and the child; where it has *ended*, the parent is due."""
    driver = begun(parent())
    driver.claim("x")
    driver.report("x", Asked("1"))
    if ended:
        driver.claim("x/sub")
        driver.report("x/sub", Returned("1"), Ended("2"))
    return driver.load("x"), driver.load("x/sub")


def rows(*all_stored: Stored) -> dict[str, Row]:
    return {stored.row.id: stored.row for stored in all_stored}


@pytest.mark.parametrize("ended", [True, False])
def test_a_family_is_sound(ended: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    above, child = family(ended=ended)
    assert children_of(above) == ("x/sub",)
    assert children_of(child) == ()
    assert check_children(above, rows(child)) == []
    assert check_children(child, {}) == []
    assert check_parent(child, above) == []


@pytest.mark.parametrize(
    ("damage", "children", "rule"),
    [
        (with_entry(3, ref="x/other"), "x/other", "child"),
        (with_more(Entry(Kind.STEP_SUSPENDED, "sub", 1, 1, ref="x/sub")), "x/sub", "child"),
        (with_row(), "nobody", "child"),
        (with_row(due_at=None), "x/sub", "stranded"),
        (with_row(due_at=LATER), "x/sub", "stranded"),
    ],
)
def test_a_parent_without_its_one_child_or_unaware_of_its_end_is_told(damage: Damage, children: str, rule: str) -> None:
    above, child = family()
    found = check_children(damage(above), {children: replace(child.row, id=children)})
    assert {(breach.rule, breach.execution) for breach in found} == {(rule, "x")}


def test_a_child_of_somebody_else_is_told() -> None:
    above, child = family()
    found = check_children(above, {"x/sub": replace(child.row, parent="y")})
    assert [breach.rule for breach in found] == ["child"]


def test_a_parent_that_is_suspended_elsewhere_waits_for_no_child() -> None:
    assert check_children(replace(timed(), now=0), {}) == []


def test_a_child_without_its_parent_is_told() -> None:
    above, child = family()
    (found,) = check_parent(child, None)
    assert (found.rule, found.execution) == ("child", "x/sub")
    (found,) = check_parent(child, replace(above, journal=above.journal[:2]))
    assert (found.rule, found.execution) == ("child", "x/sub")


def test_a_parent_that_was_not_told_of_the_end_is_told_unless_it_had_ended_itself() -> None:
    above, child = family()
    woken = next(entry for entry in above.journal if entry.kind is Kind.WOKEN)
    for field in ({"change": "another"}, {"ref": "x/other"}, {"kind": Kind.PAUSING}):
        (found,) = check_parent(child, with_entry(woken.seq, **field)(above))
        assert (found.rule, found.execution) == ("told", "x/sub")
    ended = with_more(Entry(Kind.CANCELLED, "sub", 1, 1))(with_entry(woken.seq, kind=Kind.PAUSING)(above))
    assert check_parent(child, ended) == []


def test_a_start_in_the_future_is_sound() -> None:
    driver = Driver()
    driver.start(chain(), due=Moment(after=60))
    assert check_execution(driver.load("x")) == []
