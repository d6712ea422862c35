"""Records of plain values, which need no second look; and those that look like one and do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import pytest

from stepwell._codec import PayloadError, codec_for
from stepwell._codec._flat import FlatRecord, flat_record
from stepwell._codec._types import decoder_for
from stepwell._limits import Limits


@dataclass
class Plain:
    number: int
    text: str
    ratio: float = 0.5
    note: str | None = None


class PlainStruct(msgspec.Struct):
    number: int
    is_done: bool


@dataclass
class One:
    number: int


@dataclass
class Nested:
    number: int
    plain: Plain


@dataclass
class Checked:
    number: int
    text: str

    def __post_init__(self) -> None:
        self.text = self.text.strip()


@dataclass
class Bound:
    number: Annotated[int, msgspec.Meta(ge=1)]
    text: str


@dataclass
class Either:
    number: int | float
    text: str


@dataclass
class Hidden:
    number: int
    _text: str


@dataclass
class Listed:
    number: int
    texts: list[str] = field(default_factory=list[str])


class Renamed(msgspec.Struct, rename="camel"):
    is_done: bool
    is_late: bool


class Tagged(msgspec.Struct, tag=True):
    number: int
    text: str


@dataclass
class Changing:
    number: int
    other: int

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return value + 1 if type(value) is int else value


@dataclass
class Behind:
    other: int
    number: int  # pyright: ignore[reportRedeclaration] -- as above

    @property  # type: ignore[no-redef] # as one who wants to look at what is set
    def number(self) -> int:
        return 1

    @number.setter
    def number(self, value: int) -> None: ...


def record(annotation: Any) -> FlatRecord | None:
    return flat_record(annotation, decoder_for(annotation))


@pytest.mark.parametrize("kind", [Plain, PlainStruct])
def test_a_record_of_plain_values_is_flat(kind: type) -> None:
    assert record(kind) is not None


@pytest.mark.parametrize(
    "kind",
    [
        One,
        Nested,
        Checked,
        Bound,
        Either,
        Hidden,
        Listed,
        Renamed,
        Tagged,
        Changing,
        Behind,
        int,
        dict,
        list[Plain],
        Plain | None,
    ],
)
def test_what_holds_more_or_may_change_is_not(kind: Any) -> None:
    assert record(kind) is None


@pytest.mark.parametrize("value", [Plain(1, "a"), Plain(-(2**62), "é", 1e300, "x"), Plain(0, "", 0.0, None)])
def test_exact_values_are_held_and_come_back(value: Plain) -> None:
    flat = record(Plain)
    assert flat is not None
    assert flat.holds(value)
    codec = codec_for(Plain)
    assert codec.decode(codec.encode(value, limits=Limits(), what="it")) == value


class Sub(Plain):
    pass


def broken() -> Plain:
    value = Plain(1, "a")
    del value.text
    return value


@pytest.mark.parametrize(
    "value",
    [
        Plain(number=True, text="a"),
        Plain(1, "a", 1),
        Plain(1, "a", float("nan")),
        Plain(2**63, "a"),
        Plain(1, b"a"),  # type: ignore[arg-type] # what a checker would have found
        Sub(1, "a"),
        broken(),
        {"number": 1},
        None,
    ],
)
def test_others_are_looked_at_more_closely(value: Any) -> None:
    flat = record(Plain)
    assert flat is not None
    assert not flat.holds(value)


def test_what_is_wrong_is_still_told_with_its_place() -> None:
    codec = codec_for(Plain)
    with pytest.raises(PayloadError, match=r"\$\.ratio"):
        codec.encode(Plain(1, "a", float("nan")), limits=Limits(), what="it")
    with pytest.raises(PayloadError, match=r"\$\.text"):
        codec.encode(Plain(1, "\ud800"), limits=Limits(), what="it")
    with pytest.raises(PayloadError, match="limit"):
        codec.encode(Plain(1, "x" * 2_000_000), limits=Limits(), what="it")
