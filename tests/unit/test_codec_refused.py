"""User data that is refused, where in it and why: catalogue 4.2."""

from __future__ import annotations

import array
import collections
import copy
import dataclasses
import fractions
import io
import json
import math
import pickle
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import msgspec
import pytest

from stepwell._codec import LimitExceeded, PayloadError
from stepwell._errors import StepwellError
from tests.unit.payloads import (
    BERLIN,
    STAMP,
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
    nested,
    refusal,
)


@dataclasses.dataclass
class SpecialOrder(Order):
    why: str = ""


class Hostile:
    def __getattribute__(self, name: str) -> NoReturn:
        raise SystemExit(f"asked for {name}")

    def __eq__(self, other: object) -> NoReturn:
        raise SystemExit("compared")

    __hash__ = object.__hash__

    def __len__(self) -> NoReturn:
        raise SystemExit("measured")

    def __iter__(self) -> NoReturn:
        raise SystemExit("iterated")

    def __repr__(self) -> NoReturn:
        raise SystemExit("shown")


class OddDict(dict[str, object]):
    def items(self) -> NoReturn:
        raise SystemExit("items")


class OddText(str):
    __slots__ = ()

    def encode(self, *_: object, **__: object) -> NoReturn:
        raise SystemExit("encode")


class Awaitable:
    def __await__(self) -> Iterator[None]:
        yield


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


def cyclic() -> list[Any]:
    value: list[Any] = [1]
    value.append({"a": [value]})
    return value


def cyclic_dict() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def cyclic_object() -> Box[Any]:
    box = Box[Any](None)
    box.item = (box,)
    return box


