"""What a worker does next with what it holds."""

from __future__ import annotations

from stepwell._model import Status
from stepwell._transition import (
    Asked,
    Call,
    Decide,
    Halted,
    Look,
    Lost,
    Opened,
    Paused,
    Raised,
    Resolve,
    Resumed,
    Returned,
    StillSuspended,
    TimerFired,
)
from tests.support.driver import FAILURE, Driver
from tests.support.flows import chain, gates, parent, patient


def test_a_step_is_called() -> None:
    driver = Driver()
    driver.start(chain())
    action = driver.claim("x")
    assert isinstance(action, Call)
    assert action.step.name == "work"
    driver.report("x", Returned("1"))
    assert driver.plan("x") == Call(driver.workflow_of("x").steps["more"])


def test_a_wait_at_the_start_is_opened_by_the_worker_that_comes_to_it() -> None:
    driver = Driver()
    driver.start(gates(timeout=30))
    assert driver.claim("x") == Decide(Opened())
    driver.report("x", Opened())
    assert (driver.rows["x"].status, driver.rows["x"].due_at) == (Status.SUSPENDED, 30_000_000)


def test_an_open_wait_is_resolved_by_its_signal() -> None:
    driver = Driver()
    driver.start(gates())
    driver.signal("x", "first", "on")
    action = driver.claim("x")
    assert isinstance(action, Resolve)
    assert (action.step.name, action.signal.id) == ("first", "s1")


def test_a_resolver_that_is_tried_again_gets_the_same_signal() -> None:
    driver = Driver()
    driver.start(gates())
    driver.signal("x", "first", "on")
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    driver.ask("x", Resumed(2))
    driver.ask("x", Paused())
    driver.signal("x", "first", "on")
    driver.ask("x", Resumed())
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    action = driver.plan("x")
    assert isinstance(action, Resolve)
    assert action.signal.id == "s2"


def test_an_open_wait_ends_with_its_time_and_not_before() -> None:
    driver = Driver()
    driver.start(patient(timeout=30))
    driver.claim("x")
    driver.report("x", Returned("1"))
    driver.wait(30)
    assert driver.claim("x") == Decide(TimerFired())
    driver.hands["x"].now -= 1
    assert driver.plan("x") == Decide(StillSuspended())


def test_an_open_wait_without_a_timeout_never_ends_by_itself() -> None:
    driver = Driver()
    driver.start(patient(timeout=None))
    driver.claim("x")
    driver.report("x", Returned("1"))
    driver.ask("x", Paused())
    driver.signal("x", "gate", "on")
    driver.ask("x", Resumed())
    driver.claim("x")
    hand = driver.hands["x"]
    hand.state = type(hand.state)(hand.state.row, hand.state.history)
    assert driver.plan("x") == Decide(StillSuspended())


def test_an_open_subworkflow_is_looked_at_and_an_unopened_one_called() -> None:
    driver = Driver()
    driver.start(parent())
    assert isinstance(driver.claim("x"), Call)
    driver.report("x", Asked("1"))
    driver.ask("x", Paused())
    driver.ask("x", Resumed())
    assert driver.claim("x") == Look("x/sub")


def test_an_attempt_that_nobody_ended_is_lost_unless_it_is_to_be_paused() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    driver.lose("x")
    assert driver.claim("x") == Decide(Lost())
    driver.ask("x", Paused())
    driver.lose("x")
    assert driver.claim("x") == Decide(Halted())
