"""A journal that is otherwise than expected is told, whatever differs, and by lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwell._model import Entry, Kind
from tests.scenarios.form import FAILURE_CODES
from tests.scenarios.journals import Names, difference, lines_of

FAILURE = '{"type":"shop.Broken","message":"no"}'

JOURNAL = (
    Entry(Kind.CREATED, "work", 1, 0, change="a", seq=1, at=1_000_000),
    Entry(Kind.CLAIMED, "work", 1, 1, "w-1", 1, ref="queued", seq=2, at=2_500_000),
    Entry(Kind.STEP_FAILED, "work", 1, 1, payload=FAILURE, change="b", seq=3, at=3_000_000),
    Entry(Kind.FAILED, "work", 1, 1, change="b", seq=4, at=3_000_000),
)
EXPECTED = """
    0    execution.created  work 1/0
    1.5  execution.claimed  work 1/1  worker=$w token=1 ref=queued
    2    step.failed        work 1/1  code=error type=Broken
    +    execution.failed   work 1/1
"""
CLAIMED = "execution.claimed  work 1/1  worker=$w token=1 ref=queued"


def told(expected: str, journal: tuple[Entry, ...] = JOURNAL) -> str:
    return difference(expected, lines_of(journal, prefix="0001~", began=1_000_000), Names())


def test_a_journal_that_is_as_expected_differs_in_nothing() -> None:
    assert told(EXPECTED) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.5 ", "1.6 "),
        ("step.failed", "step.retry"),
        ("work 1/0", "more 1/0"),
        ("work 1/0", "work 2/0"),
        ("work 1/0", "work 1/1"),
        ("token=1", "token=2"),
        ("ref=queued", "ref=waiting"),
        ("code=error", "code=timeout"),
        ("type=Broken", "type=Whole"),
        ("worker=$w", "worker=other"),
        ("+    execution.failed   work 1/1", ""),
        ("+  ", "2  "),
        ("2    step.failed", "+    step.failed"),
    ],
)
def test_whatever_differs_is_told(before: str, after: str) -> None:
    assert before in EXPECTED
    shown = told(EXPECTED.replace(before, after))
    assert "expected" in shown
    assert any(line.startswith(("-", "+")) for line in shown.splitlines()[3:])


def test_a_line_without_a_time_matches_at_any_time_but_not_in_another_commit() -> None:
    assert told(EXPECTED.replace("1.5 ", "* ")) == ""
    assert told(EXPECTED.replace("+  ", "*  ")) != ""


def test_a_name_stands_for_one_value_and_a_value_has_one_name() -> None:
    same = (JOURNAL[1], JOURNAL[1])
    other = (JOURNAL[1], Entry(Kind.CLAIMED, "work", 1, 1, "w-2", 1, ref="queued", seq=3, at=2_500_000))
    one_name = f"1.5 {CLAIMED}\n1.5 {CLAIMED}"
    two_names = f"1.5 {CLAIMED}\n1.5 {CLAIMED.replace('$w', '$v')}"
    assert (told(one_name, same), told(two_names, other)) == ("", "")
    assert told(one_name, other) != ""
    assert told(two_names, same) != ""


def test_names_hold_across_the_journals_of_a_scenario() -> None:
    names = Names()
    line = lines_of(JOURNAL[1:2], prefix="0001~", began=1_000_000)
    other = [line[0].replace("w-1", "w-2")]
    assert difference(f"1.5 {CLAIMED}", line, names) == ""
    assert difference(f"1.5 {CLAIMED}", other, names) != ""


def test_the_page_tells_of_every_kind_and_every_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "journal.md").read_text(encoding="utf-8")
    assert {kind.value for kind in Kind} == {kind for kind in map(str, Kind) if f"\n| `{kind}` |" in page}
    assert {code for code in FAILURE_CODES if f"\n| `{code}` |" in page} == FAILURE_CODES
