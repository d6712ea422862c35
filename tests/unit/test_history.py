"""What the journal says when it is folded; that it folds to the row is checked at every commit of every core test."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from stepwell._history import History, _Fold
from stepwell._model import Entry, Kind, Status
from stepwell._transition import Asked, Chose, Drained, Ended, Raised, Resumed, Returned, State
from tests.support.driver import FAILURE, Driver
from tests.support.flows import chain, choice, loop, parent


def ended() -> Driver:
    driver = Driver(now=5)
    driver.start(choice())
    driver.claim("x")
    driver.wait(1)
    driver.report("x", Returned('{"a":1}'), Chose("on"), Ended("2"))
    return driver


@pytest.mark.promise("P6", "I6")
def test_a_history_that_is_read_on_is_the_one_read_at_once() -> None:
    journal = ended().journals["x"]
    for place in range(len(journal) + 1):
        first = History.of(journal[:place])
        assert first.after(journal[place:]) == History.of(journal)
        assert first == History.of(journal[:place]), "reading on changes nothing behind it"


@pytest.mark.promise("P6", "I6")
@pytest.mark.parametrize(
    "other",
    [
        {"status": Status.FAILED},
        {"step": "work"},
        {"visit": 1},
        {"attempt": 1},
        {"revision": 9},
        {"token": 9},
        {"worker": "other"},
        {"pausing": True},
    ],
)
def test_a_row_that_says_anything_else_does_not_match(other: dict[str, object]) -> None:
    driver = ended()
    row = driver.rows["x"]
    assert driver.histories["x"].matches(row)
    assert not driver.histories["x"].matches(replace(row, **other))


def test_a_step_tells_when_it_began_and_ended() -> None:
    step = ended().histories["x"].steps["work"]
    assert (step.status, step.started_at, step.ended_at) == (Status.SUCCEEDED, 5, 1_000_005)


def test_outputs_are_in_the_order_in_which_the_steps_last_succeeded() -> None:
    driver = Driver()
    driver.start(loop())
    driver.claim("x")
    driver.report("x", Returned("1"), Chose("again"))
    driver.report("x", Returned("2"), Chose("on"), Ended("3"))
    (work,) = driver.histories["x"].succeeded()
    assert (work.output, work.visits, driver.histories["x"].steps["again"].route) == ("2", 2, "on")


def test_the_output_of_the_visit_before_stands_until_the_next_one_succeeds() -> None:
    driver = Driver()
    driver.start(loop())
    driver.claim("x")
    driver.report("x", Returned("1"), Chose("again"))
    step = driver.histories["x"].steps["work"]
    assert (step.status, step.output, step.attempts) == (Status.RUNNING, "1", 1)


def test_a_success_forgets_the_failure_before_it() -> None:
    driver = Driver()
    driver.start(chain(retry=2))
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    assert driver.histories["x"].steps["work"].error == FAILURE
    driver.report("x", Returned("1"))
    assert driver.histories["x"].steps["work"].error is None


def test_a_lost_attempt_is_read_from_the_claim_after_it() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    before = driver.histories["x"]
    driver.lose("x")
    driver.claim("x")
    assert (before.has_lost, driver.histories["x"].has_lost) == (False, True)
    assert driver.histories["x"].steps["work"].lost == 1


def test_a_drained_attempt_is_queued_again() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    driver.report("x", Drained())
    assert driver.histories["x"].steps["work"].status is Status.QUEUED


def test_a_failed_step_is_named_until_it_is_resumed() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    before = driver.histories["x"]
    driver.ask("x", Resumed(2))
    step = driver.histories["x"].steps["work"]
    assert (before.failed_step, driver.histories["x"].failed_step) == ("work", None)
    assert (step.allowance, step.spent, step.lost, step.ended_at) == (2, 0, 0, None)


def test_a_child_that_ended_is_news_until_the_next_claim() -> None:
    driver = Driver()
    driver.start(parent())
    driver.claim("x")
    driver.report("x", Asked("1"))
    driver.claim("x/sub")
    driver.report("x/sub", Raised(FAILURE))
    before = driver.histories["x"]
    driver.claim("x")
    assert (before.is_woken, driver.histories["x"].is_woken) == (True, False)


def test_a_discarded_signal_only_raises_the_revision() -> None:
    history = ended().histories["x"]
    after = history.after([Entry(Kind.SIGNAL_DISCARDED, step="work", ref="s")])
    assert after == replace(history, revision=history.revision + 1)


def test_the_state_after_a_change_has_its_signals_no_more() -> None:
    driver = Driver()
    driver.start(chain())
    state = driver.state("x")
    assert state.step is None, "nothing became of the step so far"
    assert State.of(driver.load("x")) == state


def test_a_history_and_its_copy_in_the_making_have_the_same_fields_in_the_same_order() -> None:
    """One is made of the other by place."""
    renamed = {"at": "step"}
    fold, history = (msgspec.structs.fields(one) for one in (_Fold, History))
    assert [(renamed.get(one.name, one.name), one.type) for one in fold] == [(one.name, one.type) for one in history]
