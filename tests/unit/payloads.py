"""Values of every kind that a codec meets, and how its tests encode and compare them."""

from __future__ import annotations

import dataclasses
import enum
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import strategies as st

from stepwell._codec import Codec, PayloadError
from stepwell._limits import Limits

__all__ = [
    "BERLIN",
    "LIMITS",
    "STAMP",
    "WHAT",
    "Box",
    "Colour",
    "Key",
    "Level",
    "Line",
    "Order",
    "Point",
    "Row",
    "Travel",
    "Word",
    "back",
    "encode",
    "json_values",
    "nested",
    "refusal",
    "same",
]

LIMITS = Limits()
WHAT = "the output of step 'pay'"
T = TypeVar("T")


def encode(value: object, annotation: Any = Any, limits: Limits = LIMITS) -> str:
    return Codec(annotation).encode(value, limits=limits, what=WHAT)


def back(value: object, annotation: Any = Any) -> Any:
    return Codec(annotation).decode(encode(value, annotation))


def refusal(value: object, annotation: Any = Any, limits: Limits = LIMITS) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        encode(value, annotation, limits)
    error = caught.value
    assert str(error) == f"{WHAT}: at {error.path}: {error.reason}"
    assert str(error).isprintable()
    assert len(str(error)) < 1_200
    return error


def same(one: object, two: object) -> bool:
    """Equal with equal types, by a way of its own: the text of Python's repr."""
    return repr(one) == repr(two) and one == two


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Line:
    product: str
    count: int
    price: Decimal = Decimal("0.00")


@dataclasses.dataclass
class Order:
    id: str
    total: float
    lines: list[Line] = dataclasses.field(default_factory=list[Line])
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    name: str


class Row(msgspec.Struct, array_like=True):
    a: int
    b: str


class Travel(TypedDict):
    stops: list[tuple[int, int]]
    by: Colour


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


BERLIN = ZoneInfo("Europe/Berlin")
STAMP = datetime(2024, 2, 29, 12, 30, 1, 123456, tzinfo=UTC)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)
