"""Errors that are hard to put on record: endless, deep, or with notes of any kind."""

from __future__ import annotations

__all__ = ["chained", "cyclic", "mutually_recursing", "nested_groups", "recursing", "with_notes"]


def recursing() -> BaseException:
    def dive() -> None:
        dive()

    try:
        dive()
    except RecursionError as error:
        return error
    raise AssertionError


def mutually_recursing() -> BaseException:
    def one(n: int) -> None:
        two(n + 1)

    def two(n: int) -> None:
        one(n + 1)

    try:
        one(0)
    except RecursionError as error:
        return error
    raise AssertionError


def chained(count: int) -> BaseException:
    error = Exception("cause 0")
    for number in range(1, count):
        outer = Exception(f"cause {number}")
        outer.__cause__ = error
        error = outer
    return error


def cyclic() -> BaseException:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


def nested_groups(depth: int) -> Exception:
    errors: list[Exception] = [ValueError("innermost")]
    for _ in range(depth):
        errors = [ExceptionGroup("level", errors)]
    return errors[0]


def with_notes(*notes: object) -> BaseException:
    error = ValueError("noted")
    vars(error)["__notes__"] = list(notes)
    return error
