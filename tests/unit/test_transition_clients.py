"""What clients ask for: pause, resume and cancel, wherever the execution stands and whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stepwell._errors import IllegalTransition
from stepwell._model import Status
from stepwell._retry import Retry
from stepwell._transition import (
    Asked,
    Cancelled,
    Decide,
    Drained,
    Ended,
    Event,
    Halted,
    HandedBack,
    Lost,
    Opened,
    Paused,
    Raised,
    Resumed,
    Returned,
    StillSuspended,
    TimerFired,
)
from tests.support.driver import FAILURE, Driver, kinds
from tests.support.flows import chain, failing, gates, parent, patient

SLOW = Retry(max_attempts=2, backoff=10, jitter=0)


def queued() -> Driver:
    driver = Driver()
    driver.start(chain(retry=SLOW))
    return driver


def running() -> Driver:
    driver = queued()
    driver.claim("x")
    return driver


def waiting() -> Driver:
    driver = running()
    driver.report("x", Raised(FAILURE))
    return driver


def suspended() -> Driver:
    driver = Driver()
    driver.start(patient(timeout=30))
    driver.claim("x")
    driver.report("x", Returned("1"))
    return driver


def paused() -> Driver:
    driver = queued()
    driver.ask("x", Paused())
    return driver


def failed() -> Driver:
    driver = running()
    driver.report("x", Raised(FAILURE, is_final=True))
    return driver


def succeeded() -> Driver:
    driver = running()
    driver.report("x", Returned("1"))
    driver.report("x", Returned("1"), Ended("1"))
    return driver


# -- pause -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [queued, waiting, suspended])
def test_what_does_not_run_is_paused_at_once_and_goes_on_where_it_was(at: Callable[[], Driver]) -> None:
    driver = at()
    before = driver.rows["x"]
    driver.ask("x", Paused("lunch"))
    assert (driver.rows["x"].status, driver.rows["x"].due_at) == (Status.PAUSED, None)
    assert driver.journals["x"][-1].payload == '"lunch"'
    driver.ask("x", Resumed())
    after = driver.rows["x"]
    assert (after.status, after.step, after.due_at) == (before.status, before.step, before.due_at)


def test_the_time_left_runs_on_during_a_pause() -> None:
    driver = suspended()
    driver.ask("x", Paused())
    driver.wait(40)
    driver.ask("x", Resumed())
    assert driver.claim("x") == Decide(TimerFired())


@pytest.mark.parametrize(
    ("event", "status", "step"),
    [
        (Returned("1"), Status.QUEUED, "more"),
        (Raised(FAILURE), Status.WAITING, "work"),
        (Drained(), Status.QUEUED, "work"),
        (HandedBack("drain"), Status.QUEUED, "work"),
        (HandedBack("suspect", 1.0), Status.QUEUED, "work"),
    ],
)
def test_a_running_step_keeps_its_result_and_nothing_follows(event: Event, status: Status, step: str) -> None:
    driver = running()
    driver.ask("x", Paused())
    assert (driver.rows["x"].status, driver.rows["x"].pausing) == (Status.RUNNING, True)
    driver.report("x", event, Ended("1"))
    assert (driver.rows["x"].status, driver.rows["x"].pausing, driver.rows["x"].step) == (Status.PAUSED, False, step)
    driver.ask("x", Resumed())
    assert driver.rows["x"].status is status


def test_a_retry_without_delay_does_not_begin_in_a_pause() -> None:
    driver = Driver()
    driver.start(chain(retry=2))
    driver.claim("x")
    driver.ask("x", Paused())
    driver.report("x", Raised(FAILURE))
    assert driver.rows["x"].status is Status.PAUSED
    driver.ask("x", Resumed())
    assert driver.is_due("x")


def test_a_caught_failure_in_a_pause_stops_before_its_catch() -> None:
    driver = Driver()
    driver.start(chain(catch=True))
    driver.claim("x")
    driver.ask("x", Paused())
    driver.report("x", Raised(FAILURE, route="catch:Broken"), Ended("1"))
    assert (driver.rows["x"].status, driver.rows["x"].step) == (Status.PAUSED, "failed")


def test_a_last_failure_in_a_pause_ends_it_all_the_same() -> None:
    driver = running()
    driver.ask("x", Paused())
    driver.report("x", Raised(FAILURE, is_final=True))
    assert (driver.rows["x"].status, driver.rows["x"].pausing) == (Status.FAILED, False)


def test_a_wait_that_is_reached_in_a_pause_opens_and_its_time_runs() -> None:
    driver = Driver()
    driver.start(patient(timeout=30))
    driver.claim("x")
    driver.ask("x", Paused())
    driver.report("x", Returned("1"))
    assert driver.rows["x"].status is Status.PAUSED
    driver.signal("x", "gate", "on")
    driver.ask("x", Resumed())
    assert (driver.rows["x"].status, driver.rows["x"].timer_at) == (Status.SUSPENDED, 30_000_000)
    assert driver.is_due("x"), "the signal that came meanwhile is seen"


def test_a_crash_in_a_pause_ends_paused_without_a_handler() -> None:
    driver = running()
    driver.ask("x", Paused())
    driver.lose("x")
    assert driver.claim("x") == Decide(Halted())
    driver.go("x")
    assert (driver.rows["x"].status, driver.rows["x"].attempt) == (Status.PAUSED, 1)
    assert driver.histories["x"].steps["work"].lost == 1


def test_a_pause_that_comes_while_a_loss_is_decided_is_kept() -> None:
    driver = running()
    driver.lose("x")
    driver.claim("x")
    driver.ask("x", Paused())
    driver.report("x", Lost())
    assert driver.rows["x"].status is Status.PAUSED


def test_a_pause_that_comes_while_a_worker_looks_is_kept() -> None:
    driver = suspended()
    driver.ask("x", Paused())
    driver.ask("x", Resumed())
    driver.wait_until(driver.rows["x"].due_at)
    driver.claim("x")
    driver.ask("x", Paused())
    driver.report("x", StillSuspended())
    assert driver.rows["x"].status is Status.PAUSED
    driver.ask("x", Resumed())
    assert (driver.rows["x"].status, driver.is_due("x")) == (Status.SUSPENDED, True)


def test_a_wait_that_opens_late_is_paused_open() -> None:
    driver = Driver()
    driver.start(gates(timeout=30))
    assert driver.claim("x") == Decide(Opened())
    driver.ask("x", Paused())
    driver.report("x", Opened())
    assert driver.rows["x"].status is Status.PAUSED
    driver.ask("x", Resumed())
    assert driver.rows["x"].due_at == 30_000_000


def test_a_resume_takes_a_pause_back_that_did_not_begin() -> None:
    driver = running()
    driver.ask("x", Paused())
    driver.ask("x", Resumed())
    assert (driver.rows["x"].status, driver.rows["x"].pausing) == (Status.RUNNING, False)
    driver.report("x", Returned("1"))
    assert (driver.rows["x"].status, driver.rows["x"].step) == (Status.RUNNING, "more")


def test_a_resume_while_a_pause_is_committed_has_the_last_word() -> None:
    driver = suspended()
    driver.signal("x", "gate", "on")
    driver.claim("x")
    driver.ask("x", Paused())
    driver.hands["x"].state = driver.state("x")
    assert driver.plan("x") == Decide(Halted())
    driver.ask("x", Resumed())
    driver.report("x", Halted())
    assert (driver.rows["x"].status, driver.is_due("x")) == (Status.QUEUED, True)


def test_a_resume_while_a_pause_after_a_crash_is_committed_sees_to_the_crash() -> None:
    driver = running()
    driver.ask("x", Paused())
    driver.lose("x")
    driver.claim("x")
    driver.ask("x", Resumed())
    driver.report("x", Halted())
    assert driver.rows["x"].status is Status.WAITING


def test_an_open_wait_whose_resolver_was_drained_goes_on_after_a_pause() -> None:
    driver = Driver()
    driver.start(gates(timeout=30))
    driver.signal("x", "first", "on")
    driver.claim("x")
    driver.report("x", Drained())
    driver.ask("x", Paused())
    driver.ask("x", Resumed())
    assert (driver.rows["x"].status, driver.is_due("x")) == (Status.QUEUED, True)


def test_a_suspect_at_an_open_wait_is_looked_at_at_once_after_a_pause() -> None:
    driver = suspended()
    driver.wait(30)
    driver.claim("x")
    driver.report("x", HandedBack("suspect", 1.0))
    driver.ask("x", Paused())
    driver.ask("x", Resumed())
    assert (driver.rows["x"].status, driver.is_due("x")) == (Status.WAITING, True)


def test_a_drained_look_at_a_wait_leaves_it_suspended() -> None:
    driver = suspended()
    driver.wait(30)
    driver.claim("x")
    driver.report("x", HandedBack("drain"))
    assert (driver.rows["x"].status, driver.rows["x"].attempt, driver.is_due("x")) == (Status.SUSPENDED, 1, True)


# -- resume of what failed ---------------------------------------------------------------------------------------------


def test_a_failed_step_is_given_one_more_attempt() -> None:
    driver = failed()
    driver.ask("x", Resumed())
    row = driver.rows["x"]
    assert (row.status, row.step, row.error, row.ended_at) == (Status.QUEUED, "work", None, None)
    driver.claim("x")
    assert driver.rows["x"].attempt == 2


def test_a_failed_wait_is_open_again_with_all_its_time() -> None:
    driver = suspended()
    driver.wait(10)
    driver.ask("x", Paused())
    driver.signal("x", "gate", "on", signal_id="bad")
    driver.ask("x", Resumed())
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    assert driver.rows["x"].status is Status.FAILED
    driver.wait(100)
    driver.ask("x", Resumed())
    row = driver.rows["x"]
    assert (row.status, row.attempt, row.due_at) == (Status.SUSPENDED, 2, driver.now + 30_000_000)
    driver.signal("x", "gate", "on")
    assert driver.rows["x"].step == "more"


def test_a_subworkflow_that_crashed_looks_at_its_child_again() -> None:
    driver = Driver()
    driver.start(parent())
    driver.claim("x")
    driver.report("x", Asked("1"))
    driver.ask("x", Paused())
    driver.ask("x", Resumed())
    driver.claim("x")
    driver.lose("x")
    driver.claim("x")
    driver.report("x", Lost(), max_crashes=0)
    assert driver.rows["x"].status is Status.FAILED
    driver.ask("x", Resumed())
    assert driver.go("x") == StillSuspended()
    assert driver.load("x").row.status is Status.SUSPENDED


def test_after_a_fail_step_there_is_nothing_to_resume() -> None:
    driver = Driver()
    driver.start(failing())
    driver.claim("x")
    driver.report("x", Ended("1"))
    with pytest.raises(IllegalTransition, match="can't go from failed to resumed"):
        driver.ask("x", Resumed())


@pytest.mark.parametrize("at", [queued, running, waiting, suspended, succeeded])
def test_what_is_neither_paused_nor_failed_can_not_be_resumed(at: Callable[[], Driver]) -> None:
    driver = at()
    with pytest.raises(IllegalTransition):
        driver.ask("x", Resumed())


# -- cancel ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [queued, running, waiting, suspended, paused])
def test_whatever_lives_can_be_cancelled(at: Callable[[], Driver]) -> None:
    driver = at()
    driver.ask("x", Cancelled("enough"))
    row = driver.rows["x"]
    assert (row.status, row.step, row.due_at, row.worker) == (Status.CANCELLED, None, None, None)
    assert driver.journals["x"][-1].payload == '"enough"'


@pytest.mark.promise("P7", "I7")
@pytest.mark.parametrize("event", [Cancelled(), Paused()])
@pytest.mark.parametrize("at", [failed, succeeded])
def test_what_ended_is_neither_cancelled_nor_paused(at: Callable[[], Driver], event: Cancelled | Paused) -> None:
    driver = at()
    with pytest.raises(IllegalTransition):
        driver.ask("x", event)


def test_who_ran_what_was_cancelled_commits_nothing() -> None:
    driver = running()
    driver.ask("x", Cancelled())
    assert driver.rows["x"].token == 2
    assert not driver.report("x", Returned("1"))
    assert kinds(driver, last=1) == ["cancelled"]


@pytest.mark.promise("P9", "I32")
def test_a_cancel_takes_the_open_child_along_and_nobody_is_woken() -> None:
    driver = Driver()
    driver.start(parent())
    driver.claim("x")
    driver.report("x", Asked("1"))
    driver.ask("x", Cancelled())
    assert {row.status for row in driver.rows.values()} == {Status.CANCELLED}
    assert kinds(driver, last=1) == ["cancelled"]


def test_a_child_that_is_cancelled_alone_wakes_its_parent() -> None:
    driver = Driver()
    driver.start(parent())
    driver.claim("x")
    driver.report("x", Asked("1"))
    driver.ask("x/sub", Cancelled())
    driver.go("x")
    assert driver.histories["x"].steps["sub"].route == "cancelled"


def test_a_child_that_ends_after_its_parent_changes_nothing_there() -> None:
    driver = Driver()
    driver.start(parent())
    driver.claim("x")
    driver.report("x", Asked("1"))
    driver.claim("x/sub")
    driver.commit(driver.decided("x", Cancelled()))
    driver.report("x/sub", Raised(FAILURE))
    assert kinds(driver, last=1) == ["cancelled"]


@pytest.mark.promise("P8", "I8")
def test_an_unused_signal_is_discarded_at_the_end() -> None:
    driver = suspended()
    driver.ask("x", Paused())
    driver.signal("x", "gate", "on", signal_id="late")
    driver.ask("x", Cancelled())
    assert kinds(driver, last=2) == ["discarded_signal", "cancelled"]
    assert driver.journals["x"][-2].ref == "late"
