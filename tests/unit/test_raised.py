"""Errors of users are looked at without running any more of their code."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell._raised import holds, is_a, is_caught


class Liar(ValueError):
    def _asked(self) -> Any:
        raise SystemExit("asked for its class")

    __class__: Any = property(_asked)


class Tricky(type):
    error: BaseException = SystemExit("asked whether it is one of mine")

    def __instancecheck__(cls, instance: object) -> bool:
        raise cls.error


class TrickyError(Exception, metaclass=Tricky):
    pass


class TrickyBelow(TrickyError):
    pass


def _group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", errors)


def test_an_error_is_what_its_type_says() -> None:
    assert is_a(Liar(), ValueError)
    assert not is_a(Liar(), (KeyError, OSError))


def test_what_a_group_holds_is_found_at_any_depth() -> None:
    deep: BaseException = KeyboardInterrupt()
    for _ in range(20_000):
        deep = _group(ValueError(), deep)
    assert holds(deep, KeyboardInterrupt)
    assert not holds(deep, SystemExit)
    assert holds(KeyError(), (KeyError, OSError))
    assert not holds(Liar(), KeyboardInterrupt)


def test_what_groups_share_is_looked_at_once() -> None:
    shared: BaseException = ValueError()
    for _ in range(200):
        shared = _group(shared, shared)
    assert not holds(shared, KeyboardInterrupt)


def test_a_class_that_can_not_be_asked_catches_its_own_alone() -> None:
    assert is_caught(KeyError(), LookupError)
    assert not is_caught(KeyError(), ValueError)
    assert is_caught(Liar(), ValueError)
    assert not is_caught(Liar(), KeyError)
    assert is_caught(TrickyBelow(), TrickyError)
    assert not is_caught(KeyError(), TrickyError)


def test_an_interrupt_while_a_class_is_asked_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tricky, "error", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        is_caught(KeyError(), TrickyError)
