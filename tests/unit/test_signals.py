"""How a signal is taken: used at once, kept, harmless, or refused with the reason."""

from __future__ import annotations

import pytest

from stepwell._errors import (
    AlreadySignalled,
    ExecutionEnded,
    NotAWait,
    SignalConflict,
    TooManySignals,
    UnknownStep,
    WaitPassed,
)
from stepwell._model import Deposit, Signal, SignalState, Status
from stepwell._transition import (
    Accepted,
    Cancelled,
    Decide,
    Opened,
    Paused,
    Raised,
    Resolve,
    Resumed,
    Returned,
    Signalled,
    StillSuspended,
    TimerFired,
    accept,
)
from tests.support.driver import FAILURE, Driver, kinds
from tests.support.flows import gates, patient


def opened(timeout: float | None = None) -> Driver:
    driver = Driver()
    driver.start(gates(timeout=timeout))
    driver.go("x")
    return driver


def test_a_signal_to_an_open_wait_is_used_at_once() -> None:
    driver = opened()
    assert driver.signal("x", "first", "on") is Accepted.USABLE
    assert driver.rows["x"].step == "second"
    assert driver.signals["x"]["s1"].state is SignalState.USED
    assert driver.histories["x"].steps["first"].output == "1"


def test_the_change_of_a_clients_signal_leaves_the_guard_to_its_deposit() -> None:
    driver = opened()
    deposit = Deposit(id="x", signal=Signal("s", "first", "1"), expects=0)
    (change,) = driver.decided("x", Signalled("s", "1", "on"))
    assert change.signals is None, "the deposit in the same unit raises the counter"  # type: ignore[union-attr]
    assert driver.commit((deposit, change))


def test_an_early_signal_is_kept_and_used_when_its_wait_opens() -> None:
    driver = opened()
    assert driver.signal("x", "second", "on") is Accepted.KEPT
    driver.signal("x", "first", "on")
    assert driver.rows["x"].step == "second"
    assert isinstance(driver.claim("x"), Resolve)
    driver.report("x", Signalled("s1", "1", "on"))
    assert driver.rows["x"].step == "done"


def test_a_signal_before_the_first_claim_needs_no_open_wait() -> None:
    driver = Driver()
    driver.start(gates())
    assert driver.signal("x", "first", "on") is Accepted.KEPT
    assert isinstance(driver.claim("x"), Resolve)


def test_a_signal_that_comes_while_the_wait_opens_makes_it_due() -> None:
    driver = Driver()
    driver.start(gates(timeout=30))
    assert driver.claim("x") == Decide(Opened())
    driver.signal("x", "first", "on")
    driver.report("x", Opened())
    assert (driver.rows["x"].status, driver.is_due("x")) == (Status.SUSPENDED, True)


def test_a_signal_that_comes_while_the_worker_looks_makes_it_due_again() -> None:
    driver = opened(30)
    driver.wait(30)
    driver.claim("x")
    assert driver.signal("x", "first", "on") is Accepted.KEPT
    driver.report("x", StillSuspended())
    assert isinstance(driver.claim("x"), Resolve)


@pytest.mark.promise("P8", "I27")
def test_a_signal_before_the_timeouts_commit_wins() -> None:
    driver = opened(30)
    driver.wait(30)
    assert driver.claim("x") == Decide(TimerFired())
    driver.signal("x", "first", "on")
    driver.report("x", TimerFired())
    assert (driver.rows["x"].status, driver.rows["x"].step) == (Status.SUSPENDED, "first")
    assert isinstance(driver.claim("x"), Resolve)


def test_a_timeout_that_was_committed_wins_and_the_signal_is_told() -> None:
    driver = opened(30)
    driver.wait(30)
    driver.go("x")
    assert driver.histories["x"].steps["first"].route == "timeout"
    with pytest.raises(WaitPassed):
        driver.signal("x", "first", "on")


