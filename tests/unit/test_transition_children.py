"""A child is made once, wakes its parent once, and has one id whoever makes it."""

from __future__ import annotations

import pytest

from stepwell._model import Status
from stepwell._transition import Asked, Call, Ended, Paused, Raised, Resumed, Returned, StillSuspended, child_id
from tests.support.driver import FAILURE, Driver
from tests.support.flows import parent


def claimed() -> Driver:
    driver = Driver()
    driver.start(parent())
    driver.claim("x")
    return driver


@pytest.mark.promise("P9", "I30", "I31")
def test_a_child_is_created_in_the_commit_that_suspends_its_parent_and_wakes_it() -> None:
    driver = claimed()
    driver.report("x", Asked("7"))
    child = driver.rows["x/sub"]
    assert (child.parent, child.input, child.status, child.workflow) == ("x", "7", Status.QUEUED, "child")
    assert driver.rows["x"].status is Status.SUSPENDED
    assert not driver.is_due("x")
    driver.claim("x/sub")
    driver.report("x/sub", Returned("1"), Ended("2"))
    assert driver.is_due("x")
    driver.go("x")
    assert driver.histories["x"].steps["sub"].route == "succeeded"
    assert driver.rows["x"].step == "done"


def test_a_parent_whose_child_ends_while_it_looks_is_due_again() -> None:
    driver = claimed()
    driver.report("x", Asked("7"))
    driver.ask("x", Paused())
    driver.ask("x", Resumed())
    driver.claim("x")
    driver.claim("x/sub")
    driver.report("x/sub", Raised(FAILURE))
    driver.report("x", StillSuspended())
    assert driver.is_due("x")
    driver.go("x")
    assert driver.rows["x"].step == "failed"


def test_a_parent_that_looks_too_early_goes_on_waiting() -> None:
    driver = claimed()
    driver.report("x", Asked("7"))
    driver.ask("x", Paused())
    driver.ask("x", Resumed())
    driver.go("x")
    assert driver.rows["x"].status is Status.SUSPENDED
    assert not driver.is_due("x")


def test_a_pause_comes_before_the_child() -> None:
    driver = claimed()
    driver.ask("x", Paused())
    driver.report("x", Asked("7"))
    assert driver.rows["x"].status is Status.PAUSED
    assert "x/sub" not in driver.rows
    driver.ask("x", Resumed())
    assert isinstance(driver.claim("x"), Call)
    assert driver.rows["x"].attempt == 2


@pytest.mark.promise("P9", "I30")
def test_the_id_of_a_child_names_parent_step_and_visit() -> None:
    assert child_id("p", "s", 1) == "p/s"
    assert child_id("p", "s", 2) == "p/s:2"


def test_the_id_of_a_child_is_hashed_where_it_would_be_too_long() -> None:
    long = "é" * 127
    ids = {child_id(long, "step", visit) for visit in range(1, 9)} | {child_id(long + "x", "step", 1)}
    assert len(ids) == 9
    assert all(len(id.encode()) <= 255 and "/~" in id for id in ids)
    assert child_id(long, "step", 1) == child_id(long, "step", 1)
    assert child_id("p" * 250, "abcd", 1) == "p" * 250 + "/abcd", "255 bytes fit"
