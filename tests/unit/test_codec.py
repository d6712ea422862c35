"""User data as JSON text and back, equal and with its types: catalogue 4.2."""

from __future__ import annotations

import dataclasses
import enum
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell._codec import Codec, PayloadError, UnsupportedType, canonical, check_input, codec_for, decode_json
from stepwell._errors import StepwellError
from tests.unit.payloads import (
    BERLIN,
    LIMITS,
    STAMP,
    WHAT,
    Box,
    Colour,
    Key,
    Level,
    Line,
    Order,
    Point,
    Row,
    Travel,
    Word,
    back,
    encode,
    json_values,
    refusal,
    same,
)


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class LoudPoint(NamedTuple):
    x: int

    def __iter__(self) -> NoReturn:
        raise SystemExit("never asked")


class Receipt(msgspec.Struct):
    number: int
    at: datetime
    tags: set[str] = set()
    where: tuple[int, float] | None = None


class Card(msgspec.Struct, tag=True):
    digits: str


class Transfer(msgspec.Struct, tag=True):
    iban: str


class Renamed(msgspec.Struct, rename="camel", array_like=False):
    first_name: str
    blob: bytes | msgspec.UnsetType = msgspec.UNSET


class Address(TypedDict):
    street: str
    number: int


class Tree(msgspec.Struct):
    children: list[Tree] = []


@dataclasses.dataclass
class Nothing:
    pass


# --- what passes ---------------------------------------------------------------------------------------------------

SHARED = {"x": [1]}

PLAIN: dict[str, object] = {
    "22-nul": "a\0b",
    "22-nul-in-key": {"a\0b": "\0"},
    "24-1e23": 1e23,
    "26-minus-zero": -0.0,
    "27-2**53+1": 2**53 + 1,
    "27-2**63": 2**63,
    "27-2**64": 2**64,
    "27-minus-2**64": -(2**64),
    "27-10**400": 10**400,
    "28-4300-digits": 10**4_299,
    "42-none": None,
    "42-none-within": {"a": [None]},
    "46-odd-keys": {"": 1, "__proto__": 2, "constructor": 3, "$ref": 4, "k" * 10_000: 5},
    "46-quotes": {'"': "\\", "'": "\u2028\x7f\x80\ufeff"},
    "true-is-not-one": [True, 1, 1.0, False, 0, 0.0],
    "empty": [[], {}, ""],
    "least-and-most-floats": [5e-324, 1.7976931348623157e308, 2.2250738585072014e-308],
    "39-shared-parts": {"a": SHARED, "b": [SHARED, SHARED]},
    "emoji": "🦆\U0010ffff",
}


@pytest.mark.parametrize("annotation", [Any, object], ids=["any", "object"])
@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_json_comes_back_exactly(value: object, annotation: Any) -> None:
    text = encode(value, annotation)
    assert "\0" not in text
    assert same(Codec(annotation).decode(text), value)
    assert same(json.loads(text), value)
    assert same(decode_json(text), value)
    assert same(Codec(annotation).decode(canonical(text)), json.loads(canonical(text)))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(int, 1), (set[int], [1]), (dict[int, str], {"1": "a"}), (tuple[int, ...], [1]), (None, None), (str | None, None)],
)
def test_plain_json_that_fits_the_annotation_passes_as_it_is(annotation: Any, value: object) -> None:
    assert json.loads(encode(value, annotation)) == value


@pytest.mark.parametrize("annotation", [int, Order, set[int], dict[int, str], tuple[int, ...], Address, None])
def test_plain_json_that_does_not_fit_the_annotation_is_refused(annotation: Any) -> None:
    with pytest.raises(PayloadError, match="Expected"):
        encode("x", annotation)


@pytest.mark.promise("I11", "I35")
@given(json_values)
def test_any_plain_json_comes_back_exactly(value: object) -> None:
    text = encode(value)
    assert same(back(value), value)
    assert same(decode_json(text), value)
    assert canonical(canonical(text)) == canonical(text)
    assert Codec(Any).decode(canonical(text)) == value


