"""What follows from how steps end: routes, retries, catches, bounds, riders, lost and drained attempts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stepwell._definition import Workflow
from stepwell._errors import IllegalTransition, StepCrashed, StepwellError
from stepwell._model import NOW, Kind, Status
from stepwell._retry import Retry
from stepwell._transition import (
    Chose,
    Decide,
    Drained,
    Ended,
    Event,
    Halted,
    HandedBack,
    Lost,
    Raised,
    Resumed,
    Returned,
    Signalled,
    TimerFired,
)
from tests.support.driver import FAILURE, Driver, Hand, kinds
from tests.support.flows import Broken, chain, choice, loop, patient, spin

CRASH_BACKOFF = 60.0


def claimed(workflow: Workflow[Any, Any]) -> Driver:
    driver = Driver()
    driver.start(workflow)
    driver.claim("x")
    return driver


def test_a_step_leads_to_the_next_under_the_same_lease() -> None:
    driver = claimed(chain())
    driver.report("x", Returned("1"))
    row = driver.rows["x"]
    assert (row.status, row.step, row.attempt, row.token) == (Status.RUNNING, "more", 1, 1)
    assert kinds(driver) == ["created", "claimed", "step.succeeded", "step.started"]


def test_a_step_leads_to_the_queue_where_the_lease_is_given_up() -> None:
    driver = claimed(chain())
    driver.report("x", Returned("1"), keep_lease=False)
    row = driver.rows["x"]
    assert (row.status, row.step, row.attempt, row.worker) == (Status.QUEUED, "more", 0, None)
    assert driver.is_due("x")


def test_a_terminal_step_ends_the_execution_with_its_value() -> None:
    driver = claimed(chain())
    driver.report("x", Returned("1"))
    driver.report("x", Returned("2"), Ended('{"n":3}'))
    row = driver.rows["x"]
    assert (row.status, row.output, row.error, row.step) == (Status.SUCCEEDED, '{"n":3}', None, None)


def test_a_fail_step_ends_it_with_the_error_it_returned() -> None:
    driver = claimed(choice())
    driver.report("x", Returned("1"), Chose("off"), Ended('"sorry"'))
    row = driver.rows["x"]
    assert row.status is Status.FAILED
    assert msgspec.json.decode(row.error or "") == {"step": "failed", "value": "sorry"}


# -- retries -----------------------------------------------------------------------------------------------------------


def test_a_retry_waits_for_its_delay() -> None:
    driver = claimed(chain(retry=Retry(max_attempts=3, backoff=5, multiplier=2, jitter=0.5)))
    driver.report("x", Raised(FAILURE), random=0.0)
    assert driver.rows["x"].status is Status.WAITING
    assert driver.rows["x"].due_at == driver.rows["x"].timer_at == 2_500_000
    driver.wait(3)
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    assert driver.rows["x"].due_at == 3_000_000 + 10_000_000


def test_a_retry_without_delay_begins_at_once() -> None:
    driver = claimed(chain(retry=2))
    driver.report("x", Raised(FAILURE))
    assert (driver.rows["x"].status, driver.rows["x"].attempt) == (Status.RUNNING, 2)
    assert kinds(driver, last=2) == ["step.retry", "step.started"]


def test_a_retry_without_delay_waits_where_the_lease_is_given_up() -> None:
    driver = claimed(chain(retry=2))
    driver.report("x", Raised(FAILURE), keep_lease=False)
    assert driver.rows["x"].status is Status.WAITING
    assert driver.is_due("x")


def test_the_last_attempt_fails_the_execution_with_its_failure() -> None:
    driver = claimed(chain(retry=2))
    driver.report("x", Raised(FAILURE))
    driver.report("x", Raised(FAILURE))
    row = driver.rows["x"]
    assert row.status is Status.FAILED
    assert msgspec.json.decode(row.error or "") == {"step": "work", "failure": msgspec.json.decode(FAILURE)}


def test_an_error_that_is_given_up_on_is_not_tried_again() -> None:
    driver = claimed(chain(retry=9))
    driver.report("x", Raised(FAILURE, is_final=True))
    assert driver.rows["x"].status is Status.FAILED


def test_what_is_caught_is_tried_first_and_then_leads_to_the_catch() -> None:
    driver = claimed(chain(retry=2, catch=True))
    driver.report("x", Raised(FAILURE, route="catch:Broken"))
    assert driver.rows["x"].step == "work"
    driver.report("x", Raised(FAILURE, route="catch:Broken"), Ended("0"))
    assert kinds(driver, last=2) == ["step.failed", "failed"]
    assert driver.histories["x"].steps["work"].route == "catch:Broken"
    assert driver.histories["x"].failed_step is None, "a fail step ended it"


def test_attempts_after_a_resume_are_counted_by_its_allowance() -> None:
    driver = claimed(chain(retry=3))
    for _ in range(3):
        driver.report("x", Raised(FAILURE))
    driver.ask("x", Resumed(2))
    driver.claim("x")
    assert driver.rows["x"].attempt == 4
    driver.report("x", Raised(FAILURE))
    assert driver.rows["x"].attempt == 5
    driver.report("x", Raised(FAILURE))
    assert driver.rows["x"].status is Status.FAILED


# -- bounds ------------------------------------------------------------------------------------------------------------


def arrive_too_often(driver: Driver) -> None:
    driver.report("x", Returned("1"), Chose("again"))
    driver.report("x", Returned("2"), Chose("again"))


def test_an_arrival_beyond_the_bound_fails_the_execution() -> None:
    driver = claimed(loop())
    arrive_too_often(driver)
    row = driver.rows["x"]
    assert row.status is Status.FAILED
    assert msgspec.json.decode(row.error or "")["failure"]["code"] == "visits_exceeded"


def test_a_catch_does_not_get_round_the_bound_even_one_that_leads_to_itself() -> None:
    driver = claimed(loop(catch=True))
    for _ in range(2):
        driver.report("x", Raised(FAILURE, route="catch:Exception"))
    assert driver.rows["x"].status is Status.FAILED
    assert driver.histories["x"].steps["work"].visits == 3


def test_a_resume_grants_the_visit_that_was_one_too_many() -> None:
    driver = claimed(loop())
    arrive_too_often(driver)
    driver.ask("x", Resumed())
    driver.claim("x")
    assert (driver.rows["x"].visit, driver.rows["x"].attempt) == (3, 1)
    driver.report("x", Returned("3"), Chose("on"), Ended("4"))
    assert driver.rows["x"].status is Status.SUCCEEDED
    assert driver.histories["x"].steps["work"].output == "3"


# -- riders ------------------------------------------------------------------------------------------------------------


def test_decisions_and_terminals_ride_along_in_one_commit() -> None:
    driver = claimed(choice())
    driver.report("x", Returned("1"), Chose("on"), Ended("2"))
    assert kinds(driver)[2:] == ["step.succeeded", "step.routed", "succeeded"]
    assert len({entry.change for entry in driver.journals["x"][2:]}) == 1


def test_a_rider_that_fails_commits_with_the_success_of_its_activity() -> None:
    driver = claimed(choice())
    driver.report("x", Returned("1"), Raised(FAILURE))
    assert kinds(driver)[2:] == ["step.succeeded", "step.failed", "failed"]
    assert driver.histories["x"].steps["work"].output == "1"
    assert driver.histories["x"].failed_step == "route"


def test_a_rider_is_tried_again_as_an_attempt_of_its_own() -> None:
    driver = claimed(choice(retry=2))
    driver.report("x", Returned("1"), Raised(FAILURE), Chose("on"))
    assert kinds(driver)[2:] == ["step.succeeded", "step.retry", "step.started"]
    assert driver.rows["x"].attempt == 2


def test_a_rider_that_waits_for_its_retry_gives_the_lease_up() -> None:
    driver = claimed(choice(retry=2))
    driver.report("x", Returned("1"), Raised(FAILURE), keep_lease=False)
    assert (driver.rows["x"].status, driver.rows["x"].attempt) == (Status.WAITING, 1)


def test_a_terminal_rides_along_also_where_the_lease_is_given_up() -> None:
    driver = claimed(choice())
    driver.report("x", Returned("1"), Chose("on"), Ended("2"), keep_lease=False)
    assert driver.rows["x"].status is Status.SUCCEEDED


def test_at_most_twenty_ride() -> None:
    driver = claimed(spin())
    driver.report("x", Returned("1"), *[Chose("again")] * 29)
    assert driver.histories["x"].steps["again"].visits == 21


def test_nothing_rides_where_an_attempt_was_lost() -> None:
    driver = claimed(choice())
    driver.lose("x")
    driver.claim("x")
    driver.go("x")
    driver.wait(CRASH_BACKOFF)
    driver.claim("x")
    driver.report("x", Returned("1"), Chose("on"), Ended("2"))
    assert (driver.rows["x"].step, driver.rows["x"].status) == ("route", Status.RUNNING)


def test_nothing_rides_on_a_signal_that_a_client_used() -> None:
    driver = Driver()
    driver.start(patient())
    driver.claim("x")
    driver.report("x", Returned("1"))
    driver.signal("x", "gate", "on")
    assert (driver.rows["x"].step, driver.rows["x"].status) == ("more", Status.QUEUED)


# -- lost, drained and handed back -------------------------------------------------------------------------------------


def crash(driver: Driver, *, max_crashes: int = 3) -> None:
    """Lose the attempt, and let the next worker find that out."""
    driver.lose("x")
    assert driver.claim("x") == Decide(Lost())
    driver.report("x", Lost(), max_crashes=max_crashes)
    driver.wait(CRASH_BACKOFF)


@pytest.mark.promise("P4", "I13")
def test_a_lost_attempt_is_followed_by_a_pause_and_the_next_number() -> None:
    driver = claimed(chain())
    driver.lose("x")
    driver.claim("x")
    driver.report("x", Lost())
    row = driver.rows["x"]
    assert (row.status, row.attempt, row.due_at) == (Status.WAITING, 1, driver.now + 700_000)
    driver.wait(1)
    driver.claim("x")
    assert driver.rows["x"].attempt == 2
    assert driver.histories["x"].steps["work"].lost == 1


@pytest.mark.promise("P4", "I13")
def test_lost_attempts_use_up_no_retry() -> None:
    driver = claimed(chain(retry=2))
    crash(driver)
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    assert driver.rows["x"].status is Status.RUNNING


@pytest.mark.parametrize("max_crashes", [0, 1, 3])
def test_so_many_attempts_lost_as_a_suspect_fail_the_step(max_crashes: int) -> None:
    """The first two losses count for nothing; without any budget, the first is the last."""
    losses = max_crashes and max_crashes + 2
    driver = claimed(chain())
    for _ in range(1, losses):
        crash(driver, max_crashes=max_crashes)
        driver.claim("x")
    crash(driver, max_crashes=max_crashes)
    row = driver.rows["x"]
    assert row.status is Status.FAILED
    assert msgspec.json.decode(row.error or "")["failure"]["code"] == "crashed"
    assert driver.histories["x"].steps["work"].attempts == max(losses, 1)


@pytest.mark.parametrize(("error", "step"), [(StepCrashed, "failed"), (StepwellError, "failed"), (Broken, None)])
def test_a_crash_is_caught_by_its_class(error: type[BaseException], step: str | None) -> None:
    driver = claimed(chain(catch=True, error=error))
    crash(driver, max_crashes=0)
    assert driver.rows["x"].step == step


def test_a_drained_attempt_is_recorded_and_does_not_count() -> None:
    driver = claimed(chain(retry=2))
    driver.report("x", Drained())
    assert (driver.rows["x"].status, driver.rows["x"].attempt) == (Status.QUEUED, 1)
    driver.claim("x")
    assert driver.rows["x"].attempt == 2
    driver.report("x", Raised(FAILURE))
    assert driver.rows["x"].attempt == 3


@pytest.mark.promise("I13")
def test_a_hand_back_takes_back_the_number_of_the_attempt() -> None:
    driver = claimed(chain())
    driver.report("x", HandedBack("drain"))
    assert (driver.rows["x"].status, driver.rows["x"].attempt) == (Status.QUEUED, 0)
    driver.claim("x")
    assert driver.rows["x"].attempt == 1


def test_a_hand_back_of_a_step_that_began_under_the_lease_takes_it_back_too() -> None:
    driver = claimed(chain())
    driver.report("x", Returned("1"))
    driver.report("x", HandedBack("drain"))
    assert (driver.rows["x"].step, driver.rows["x"].attempt) == ("more", 0)


def test_a_suspect_that_may_not_run_yet_is_handed_back_for_a_while() -> None:
    driver = claimed(chain())
    driver.report("x", HandedBack("suspect", 1.0))
    assert (driver.rows["x"].status, driver.rows["x"].due_at) == (Status.WAITING, 1_000_000)


# -- what can't happen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event", [Returned("1"), Raised(FAILURE), TimerFired(), Drained(), Halted(), Signalled("s", "1", "on"), Resumed()]
)
def test_what_can_not_happen_is_refused(event: Event) -> None:
    driver = claimed(chain())
    driver.report("x", HandedBack("drain"))
    driver.hands["x"] = Hand(driver.state("x"), driver.now)
    with pytest.raises(IllegalTransition, match="can't go from queued"):
        driver.report("x", event)


def test_a_queued_start_may_lie_in_the_future() -> None:
    driver = Driver()
    driver.start(chain(), due=msgspec.structs.replace(NOW, after=20.0))
    assert (driver.rows["x"].due_at, driver.rows["x"].timer_at) == (20_000_000, 20_000_000)
    assert driver.journals["x"][0].kind is Kind.CREATED
