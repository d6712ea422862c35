"""Classes of users whose own code takes part: it may raise, change what it is given, or not be asked at all."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from stepwell._codec import Codec, PayloadError, check_input
from stepwell._codec import _codec as codec_module
from stepwell._codec._walk import Fault
from tests.unit.payloads import LIMITS, back, encode, refusal


@dataclasses.dataclass
class Shifty:
    """Does not come back as it was."""

    value: Any

    def __post_init__(self) -> None:
        self.value = shifted(self.value)


def shifted(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value, 1]  # pyright: ignore[reportUnknownVariableType]
    return {**value, str(len(value)): 1}


@dataclasses.dataclass(frozen=True)
class ShiftyBytes:
    value: bytes

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.value + b"!")


@pytest.mark.parametrize(
    ("value", "annotation", "path", "reason"),
    [
        (Shifty(1), Shifty, "$.value", "2 comes back as 3"),
        (Shifty([]), Shifty, "$.value", "1 items come back as 2"),
        (Shifty({}), Shifty, "$.value", "1 entries come back as 2"),
        (ShiftyBytes(b""), ShiftyBytes, "$.value", "b'!' comes back as b'!!'"),
        ({ShiftyBytes(b"")}, set[ShiftyBytes], "$[<ShiftyBytes object>]", "<ShiftyBytes object> does not come back"),
    ],
)
def test_a_class_that_changes_what_it_is_given_is_refused(
    value: object, annotation: Any, path: str, reason: str
) -> None:
    error = refusal(value, annotation)
    assert error.path == path
    assert reason in error.reason


@dataclasses.dataclass
class Moody:
    """Its fields raise when they are read."""

    value: int
    other: int = 0

    def __getattribute__(self, name: str) -> object:
        if name == "value" and MOOD:
            raise MOOD[0]
        return super().__getattribute__(name)


MOOD: list[BaseException] = []


@pytest.fixture
def mood() -> Iterator[list[BaseException]]:
    yield MOOD
    MOOD.clear()


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(1), MemoryError(), GeneratorExit()], ids=repr)
def test_whatever_a_field_raises_is_a_payload_error(mood: list[BaseException], error: BaseException) -> None:
    value = Moody(1)
    mood.append(error)
    caught = refusal(value, Moody)
    assert f"its own code raised {type(error).__name__}" in caught.reason
    assert caught.__cause__ is error


def test_an_interrupt_by_the_user_passes(mood: list[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    value = Moody(1)
    mood.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        encode(value, Moody)

    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(codec_module, "fault_in", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode(math.nan)


@dataclasses.dataclass
class Exits:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise [KeyboardInterrupt, SystemExit, ValueError][-self.value - 1]("told so")


def test_what_a_class_raises_while_it_is_decoded_is_a_payload_error() -> None:
    codec = Codec(Exits)
    with pytest.raises(KeyboardInterrupt):
        codec.decode('{"value":-1}')
    with pytest.raises(PayloadError, match=r"the stored value: at \$: decoding it raised SystemExit: told so"):
        codec.decode('{"value":-2}')
    with pytest.raises(PayloadError, match=r"at \$: told so, decoding it as Exits"):
        codec.decode('{"value":-3}')
    exits = Exits(1)
    exits.value = -2
    assert "its own code raised SystemExit: told so" in refusal(exits, Exits).reason


class Unstable(enum.Enum):
    A = "a"

    def __eq__(self, other: object) -> NoReturn:
        raise SystemExit("compared")

    __hash__ = object.__hash__


def test_enums_are_compared_by_identity() -> None:
    assert back(Unstable.A, Unstable) is Unstable.A


def test_a_value_that_changes_while_it_is_looked_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = iter([Fault(None, "once")])

    def once(*_: object) -> Fault | None:
        return next(shown, None)

    monkeypatch.setattr(codec_module, "difference", once)
    assert refusal((1,), tuple[int]).reason == "it changed while it was encoded"


def test_every_field_of_a_class_counts() -> None:
    @dataclasses.dataclass
    class Computed:
        a: int
        b: int = dataclasses.field(init=False, default=1)

    value = Computed(1)
    assert back(value, Computed) == value
    value.b = 2
    assert back(value, Computed) == value


def test_attrs_classes_pass() -> None:
    class Attribute:
        def __init__(self, name: str) -> None:
            self.name = name

    class LikeAttrs:
        __attrs_attrs__ = (Attribute("a"),)
        a: int

    value = LikeAttrs()
    value.a = 1
    assert "comes back as {'a': 1} (dict)" in refusal(value).reason


def test_an_input_whose_class_is_not_stable_is_refused() -> None:
    with pytest.raises(PayloadError, match=r"the input: at \$\.value: 2 comes back as 3"):
        check_input(Shifty, {"value": 1}, limits=LIMITS, what="the input")