TYPED: dict[str, tuple[Any, object]] = {
    "32-tuple": (tuple[int, str], (1, "a")),
    "32-tuple-of-any-length": (tuple[int, ...], (1, 2, 3)),
    "32-empty-tuple": (tuple[int, ...], ()),
    "32-set": (set[int], {1, 2}),
    "32-frozenset-of-tuples": (frozenset[tuple[int, int]], frozenset({(1, 2), (3, 4)})),
    "32-set-of-objects": (set[Key], {Key("a"), Key("b")}),
    "33-named-tuple": (Point, Point(1, 2.5)),
    "33-named-tuple-with-odd-iter": (LoudPoint, None),
    "33-dataclass": (Order, Order("o", 1.5, [Line("p", 2, Decimal("1.10"))])),
    "33-empty-dataclass": (Nothing, Nothing()),
    "33-frozen-slotted-dataclass": (Key, Key("a")),
    "33-generic-dataclass": (Box[tuple[int, int]], Box((1, 2))),
    "33-struct": (Receipt, Receipt(1, STAMP, {"a"}, (1, 2.0))),
    "33-tagged-union": (Card | Transfer, Transfer("DE")),
    "33-renamed-fields": (Renamed, Renamed("a", b"\0\xff")),
    "33-unset-field": (Renamed, Renamed("a")),
    "33-struct-as-array": (list[Row], [Row(1, "a")]),
    "33-recursive-struct": (Tree, Tree([Tree(), Tree([Tree()])])),
    "33-typed-dict": (Travel, {"stops": [(1, 2)], "by": Colour.RED}),
    "33-enum": (Colour, Colour.BLUE),
    "33-int-enum": (Level, Level.LOW),
    "33-str-enum": (dict[Word, Word], {Word.YES: Word.YES}),
    "33-flag": (Rights, Rights.READ | Rights.WRITE),
    "29-int-keys": (dict[int, str], {1: "a", -2: "b"}),
    "30-float-keys": (dict[float, int], {1.5: 1}),
    "30-uuid-keys": (dict[UUID, int], {UUID(int=7): 1}),
    "34-decimal": (Decimal, Decimal("1.10")),
    "34-decimal-of-many-digits": (Decimal, Decimal("1." + "1" * 400)),
    "36-datetime": (datetime, STAMP),
    "36-datetime-with-offset": (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    "36-least-datetime": (datetime, datetime.min.replace(tzinfo=UTC)),
    "36-greatest-datetime": (datetime, datetime.max.replace(tzinfo=UTC)),
    "date": (date, date(1, 1, 1)),
    "timedelta": (timedelta, timedelta(days=-3, microseconds=1)),
    "longest-timedelta": (timedelta, timedelta.max),
    "37-bytes": (bytes, b"\0\xff"),
    "37-no-bytes": (bytes, b""),
    "37-bytearray": (bytearray, bytearray(b"x")),
    "38-uuid": (UUID, uuid.UUID(int=2**100)),
    "optional": (list[Decimal | None], [None, Decimal("0E-10")]),
    "literal": (Literal["a", "b"], "a"),
    "mapping": (Mapping[str, Sequence[bytes]], {"a": [b"x"]}),
    "annotated": (Annotated[Point, "a place"], Point(1, 2.0)),
    "any-within-a-class": (Box[Any], Box({"a": [1, 1.0, True]})),
}


@pytest.mark.promise("I35")
@pytest.mark.parametrize(("annotation", "value"), TYPED.values(), ids=TYPED)
def test_a_typed_value_comes_back_equal_with_its_types(annotation: Any, value: object) -> None:
    if annotation is LoudPoint:  # it can't be made in the table: its repr iterates
        assert back(LoudPoint(1), LoudPoint)[0] == 1
        return
    copied = back(value, annotation)
    assert type(copied) is type(value)
    assert copied == value
    if annotation == set[Key]:  # its items have no order, so there is no canonical form
        return
    text = codec_for(annotation).canonical(value, limits=LIMITS, what=WHAT)
    assert codec_for(annotation).decode(text) == value


@given(
    st.builds(
        Order,
        st.text(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(
            st.builds(Line, st.text(), st.integers(), st.decimals(allow_nan=False, allow_infinity=False)), max_size=3
        ),
    )
)
def test_any_dataclass_comes_back_equal(order: Order) -> None:
    assert same(back(order, Order), order)
    text = check_input(Order, order, limits=LIMITS, what=WHAT)
    assert same(Codec(Order).decode(text), order)


offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda delta: timezone(timedelta(minutes=delta // timedelta(minutes=1)))
)


@given(
    st.builds(
        Receipt,
        st.integers(),
        st.datetimes(timezones=offsets),
        st.sets(st.text()),
        st.none() | st.tuples(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_any_struct_comes_back_equal(receipt: Receipt) -> None:
    copied = back(receipt, Receipt)
    assert copied == receipt
    assert copied.at.utcoffset() == receipt.at.utcoffset()
    assert repr(copied.where) == repr(receipt.where)


@given(st.dictionaries(st.integers(), st.frozensets(st.binary()) | st.none()))
def test_any_dict_with_integer_keys_comes_back_equal(value: dict[int, frozenset[bytes] | None]) -> None:
    assert same(back(value, dict[int, frozenset[bytes] | None]), value) or value == back(
        value, dict[int, frozenset[bytes] | None]
    )


@given(json_values | st.tuples(st.integers()) | st.sets(st.integers()) | st.dictionaries(st.integers(), st.none()))
def test_what_passes_without_an_annotation_comes_back_equal_with_its_types(value: object) -> None:
    try:
        text = encode(value)
    except PayloadError:
        assert type(value) in (tuple, set, dict)
    else:
        assert same(Codec(Any).decode(text), value)


def test_an_int_where_a_float_is_annotated_comes_back_as_the_equal_float() -> None:
    copied = back(Order("o", 80), Order)
    assert (type(copied.total), copied.total) == (float, 80.0)
    assert back({1: 2}, dict[float, int]) == {1.0: 2}
    assert back(Point(1, 2), Point) == (1, 2.0)
    assert refusal(Order("o", 2**53 + 1), Order).path == "$.total"


def test_a_named_zone_keeps_its_instant_and_offset() -> None:
    first = datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)
    for stamp in (first, first.replace(fold=1)):
        copied = back(stamp, datetime)
        assert copied.utcoffset() == stamp.utcoffset()
        assert copied.timestamp() == stamp.timestamp()


def test_a_result_that_changes_afterwards_is_stored_as_it_was() -> None:  # 43
    value = {"a": [1]}
    text = encode(value)
    value["a"].append(2)
    assert text == '{"a":[1]}'


# --- types ---------------------------------------------------------------------------------------------------------


class Custom:
    pass


@dataclasses.dataclass
class HoldsCustom:
    items: list[tuple[Custom | None, int]]


@dataclasses.dataclass
class Unresolvable:
    item: Missing  # type: ignore[name-defined]  # noqa: F821


UNSUPPORTED: dict[str, tuple[Any, str]] = {
    "class": (Custom, "the type <class"),
    "class-within": (HoldsCustom, "Custom"),
    "path": (Path, "Path"),
    "callable": (Callable[[], int], "Callable"),
    "iterator": (Iterator[int], "Iterator"),
    "union-with-class": (int | Custom, "Type unions"),
    "union-of-arrays": (list[int] | set[int], "Type unions may not contain more than one array-like"),
    "union-of-dataclasses": (Order | Line, "Type unions may not contain more than one"),
    "name-that-is-missing": (Unresolvable, "Missing"),
    "no-type": (3, "the type 3 can't be stored"),
}


@pytest.mark.parametrize(("annotation", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_a_type_without_json_form_is_refused_with_advice(annotation: Any, message: str) -> None:
    with pytest.raises(UnsupportedType) as caught:
        codec_for(annotation)
    assert message.removeprefix("the type <class") in str(caught.value)
    assert "use dataclasses" in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, StepwellError)


def test_a_codec_is_made_once_per_type() -> None:
    assert codec_for(Order) is codec_for(Order)
    assert codec_for(None).decode("null") is None
    unhashable = Annotated[int, ["not hashable"]]
    assert codec_for(unhashable).decode("1") == 1
