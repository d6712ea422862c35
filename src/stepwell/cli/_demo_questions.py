"""The questions at which the demo's executions wait, and what a person types in answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.cli._demo_import import Approval, Finding, approval, check, parse
from stepwell.cli._demo_refund import Review, load_order, review
from stepwell.cli._demo_shop import Order, money
from stepwell.cli._next import awaited_step

if TYPE_CHECKING:
    from stepwell import Execution, Wait

__all__ = ["Answer", "Question", "Questions", "findings_of", "question_of"]

_ANSWERS: Final = {"y": True, "yes": True, "n": False, "no": False}


@dataclass(frozen=True, slots=True)
class Question:
    """What an execution waits for a person to say."""

    title: str
    execution: Execution
    wait: Wait[Any, Any, Any, Any]
    text: str
    payload: Callable[[bool], object]

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others."""
        return self.execution.id, self.wait.name


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody typed, and to which question."""

    question: Question
    approved: bool


def question_of(title: str, execution: Execution) -> Question | None:
    """Return the question that an execution waits at; None if it waits at none."""
    match awaited_step(execution):
        case approval.name:
            count = len(findings_of(execution))
            rows: Any = execution.steps[parse.name].output
            text = f"{count} problems in {len(rows)} rows. Load them all the same, marked?"
            return Question(title, execution, approval, text, Approval)
        case review.name:
            order = msgspec.convert(execution.steps[load_order.name].output, Order)
            amount = money(execution.input["amount"])
            text = f"{amount} of order {order.number} go back to {order.customer}, which is above the limit. Pay?"
            return Question(title, execution, review, text, Review)
        case _:
            return None


def findings_of(execution: Execution) -> list[Finding]:
    """Return what the import found wrong."""
    return msgspec.convert(execution.steps[check.name].output, list[Finding])


class Questions:
    """Those that are open, the longest open first: that one is asked."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Question] = {}
        self._answered: set[tuple[str, str]] = set()

    def update(self, current: Iterable[Question]) -> tuple[list[Question], list[Question]]:
        """Take what is open now; return which of them are new, and which are not open any more."""
        found = {question.key: question for question in current}
        gone = [question for key, question in self._open.items() if key not in found]
        for question in gone:
            del self._open[question.key]
        self._answered &= found.keys()
        new = [question for key, question in found.items() if key not in self._open and key not in self._answered]
        self._open.update({question.key: question for question in new})
        return new, gone

    @property
    def asked(self) -> Question | None:
        """The one that a bare `y` or `n` answers."""
        return next(iter(self._open.values()), None)

    def open(self) -> list[Question]:
        """Return all, the asked one first."""
        return list(self._open.values())

    def close(self, question: Question) -> None:
        """Take note that a question has its answer, before the execution is seen to go on."""
        if self._open.pop(question.key, None) is not None:
            self._answered.add(question.key)

    def read(self, line: str) -> Answer | str | None:
        """Return what a typed line says: an answer, what to type instead, or nothing where nothing is asked.

        `y` and `n` answer the question that is asked; `refund y` answers that one.
        """
        if not self._open:
            return None
        title, _, word = line.lower().rpartition(" ")
        approved = _ANSWERS.get(word)
        if approved is None:
            return "please type y or n, then Enter"
        if not title.strip():
            return Answer(next(iter(self._open.values())), approved)
        for question in self._open.values():
            if question.title == title.strip():
                return Answer(question, approved)
        return f"nothing is asked of {title.strip()!r}; open: {', '.join(q.title for q in self._open.values())}"