REFUSED: dict[str, tuple[Callable[[], object], str, str]] = {
    "21-nan": (lambda: math.nan, "$", "NaN is not JSON; use null or a string"),
    "21-inf-deep": (lambda: {"metrics": [0, 1, 2, {"value": math.inf}]}, "$.metrics[3].value", "inf is not JSON"),
    "21-minus-inf": (lambda: [-math.inf], "$[0]", "-inf is not JSON"),
    "21-nan-in-a-class": (lambda: Box({"a": math.nan}), "$.item.a", "NaN is not JSON"),
    "21-nan-as-a-key": (lambda: {math.nan: 1}, "$", "key nan: NaN is not JSON"),
    "21-decimal-nan": (lambda: Decimal("NaN"), "$", "NaN is not a number that JSON has"),
    "21-decimal-infinity": (lambda: [Decimal("-Infinity")], "$[0]", "-Infinity is not a number"),
    "23-surrogate": (lambda: "\ud800", "$", "a lone surrogate at 0: '\\ud800'"),
    "23-surrogate-deep": (lambda: [{"a": "x\udfff"}], "$[0].a", "a lone surrogate at 1"),
    "23-surrogate-in-a-key": (lambda: {"a": {"\ud800": 1}}, "$.a", "key '\\ud800': the text has a lone surrogate"),
    "28-10**5000": (lambda: {"n": 10**5_000}, "$.n", "an int of 5001 digits; the limit is 4300"),
    "28-minus-10**4300": (lambda: -(10**4_300), "$", "an int of 4301 digits"),
    "28-as-a-key": (lambda: {10**5_000: 1}, "$", "key an int of about 5000 digits: an int of 5001 digits"),
    "29-one-and-text-one": (lambda: {1: "a", "1": "b"}, "$", "key 1 (int) is not a string"),
    "30-none-key": (lambda: {"a": {None: 1}}, "$.a", "key None (NoneType) is not a string"),
    "30-true-key": (lambda: {True: 1}, "$", "key True (bool) is not a string"),
    "30-float-key": (lambda: {1.5: 1}, "$", "key 1.5 (float) is not a string"),
    "30-enum-key": (lambda: {Colour.RED: 1}, "$", "(Colour) is not a string"),
    "30-bytes-key": (lambda: {b"a": 1}, "$", "key b'a' (bytes) is not a string"),
    "30-tuple-key": (lambda: {(1, 2): 1}, "$", "key (1, 2) (tuple) is not a string"),
    "32-tuple": (lambda: {"a": (1,)}, "$.a", "(1) (tuple) comes back as [1] (list); annotate its exact type"),
    "32-set": (lambda: [{1}], "$[0]", "{1} (set) comes back as [1] (list)"),
    "32-frozenset": (frozenset, "$", "comes back as [] (list)"),
    "32-deque": (lambda: collections.deque([1]), "$", "type collections.deque can't be stored"),
    "32-dict-view": ({"a": 1}.keys, "$", "type dict_keys can't be stored"),
    "32-range": (lambda: range(3), "$", "type range can't be stored"),
    "32-generator": (lambda: {"rows": generator()}, "$.rows", "did you forget await?"),
    "32-array": (lambda: array.array("i"), "$", "type array.array can't be stored"),
    "33-named-tuple": (lambda: Point(1, 2.0), "$", "comes back as [1, 2.0] (list)"),
    "33-dataclass": (lambda: [Key("a")], "$[0]", "<Key object> comes back as {'name': 'a'} (dict)"),
    "33-struct": (lambda: {"r": Row(1, "a")}, "$.r", "<Row object> comes back as [1, 'a'] (list)"),
    "33-enum": (lambda: Colour.RED, "$", "comes back as 'red' (str)"),
    "33-int-enum": (lambda: Level.LOW, "$", "comes back as 1 (int)"),
    "33-str-subclass": (lambda: OddText("a"), "$", "would come back as str; make it one with str(…)"),
    "33-int-subclass": (lambda: type("Int", (int,), {})(1), "$", "would come back as int"),
    "33-ordered-dict": (collections.OrderedDict, "$", "collections.OrderedDict would come back as dict"),
    "33-default-dict": (
        lambda: collections.defaultdict[str, int](int),
        "$",
        "collections.defaultdict would come back as dict",
    ),
    "33-list-subclass": (type("L", (list,), {}), "$", "would come back as list"),
    "34-decimal": (lambda: Decimal("1.10"), "$", "comes back as '1.10' (str)"),
    "34-fraction": (lambda: fractions.Fraction(1, 3), "$", "type fractions.Fraction can't be stored"),
    "34-complex": (lambda: 1j, "$", "type complex can't be stored"),
    "35-naive-datetime": (lambda: [datetime(2024, 1, 1)], "$[0]", "naive datetime; give it a timezone"),  # noqa: DTZ001
    "36-offset-with-seconds": (lambda: datetime(1800, 1, 1, tzinfo=BERLIN), "$", "has seconds"),
    "36-datetime": (lambda: STAMP, "$", "(datetime) comes back as"),
    "37-bytes": (lambda: b"x", "$", "b'x' (bytes) comes back as 'eA==' (str)"),
    "37-bytearray": (lambda: bytearray(b"x"), "$", "<bytearray object> comes back as 'eA==' (str)"),
    "37-memoryview": (lambda: memoryview(b"x"), "$", "type memoryview can't be stored"),
    "38-uuid": (lambda: UUID(int=1), "$", "(UUID) comes back as"),
    "38-path": (lambda: {"file": Path("a")}, "$.file", "Path can't be stored as JSON"),
    "38-pattern": (lambda: re.compile("a"), "$", "type re.Pattern can't be stored"),
    "38-exception": (lambda: [ValueError()], "$[0]", "type ValueError can't be stored"),
    "38-module": (lambda: json, "$", "type module can't be stored"),
    "38-function": (lambda: generator, "$", "type function can't be stored"),
    "38-class": (lambda: Order, "$", "type type can't be stored"),
    "38-file": (io.StringIO, "$", "type _io.StringIO can't be stored"),
    "38-socket": (lambda: socket.socket, "$", "can't be stored"),
    "38-lock": (threading.Lock, "$", "lock can't be stored"),
    "38-unset": (lambda: [msgspec.UNSET], "$", "its own code raised TypeError"),
    "38-raw-json": (lambda: msgspec.Raw(b"[NaN]"), "$", "Raw can't be stored"),
    "39-cycle": (cyclic, "$[1].a[0]", "the list contains itself: it is also what is at $"),
    "39-cycle-of-a-dict": (cyclic_dict, "$.self", "the dict contains itself: it is also what is at $"),
    "39-cycle-of-an-object": (cyclic_object, "$.item[0]", "the Box contains itself: it is also what is at $"),
    "40-101-levels": (lambda: nested(101), "$" + "[0]" * 100, "nested too deep: the limit is 100 levels"),
    "40-1000-levels": (lambda: nested(1_000), "$" + "[0]" * 100, "nested too deep"),
    "40-100000-levels": (lambda: nested(100_000), "$" + "[0]" * 100, "nested too deep"),
    "40-levels-of-objects": (lambda: Box(nested(100)), "$.item" + "[0]" * 99, "nested too deep"),
    "44-hostile-object": (lambda: {"a": Hostile()}, "$.a", "Hostile can't be stored as JSON"),
    "45-odd-dict": (OddDict, "$", "OddDict would come back as dict"),
    "46-odd-path": (lambda: {"a b": {"": [{"\n": {1}}]}}, "$['a b'][''][0]['\\n']", "comes back as"),
    "46-long-path": (lambda: {"k" * 10_000: {1}}, "$['" + "k" * 38 + "…]", "comes back as"),
    "81-awaitable": (Awaitable, "$", "did you forget await?"),
    "81-async-generator": (async_generator, "$", "did you forget await?"),
}


