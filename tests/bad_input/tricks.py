"""Objects, classes and errors of users that do harm to whoever asks them anything.

Tests take them as attributes of this module: pytest itself asks what it finds in a module of tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


class Text(Exception):
    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self.make = make

    def __str__(self) -> str:
        text: str = self.make()
        return text


def leave() -> NoReturn:
    raise SystemExit(9)


class Hidden(type):
    def __getattribute__(cls, name: str) -> Any:
        raise SystemExit(f"hidden: {name}")


class Nameless(Exception, metaclass=Hidden):
    pass


class Liar(Exception):
    def _asked(self) -> Any:
        raise SystemExit("asked for its class")

    __class__: Any = property(_asked)


class OddGroup(ExceptionGroup[Exception]):
    def subgroup(self, *_: Any) -> Any:
        raise SystemExit("subgroup")

    def split(self, *_: Any) -> Any:
        raise SystemExit("split")

    def derive(self, *_: Any) -> Any:
        raise SystemExit("derive")


class Own(BaseException):
    pass


class Fussy(Exception):
    """As httpx.HTTPStatusError: pickled without a complaint, and not to be unpickled."""

    def __init__(self, message: str, *, response: object) -> None:
        super().__init__(message)
        self.response = response


def noted() -> Exception:
    error = ValueError("x" * 50_000_000)
    error.add_note("y" * 10_000_000)
    return error


def chain() -> BaseException:
    first: BaseException = ValueError("the first")
    for number in range(10_000):
        error = ValueError(f"number {number}")
        error.__cause__, first = first, error
    return first


def cycle() -> BaseException:
    one, two = ValueError("one"), KeyError("two")
    one.__cause__, two.__cause__ = two, one
    return one


def deep() -> Any:
    error: Any = ValueError("innermost")
    for _ in range(2_000):
        error = ExceptionGroup("level", [error])
    return error


def doubled() -> Any:
    """A group that would have 2 ** 60 members if each were visited on each way that leads to it."""
    error: Any = ValueError("innermost")
    for _ in range(60):
        error = ExceptionGroup("level", [error, error])
    return error


def recursion() -> BaseException:
    def down() -> NoReturn:
        up()

    def up() -> NoReturn:
        down()

    try:
        down()
    except RecursionError as error:
        return error


def long_password() -> Exception:
    dsn = "postgresql://ada:hunter2@db/flows"
    return ValueError(f"{'x' * 3_990}{dsn}{'y' * 60_000}{dsn}{'z' * 3_990} and host=db password='hunter2' dbname=flows")


class Shouting:
    def __repr__(self) -> str:
        raise SystemExit("shown")


class Sly:
    def _asked(self) -> Any:
        raise SystemExit("asked for its class")

    __class__: Any = property(_asked)


class Deaf:
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(f"asked for {name}")


class OddRoute(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise SystemExit("str")

    def __eq__(self, other: object) -> bool:
        raise SystemExit("eq")

    def __hash__(self) -> int:
        raise SystemExit("hash")


class Tricky(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise SystemExit("asked whether it is one of mine")

    def __subclasscheck__(cls, subclass: type) -> bool:
        raise SystemExit("asked whether it is one of mine")


class TrickyError(Exception, metaclass=Tricky):
    pass
