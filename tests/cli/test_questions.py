"""What a person types in answer to the demo's questions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from stepwell import Execution, Status
from stepwell.cli._demo_import import Approval, approval
from stepwell.cli._demo_questions import Answer, Question, Questions
from stepwell.cli._demo_refund import Review, review

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXECUTION = Execution(
    id="import-1",
    workflow="import_airports",
    version="1",
    status=Status.SUSPENDED,
    current_step="approval",
    input=None,
    data={},
    output=None,
    error=None,
    failed_step=None,
    tags=(),
    metadata={},
    parent=None,
    created_at=NOW,
    updated_at=NOW,
    due_at=None,
    ended_at=None,
)
IMPORT = Question("import", EXECUTION, approval, "load?", Approval)
REFUND = Question("refund", replace(EXECUTION, id="refund-1"), review, "pay?", Review)


@pytest.fixture
def questions() -> Questions:
    made = Questions()
    assert made.update([REFUND]) == ([REFUND], [])
    assert made.update([IMPORT, REFUND]) == ([IMPORT], [])
    return made


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("y", Answer(REFUND, approved=True)),
        ("No", Answer(REFUND, approved=False)),
        ("import y", Answer(IMPORT, approved=True)),
        ("  Refund   NO ", Answer(REFUND, approved=False)),
        ("payment y", "nothing is asked of 'payment'; open: refund, import"),
        ("", "please type y or n, then Enter"),
        ("perhaps", "please type y or n, then Enter"),
    ],
)
def test_the_one_that_is_open_longest_is_asked_and_the_others_by_name(
    questions: Questions, line: str, answer: Answer | str
) -> None:
    assert questions.asked is REFUND
    assert questions.read(line.strip()) == answer


def test_an_answer_closes_its_question_once(questions: Questions) -> None:
    questions.close(REFUND)
    assert questions.open() == [IMPORT]
    assert questions.update([IMPORT, REFUND]) == ([], [])  # it has not been seen to go on yet
    assert questions.update([IMPORT]) == ([], [])
    assert questions.asked is IMPORT


def test_what_is_answered_elsewhere_is_gone(questions: Questions) -> None:
    assert questions.update([IMPORT]) == ([], [REFUND])
    assert questions.read("y") == Answer(IMPORT, approved=True)


def test_nothing_is_read_where_nothing_is_asked() -> None:
    assert Questions().read("y") is None
    assert Questions().asked is None
