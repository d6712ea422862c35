"""How deep and how large user data may be, and how long it takes to see that it is not: catalogue 4.2."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from stepwell._codec import Codec, LimitExceeded, decode_json
from stepwell._limits import Limits
from tests.unit.payloads import LIMITS, WHAT, Box, Order, encode, nested, refusal


@pytest.mark.promise("I37")
def test_depth_is_counted_exactly() -> None:
    for depth in (1, 2, 7):
        limits = Limits(depth=depth)
        assert encode(nested(depth), limits=limits) == "[" * depth + "]" * depth
        assert encode(Box(nested(depth)), Box[Any], limits=Limits(depth=depth + 1))
        error = refusal(nested(depth + 1), limits=limits)
        assert isinstance(error, LimitExceeded)
        assert (error.limit, error.actual) == (depth, depth + 1)
        assert isinstance(refusal(Box(nested(depth)), limits=limits), LimitExceeded)


@pytest.mark.parametrize("depth", [1, 100, 500])
def test_the_deepest_allowed_value_comes_back(depth: int) -> None:
    limits = Limits(depth=depth)
    text = encode(nested(depth), limits=limits)
    assert Codec(Any).decode(text) == nested(depth)
    assert decode_json(text, limits=limits) == nested(depth)


@pytest.mark.promise("I37")
def test_size_is_counted_exactly_in_bytes() -> None:
    limits = Limits(payload=10)
    assert len(encode("12345678", limits=limits)) == 10
    assert encode("éééé", limits=limits) == '"éééé"'
    error = refusal("123456789", limits=limits)
    assert isinstance(error, LimitExceeded)
    assert (error.limit, error.actual) == (10, 11)
    assert error.reason.startswith("11 bytes of JSON, the limit is 10; store it elsewhere")
    error = refusal("ééééé", limits=limits)
    assert isinstance(error, LimitExceeded)
    assert error.actual == 12


def shared(depth: int) -> list[Any]:
    value: list[Any] = [0] * 10
    for _ in range(depth):
        value = [value] * 10
    return value


LARGE: dict[str, tuple[Callable[[], object], str]] = {
    "41-list-of-10-M-items": (lambda: [0] * 10_000_000, ""),
    "41-300-MB-text": (lambda: "x" * 300_000_000, ""),
    "41-30-MB-bytes": (lambda: {"a": 1, "b": [b"x" * 30_000_000]}, "$.b[0]"),
    "41-bytearray": (lambda: [bytearray(30_000_000)], "$[0]"),
    "41-one-large-child": (lambda: {"a": [1, {"log": "x" * 2_000_000}], "b": "y" * 1_000}, "$.a[1].log"),
    "41-large-key": (lambda: {"k" * 2_000_000: 1}, "$['kkk"),
    "41-many-small-items": (lambda: {"rows": [{"n": n} for n in range(200_000)]}, "$.rows"),
    "41-large-object": (lambda: Box(Box("x" * 2_000_000)), "$.item.item"),
    "41-wide-tuple": (lambda: (0,) * 2_000_000, ""),
    "41-large-ints": (lambda: [10**4_000] * 1_000, ""),
    "41-shared-parts-100-levels": (lambda: shared(90), "$[0]"),
    "41-shared-large-text": (lambda: ["x" * 500_000] * 1_000_000, ""),
}


@pytest.mark.parametrize(("make", "largest"), LARGE.values(), ids=LARGE)
def test_what_is_too_large_is_refused_in_time_and_names_the_largest_part(
    make: Callable[[], object], largest: str
) -> None:
    value = make()
    started = time.perf_counter()
    error = refusal(value)
    assert time.perf_counter() - started < 2
    assert isinstance(error, LimitExceeded)
    assert error.limit == LIMITS.payload < error.actual
    assert error.path == "$"
    assert f"; the largest part is {largest}" in error.reason if largest else "largest" not in error.reason


def test_an_unsound_value_beside_a_large_one_is_refused_in_time() -> None:
    started = time.perf_counter()
    assert isinstance(refusal([shared(90), math.nan]), LimitExceeded)
    assert time.perf_counter() - started < 5


def test_small_values_are_encoded_and_decoded_within_microseconds() -> None:
    codec, order = Codec(Order), Order("o-1", 80.0, note="n")
    best = math.inf
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(100):
            codec.decode(codec.encode(order, limits=LIMITS, what=WHAT))
        best = min(best, (time.perf_counter() - started) / 100)
    assert best < 200e-6  # measured 6 µs; the bound only catches a slow path taken by mistake
