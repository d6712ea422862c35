"""Causes, contexts and groups of errors on record: both ends of a long chain, the first of many members."""

from __future__ import annotations

import sys

from stepwell._failure import failure_of
from tests.unit.raising import chained, nested_groups


def test_a_cause_is_told_before_a_context_and_none_if_it_is_suppressed() -> None:
    error = ValueError("outer")
    error.__context__ = KeyError("context")
    assert [cause.type for cause in failure_of(error).causes] == ["KeyError"]
    error.__cause__ = OSError("cause")
    assert [cause.type for cause in failure_of(error).causes] == ["OSError"]
    error.__cause__ = None
    error.__suppress_context__ = True
    assert failure_of(error).causes == ()


def test_a_long_chain_keeps_both_ends() -> None:
    failure, said = failure_of(chained(10_000)), list[str]()
    while True:
        said.append(failure.message)
        if not failure.causes:
            break
        (failure,) = failure.causes
    assert said[:2] == ["cause 9999", "cause 9998"]
    assert said[5] == "9,992 causes between are left out"
    assert said[6:] == ["cause 2", "cause 1", "cause 0"]


def test_a_group_tells_its_first_members_and_how_many_more() -> None:
    failure = failure_of(ExceptionGroup("many", [ValueError(str(n)) for n in range(100_000)]))
    assert [cause.message for cause in failure.causes[:8]] == [str(n) for n in range(8)]
    assert failure.causes[8].message == "99,992 more exceptions of the group are left out"


def test_a_group_keeps_its_own_cause_after_its_members() -> None:
    group = ExceptionGroup("pair", [ValueError("a"), ValueError("b")])
    group.__cause__ = KeyError("why")
    assert [cause.type for cause in failure_of(group).causes] == ["ValueError", "ValueError", "KeyError"]


def test_the_recursion_limit_is_left_alone() -> None:
    before = sys.getrecursionlimit()
    failure_of(nested_groups(500))
    assert sys.getrecursionlimit() == before