def test_a_wait_in_a_loop_takes_one_signal_per_visit() -> None:
    driver = opened()
    driver.signal("x", "first", "again")
    assert (driver.rows["x"].step, driver.rows["x"].visit) == ("first", 2)
    driver.signal("x", "first", "on")
    with pytest.raises(AlreadySignalled):
        driver.signal("x", "first", "on")


def test_a_loop_of_waits_beyond_its_bound_fails_where_the_client_used_the_signal() -> None:
    driver = opened()
    driver.signal("x", "first", "again")
    driver.signal("x", "first", "again")
    assert driver.rows["x"].status is Status.FAILED
    assert kinds(driver, last=3) == ["step.resumed", "step.failed", "failed"]


def test_a_second_signal_for_the_same_visit_is_refused() -> None:
    driver = opened()
    driver.signal("x", "second", "on")
    with pytest.raises(AlreadySignalled):
        driver.signal("x", "second", "on")


@pytest.mark.promise("P8", "I26")
def test_a_duplicate_is_harmless_before_and_after_its_use_and_after_the_end() -> None:
    driver = opened()
    driver.signal("x", "first", "on", signal_id="s")
    assert driver.signal("x", "first", "on", signal_id="s") is Accepted.DUPLICATE
    driver.ask("x", Cancelled())
    assert driver.signal("x", "first", "on", signal_id="s") is Accepted.DUPLICATE


@pytest.mark.parametrize(("step", "payload"), [("first", "2"), ("second", "1")])
def test_the_same_id_with_other_content_is_a_conflict(step: str, payload: str) -> None:
    driver = opened()
    driver.signal("x", "first", "on", signal_id="s")
    with pytest.raises(SignalConflict):
        driver.signal("x", step, "on", signal_id="s", payload=payload)


def test_a_signal_after_the_end_is_told_how_it_ended() -> None:
    driver = opened()
    driver.ask("x", Cancelled())
    with pytest.raises(ExecutionEnded, match="cancelled"):
        driver.signal("x", "first", "on")


def test_a_signal_to_no_wait_names_the_waits() -> None:
    driver = opened()
    with pytest.raises(UnknownStep):
        driver.signal("x", "nowhere", "on")
    with pytest.raises(NotAWait, match="second"):
        driver.signal("x", "done", "on")


def test_too_many_unused_signals_are_refused() -> None:
    driver = opened()
    signal = Signal("s", "second", "1")
    with pytest.raises(TooManySignals):
        accept(driver.workflow_of("x"), driver.load("x"), driver.state("x"), signal, max_pending=0)


def test_a_signal_at_a_paused_wait_is_kept_for_the_resume() -> None:
    driver = opened()
    driver.ask("x", Paused())
    assert driver.signal("x", "first", "on") is Accepted.KEPT
    assert not driver.is_due("x")
    driver.ask("x", Resumed())
    assert isinstance(driver.claim("x"), Resolve)


def test_a_wait_without_a_timeout_waits_for_ever() -> None:
    driver = Driver()
    driver.start(patient(timeout=None))
    driver.claim("x")
    driver.report("x", Returned("1"))
    assert (driver.rows["x"].due_at, driver.rows["x"].timer_at) == (None, None)


def test_a_signal_that_is_used_while_a_pause_is_asked_for_is_kept() -> None:
    driver = Driver()
    driver.start(gates())
    driver.signal("x", "first", "on")
    driver.claim("x")
    driver.ask("x", Paused())
    driver.report("x", Signalled("s1", "1", "on"))
    assert (driver.rows["x"].status, driver.rows["x"].step) == (Status.PAUSED, "second")


def test_a_failed_wait_without_a_timeout_is_open_for_ever_again() -> None:
    driver = Driver()
    driver.start(gates())
    driver.signal("x", "first", "on")
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    driver.ask("x", Resumed())
    assert (driver.rows["x"].status, driver.rows["x"].due_at) == (Status.SUSPENDED, None)
