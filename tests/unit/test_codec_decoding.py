"""JSON text that is stored or foreign, read or refused where it is wrong: catalogue 4.2."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell._codec import Codec, LimitExceeded, PayloadError, decode_json
from tests.unit.payloads import Order, back, same

UNFIT: dict[str, tuple[Any, str, str, str]] = {
    "52-missing-field": (Order, '{"id":"a"}', "$", "missing required field `total`"),
    "52-wrong-type": (Order, '{"id":"a","total":1,"lines":[{"product":1,"count":1}]}', "$.lines[0].product", "`str`"),
    "52-wrong-key": (dict[int, int], '{"a":1}', "$", "Expected `int`, got `str`"),
    "25-1e400": (Any, "[1e400]", "$[0]", "out of range"),
    "48-truncated": (Any, '{"a":', "$", "truncated"),
    "48-not-json": (Any, "\x00\x01", "$", "malformed"),
    "48-empty": (Any, "", "$", "truncated"),
    "48-surrogate": (Any, '"\ud800"', "$", "decoding it raised UnicodeEncodeError"),
    "48-10000-digits": (Any, "1" * 10_000, "$", "out of range"),
    "40-100000-levels": (Any, "[" * 100_000, "$", "RecursionError"),
}


@pytest.mark.parametrize(("annotation", "text", "path", "reason"), UNFIT.values(), ids=UNFIT)
def test_text_that_does_not_fit_is_refused_with_its_place(annotation: Any, text: str, path: str, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        Codec(annotation).decode(text, what="the input of execution 'x'")
    assert (caught.value.path, reason in caught.value.reason) == (path, True), caught.value
    assert str(caught.value).startswith("the input of execution 'x': at $")


FOREIGN: dict[str, tuple[str | bytes, str, str]] = {
    "31-duplicate-key": ('{"a":{"b":1,"c":2,"b":3}}', "$.a", "key 'b' is given twice"),
    "31-duplicate-key-at-the-top": ('{"a":1,"a":1}', "$", "key 'a' is given twice"),
    "31-duplicate-hostile-key": ('{"\\u0000":1,"\\u0000":1}', "$", "key '\\x00' is given twice"),
    "25-1e400": ('{"a":[-1e400]}', "$.a[0]", "-1e400 is beyond the range of a float"),
    "25-endless-digits": ("1" + "0" * 400 + ".5", "$", "is beyond the range of a float"),
    "21-nan": ("[NaN]", "$[0]", "NaN is not JSON"),
    "21-minus-infinity": ('{"a":-Infinity}', "$.a", "-Infinity is not JSON"),
    "23-surrogate": ('["\\ud800"]', "$[0]", "a lone surrogate at 0"),
    "23-raw-surrogate": ('["é\ud800"]', "$[0]", "a lone surrogate at 1"),
    "28-5000-digits": ("1" * 5_000, "$", "Exceeds the limit (4300 digits)"),
    "40-101-levels": ("[" * 101 + "]" * 101, "$" + "[0]" * 100, "nested too deep"),
    "40-100000-levels": ("[" * 100_000 + "]" * 100_000, "$", "nested too deep"),
    "41-too-large": ('"' + "x" * 1_048_576 + '"', "$", "too large: 1,048,578 bytes, the limit is 1,048,576"),
    "41-too-large-in-bytes": ('"' + "é" * 600_000 + '"', "$", "too large: 1,200,002 bytes"),
    "47-invalid-utf-8": (b'{"a":"\xff"}', "byte 6", "not UTF-8"),
    "47-utf-16": ('{"a":1}'.encode("utf-16"), "byte 0", "not UTF-8"),
    "47-byte-order-mark": (b"\xef\xbb\xbf{}", "byte 0", "begins with a byte order mark"),
    "48-truncated": ('{\n"a":', "line 2, column 5", "not JSON: Expecting value"),
    "48-empty": ("", "line 1, column 1", "not JSON"),
    "48-two-values": ("1 2", "line 1, column 3", "not JSON: Extra data"),
    "48-single-quotes": ("{'a':1}", "line 1, column 2", "not JSON"),
}


@pytest.mark.parametrize(("text", "path", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_json_is_refused_where_it_is_wrong(text: str | bytes, path: str, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_json(text, what="--input")
    error = caught.value
    assert error.path == (path if len(path) <= 300 else path[:299] + "…")
    assert reason in error.reason
    assert str(error).startswith("--input: at ")
    assert isinstance(error, LimitExceeded) == path.startswith("$[0][0]") or "too" in reason


def test_foreign_json_in_bytes_is_read() -> None:
    assert decode_json(b' {"a": [1, -0.0, 1e23, "\\u0000"]} ') == {"a": [1, -0.0, 1e23, "\0"]}


@pytest.mark.promise("I39")
@given(st.text() | st.binary())
def test_any_foreign_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        value = decode_json(text)
    except PayloadError as error:
        assert str(error).isprintable()  # noqa: PT017 — read is as good as refused
    else:
        assert same(back(value), value)