@pytest.mark.promise("I35")
@pytest.mark.parametrize(("make", "path", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_come_back_is_refused_with_its_place(make: Callable[[], object], path: str, reason: str) -> None:
    started = time.perf_counter()
    error = refusal(make())
    assert time.perf_counter() - started < 2
    assert error.path == (path if len(path) <= 300 else path[:299] + "…")
    assert reason in error.reason


async def forgotten() -> None: ...


def test_a_coroutine_is_refused_with_a_hint() -> None:  # 81
    coroutine = forgotten()
    assert "did you forget await?" in refusal({"a": coroutine}).reason
    coroutine.close()


MISFITS: dict[str, tuple[Any, object, str, str]] = {
    "true-for-int": (Box[int], Box(item=True), "$.item", "Expected `int`, got `bool`, decoding it as"),
    "text-for-int": (list[Line], [Line("a", "b")], "$[0].count", "Expected `int`, got `str`"),  # type: ignore[arg-type]
    "list-for-tuple": (Box[tuple[int, ...]], Box([1]), "$.item", "[1] (list) comes back as (1) (tuple)"),
    "set-for-order": (Order, {1}, "$", "Expected `object`, got `array`, decoding it as Order"),
    "29-two-keys-become-one": (dict[int, str], {1: "a", "1": "b"}, "$", "key '1' does not come back"),
    "keys-that-are-enums": (dict[str, bytes], {Word.YES: b""}, "$", "(Word) is not a string"),
    "keys-that-are-strings": (dict[Word, bytes], {"yes": b""}, "$", "key 'yes' does not come back"),
    "key-left-out": (Travel, {"stops": [(1, 2)], "by": Colour.RED, "x": 1}, "$", "key 'x' does not come back"),
    "subclass": (Order, SpecialOrder("o", 1.0), "$", "<SpecialOrder object> comes back as <Order object>"),
    "int-in-a-set-of-words": (set[Word], {"yes"}, "$.yes", "'yes' (str) comes back as"),
    "tuple-of-other-length": (list[tuple[int, ...]], [(1,), [2]], "$[1]", "[2] (list) comes back as (2) (tuple)"),
    "enum-of-unknown-value": (Box[Colour], Box("green"), "$.item", "Invalid enum value 'green'"),
    "bytes-for-decimal": (Box[Decimal], Box(b"1"), "$.item", "Invalid decimal string"),
}


@pytest.mark.parametrize(("annotation", "value", "path", "reason"), MISFITS.values(), ids=MISFITS)
def test_what_the_annotation_does_not_bring_back_is_refused(
    annotation: Any, value: object, path: str, reason: str
) -> None:
    error = refusal(value, annotation)
    assert (error.path, reason in error.reason) == (path, True), error


def test_an_error_is_bounded_escaped_and_can_be_copied() -> None:
    error = PayloadError("w\0" * 1_000, "$.\ud800" * 1_000, "r\n" * 10_000)
    assert len(str(error)) < 1_200
    assert str(error).isprintable()
    limit = LimitExceeded("w", "$", "too large", 1, 2)
    for original in (error, limit):
        for copied in (copy.copy(original), pickle.loads(pickle.dumps(original))):  # noqa: S301
            assert str(copied) == str(original)
            assert vars(copied) == vars(original)
    assert isinstance(limit, PayloadError)
    assert isinstance(error, ValueError)
    assert isinstance(error, StepwellError)
