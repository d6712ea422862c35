"""What a client sees of an execution, and how it asks for many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from msgspec.structs import replace

from stepwell._checks import InvalidArgument
from stepwell._codec import PayloadError
from stepwell._difference import difference, differing
from stepwell._errors import ExecutionUnreadable
from stepwell._execution import (
    Execution,
    JournalEntry,
    Page,
    Query,
    idempotency_key,
    merged_data,
    read_error,
    to_datetime,
    to_microseconds,
)
from stepwell._failure import Failure
from stepwell._history import History
from stepwell._model import Kind, Status
from stepwell._model import Page as RowPage
from stepwell._transition import Chose, Ended, Raised, Returned, State
from tests.support.driver import FAILURE, Driver
from tests.support.flows import chain, choice, loop

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def shown(driver: Driver) -> Execution:
    return Execution.of(driver.load("x"))


def test_an_execution_shows_its_row_and_its_steps() -> None:
    driver = Driver(now=2_000_000)
    driver.start(choice())
    driver.claim("x")
    driver.report("x", Returned('{"a":1}'), Chose("on"), Ended("[2]"))
    execution = shown(driver)
    work, route = execution.steps["work"], execution.steps["route"]
    assert (execution.status, execution.output, execution.error, execution.input) == (Status.SUCCEEDED, [2], None, 1)
    assert (execution.current_step, execution.due_at, execution.ended_at) == (None, None, EPOCH + timedelta(seconds=2))
    assert (work.status, work.output, work.attempts, work.idempotency_key) == (Status.SUCCEEDED, {"a": 1}, 1, "x:work")
    assert (work.started_at, work.ended_at) == (EPOCH + timedelta(seconds=2),) * 2
    assert (route.route, route.output, route.started_at) == ("on", None, None)
    assert execution.data == {"a": 1}


def test_an_execution_that_runs_tells_where_and_by_whom() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    execution = shown(driver)
    assert (execution.current_step, execution.worker, execution.pausing) == ("work", "worker", False)
    assert (execution.due_at, execution.ended_at) == (EPOCH + timedelta(seconds=60), None)
    assert execution.steps["work"].ended_at is None


def test_a_failed_step_shows_its_failure() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    execution = shown(driver)
    assert isinstance(execution.error, Failure)
    assert execution.failed_step == "work"
    assert execution.steps["work"].error == execution.error


@pytest.mark.parametrize("text", ["{broken", "", "[" * 100_000, '{"a":1e400}', "9" * 5_000])
def test_a_payload_that_was_damaged_is_shown_as_a_failure_beside_the_rest(text: str) -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    driver.report("x", Returned('{"a":1}'))
    stored = driver.load("x")
    journal = tuple(
        replace(entry, payload="{broken") if entry.kind is Kind.STEP_SUCCEEDED else entry for entry in stored.journal
    )
    damaged = replace(stored, row=replace(stored.row, input=text, error=text), journal=journal)
    execution = Execution.of(damaged)
    for value in (execution.input, execution.error, execution.steps["work"].output):
        assert isinstance(value, Failure)
        assert (value.code, "can't be read" in value.message) == ("payload", True)
    assert (execution.status, dict(execution.data)) == (stored.row.status, {})
    with pytest.raises(PayloadError, match="the stored output of step 'work'"):
        merged_data(History.of(journal))


def test_a_failure_that_was_damaged_is_shown_as_another() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    stored = driver.load("x")
    journal = tuple(replace(e, payload="[]") if e.kind is Kind.STEP_FAILED else e for e in stored.journal)
    error = Execution.of(replace(stored, journal=journal)).steps["work"].error
    assert error is not None
    assert error.code == "payload"


def test_a_journal_that_says_what_none_can_say_is_unreadable_and_its_execution_stands_where_the_row_says() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    stored = driver.load("x")
    journal = tuple(replace(e, ref="dancing") if e.kind is Kind.CLAIMED else e for e in stored.journal)
    damaged = replace(stored, journal=journal)
    for read in (Execution.of, State.of):
        with pytest.raises(ExecutionUnreadable, match=r"of execution 'x' can't be read: its journal: .*dancing"):
            read(damaged)
    assert State.unread(stored.row).history.matches(stored.row)


def test_a_question_is_refused_in_words_before_it_is_asked() -> None:
    for query, told in (
        (Query(tag="a\0"), "tag may hold printable characters only"),
        (Query(status=["queued", "done"]), "'done' is no status"),
        (Query(status=1), "status must be a status or a list of them, not 1"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidArgument, match=told):
            query.to_rows()


def test_the_error_of_a_fail_step_is_what_it_returned() -> None:
    assert read_error('{"step":"denied","value":{"why":1}}') == ({"why": 1}, "denied")
    assert read_error(None) == (None, None)


def test_data_merges_objects_only_in_the_order_of_the_last_success() -> None:
    driver = Driver()
    driver.start(loop())
    driver.claim("x")
    driver.report("x", Returned('{"a":1,"b":1}'), Chose("again"))
    driver.report("x", Returned("[3]"), Chose("on"))
    assert shown(driver).data == {}


def test_a_row_alone_shows_neither_steps_nor_data() -> None:
    driver = Driver()
    driver.start(chain())
    execution = Execution.of_row(driver.rows["x"])
    assert (execution.id, dict(execution.steps), dict(execution.data)) == ("x", {}, {})


def test_a_line_of_the_journal_shows_its_content_decoded() -> None:
    driver = Driver()
    driver.start(chain())
    driver.claim("x")
    driver.report("x", Returned('{"a":1}'))
    claimed, succeeded = map(JournalEntry.of, driver.journals["x"][1:3])
    assert (claimed.kind, claimed.worker, claimed.reference, claimed.value) == (
        "execution.claimed",
        "worker",
        "queued",
        None,
    )
    assert (succeeded.kind, succeeded.step, succeeded.value, succeeded.seq) == ("step.succeeded", "work", {"a": 1}, 3)


def test_the_key_of_a_later_visit_names_it() -> None:
    assert [idempotency_key("x", "s", visit) for visit in (1, 2)] == ["x:s", "x:s:2"]


# -- times -------------------------------------------------------------------------------------------------------------


def test_times_keep_their_microseconds_in_any_zone() -> None:
    moment = datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    assert to_datetime(to_microseconds(moment, "at")) == moment


def test_a_time_beyond_the_last_year_is_the_last_moment() -> None:
    assert to_datetime(2**62) == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("moment", [datetime(2024, 1, 1), "2024-01-01"])  # noqa: DTZ001 -- what is refused
def test_a_time_without_a_zone_is_refused(moment: datetime) -> None:
    with pytest.raises(InvalidArgument, match="created_after must be a datetime with a time zone"):
        Query(created_after=moment).to_rows()


# -- queries and pages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (None, ()),
        ("failed", (Status.FAILED,)),
        (Status.QUEUED, (Status.QUEUED,)),
        (["failed", Status.PAUSED], (Status.FAILED, Status.PAUSED)),
    ],
)
def test_a_query_takes_one_status_or_several(status: str | list[str] | None, asked: tuple[Status, ...]) -> None:
    assert Query(status=status).to_rows().status == asked


def test_a_query_asks_a_storage_in_its_own_words() -> None:
    query = Query(workflow="w", metadata={"k": 1}, created_after=EPOCH, created_before=EPOCH, id_prefix="", limit=1000)
    rows = query.to_rows()
    assert (rows.workflow, rows.metadata, rows.created_after, rows.created_before) == ("w", {"k": 1}, 0, 0)
    assert (rows.id_prefix, rows.limit, rows.after) == (None, 1000, None)


@pytest.mark.parametrize("limit", [0, 1001, True, 1.5])
def test_a_query_without_a_sensible_limit_is_refused(limit: int) -> None:
    with pytest.raises(InvalidArgument, match="limit"):
        Query(limit=limit).to_rows()


def test_an_unknown_status_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="queued, running"):
        Query(status="lost").to_rows()


@pytest.mark.parametrize("cursor", ["junk", "é", "e30=", "MQ=="])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidArgument, match="`next` of an earlier page"):
        Query(after=cursor).to_rows()


def test_a_page_names_the_next_one_only_if_there_is_more() -> None:
    driver = Driver()
    driver.start(chain())
    row = driver.rows["x"]
    page = Page.of(RowPage((row,), more=True))
    assert [execution.id for execution in page.executions] == ["x"]
    assert Query(after=page.next).to_rows().after == (row.created_at, "x")
    assert Page.of(RowPage((row,), more=False)).next is None
    assert Page.of(RowPage((), more=True)).next is None


# -- what differs between two definitions ------------------------------------------------------------------------------


def graph(*names: str, kind: str = "activity") -> str:
    nodes = ",".join(f'{{"name":"{name}","kind":"{kind}","label":"any"}}' for name in names)
    edges = ",".join(f'{{"from":"{one}","to":"end","label":"next"}}' for one in names)
    return f'{{"start":"{names[0]}","nodes":[{nodes}],"edges":[{edges}]}}'


def test_a_difference_names_what_went_and_what_came() -> None:
    assert difference(graph("a", "b"), graph("a", "c")).splitlines() == [
        "  - step b: activity",
        "  - edge b → end (next)",
        "  + step c: activity",
        "  + edge c → end (next)",
    ]


def test_equal_steps_and_edges_differ_in_a_type() -> None:
    assert "a type" in difference(graph("a"), graph("a").replace("any", "other label"))


def test_a_long_difference_is_cut() -> None:
    text = difference(graph("a"), graph(*(f"s{number}" for number in range(30))))
    assert text.splitlines()[-1].strip().startswith("… and")
    assert len(text.splitlines()) == 21


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("1", "2", "$"),
        ("1", "1.0", "$"),
        ('{"user":"u","password":"one"}', '{"user":"u","password":"two"}', "$.password"),
        ('{"a":[1,{"b":2}],"c":1}', '{"a":[1,{"b":3}],"d":1}', "$.a[1].b, $.c and $.d"),
        ('{"a":1,"b":1,"c":1,"d":1}', "{}", "$.a, $.b, $.c and others"),
        ("[1,2]", "[1]", "$"),
        ("{broken", "{}", "$"),
    ],
)
def test_two_inputs_are_told_apart_by_paths_and_not_by_values(before: str, after: str, told: str) -> None:
    assert differing(before, after) == told
