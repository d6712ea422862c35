"""Ids, names, tags, metadata, reasons and limits at the door: catalogue 4.3."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell._checks import (
    InvalidArgument,
    check_execution_id,
    check_filter,
    check_metadata,
    check_name,
    check_reason,
    check_tags,
)
from stepwell._errors import StepwellError
from stepwell._limits import Limits

LIMITS = Limits()

BAD_TEXTS: dict[str, tuple[object, str]] = {
    "49-empty": ("", "is empty"),
    "49-256-bytes": ("x" * 256, "at most 255 bytes of UTF-8, not 256 bytes"),
    "49-2705-bytes": ("x" * 2_705, "not 2,705 bytes"),
    "49-bytes-not-characters": ("é" * 128, "not 256 bytes"),
    "49-too-long-with-surrogate": ("\ud800" * 300, "not 300 bytes"),
    "49-leading-space": (" a", "begin or end with a space"),
    "49-trailing-space": ("a ", "begin or end with a space"),
    "49-newline": ("a\nb", "printable characters only; at 1"),
    "49-nul": ("a\0", "printable characters only; at 1"),
    "49-surrogate": ("a\ud800", "lone surrogate at 1: 'a\\ud800'"),
    "49-right-to-left-override": ("\u202egpj", "printable characters only; at 0"),
    "49-escape-sequence": ("a\x1b[31m", "printable characters only"),
    "49-bytes": (b"a", "must be text, not bytes: b'a'"),
    "49-none": (None, "must be text, not NoneType: None"),
    "49-str-subclass": (type("S", (str,), {})("a"), "must be text, not S"),
}


@pytest.mark.parametrize(("value", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_a_bad_execution_id_is_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(message)) as caught:
        check_execution_id(value)
    assert str(caught.value).startswith("the execution id ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["../../etc", "parent/step", "/"], ids=["49-path", "49-child", "49-slash"])
def test_an_execution_id_has_no_slash(value: str) -> None:
    with pytest.raises(InvalidArgument, match="may not contain '/'"):
        check_execution_id(value)


@pytest.mark.parametrize("value", ["a", "x" * 255, "é" * 127, "%00", "';--", "refund:o-1", "🦆", "a b", "{}\\"])
def test_a_printable_execution_id_is_accepted_as_it_is(value: str) -> None:
    assert check_execution_id(value) == value


def test_ids_that_differ_in_case_or_normal_form_stay_different() -> None:
    assert check_execution_id("É") != check_execution_id("E\u0301") != check_execution_id("é")


def test_an_id_is_named_as_the_caller_says() -> None:
    with pytest.raises(InvalidArgument, match="the signal id is empty"):
        check_execution_id("", what="the signal id")


@pytest.mark.parametrize("value", ["a", "_", "pay.v2-b", "A" + "x" * 127])
def test_a_name_is_accepted(value: str) -> None:
    assert check_name(value) == value


@pytest.mark.parametrize("value", ["", "1a", "-a", "a b", "é", "a\n", "A" + "x" * 128, "a/b", "\ud800", None, 3])
def test_a_bad_name_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="the step's name must be a letter or '_'") as caught:
        check_name(value, "the step's name")
    assert len(str(caught.value)) < 200


def test_tags_keep_their_order_and_lose_duplicates() -> None:
    assert check_tags(["b", "a", "b"], LIMITS) == ("b", "a")
    assert check_tags((), LIMITS) == ()
    assert check_tags(iter(["x"] * 1_000), LIMITS) == ("x",)


@pytest.mark.parametrize(("value", "message"), BAD_TEXTS.values(), ids=[row.replace("49", "61") for row in BAD_TEXTS])
def test_a_bad_tag_is_refused_with_its_place(value: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape("tags[1] ")) as caught:
        check_tags(["good", value], LIMITS)
    assert message in str(caught.value)


def test_tags_are_limited_in_number() -> None:
    assert len(check_tags([str(n) for n in range(32)], LIMITS)) == 32
    with pytest.raises(InvalidArgument, match="may have 32 tags"):
        check_tags((str(n) for n in range(10**9)), LIMITS)


@pytest.mark.parametrize("value", ["urgent", None, 3], ids=["61-text", "61-none", "61-number"])
def test_tags_that_are_no_list_are_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="tags must be a list of texts"):
        check_tags(value, LIMITS)


def test_metadata_of_text_integers_and_bools_is_kept_with_its_types() -> None:
    given_ = {"tenant": "a\n'\"$", "n": 2**63 - 1, "m": -(2**63), "b": True, "e": ""}
    checked = check_metadata(given_)
    assert checked == given_
    assert checked is not given_
    assert type(checked["b"]) is bool


BAD_METADATA: dict[str, tuple[object, str]] = {
    "61-no-dict": (["a"], "metadata must be a dict, not ['a']"),
    "61-key-quote": ({"a'b": 1}, "a key of metadata must be a letter"),
    "61-key-dollar": ({"$a": 1}, "a key of metadata must be a letter"),
    "61-key-no-text": ({1: 1}, "a key of metadata must be a letter"),
    "61-list": ({"a": [1]}, "metadata['a'] must be a text, an int or a bool, not list: [1]"),
    "61-dict": ({"a": {}}, "not dict: {}"),
    "61-none": ({"a": None}, "not NoneType: None"),
    "61-float": ({"a": 1.5}, "may not be a float"),
    "61-65-bits": ({"a": 2**63}, "must fit into 64 bits"),
    "61-huge": ({"a": 10**5_000}, "store an int of about 5000 digits as text"),
    "61-10-MB": ({"a": "x" * 10_000_000}, "at most 1,024 bytes without NUL, not 10,000,000 bytes"),
    "61-nul": ({"a": "\0"}, "without NUL"),
    "61-surrogate": ({"a": "\ud800"}, "metadata['a'] has a lone surrogate at 0"),
    "61-65-keys": ({f"k{n}": n for n in range(65)}, "may have 64 keys"),
}


@pytest.mark.parametrize(("value", "message"), BAD_METADATA.values(), ids=BAD_METADATA)
def test_bad_metadata_is_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(message)) as caught:
        check_metadata(value)
    assert isinstance(caught.value, StepwellError)
    assert isinstance(caught.value, ValueError)


def test_a_reason_is_one_printable_line_of_bounded_length() -> None:
    assert check_reason("") == ""
    assert check_reason("customer asked\nto") == "customer asked\\nto"
    assert check_reason("\0" * 10_000_000) == ("\\x00" * 256)[:1_023] + "…"
    with pytest.raises(InvalidArgument, match="the reason must be text, not None"):
        check_reason(None)


@given(st.text(st.characters()))
def test_what_is_accepted_is_storable_everywhere(text: str) -> None:
    checks: list[Callable[[str], object]] = [
        check_execution_id,
        lambda value: check_tags([value], LIMITS),
        lambda value: check_metadata({"key": value}),
    ]
    for check in checks:
        try:
            check(text)
        except InvalidArgument as error:
            assert str(error).isprintable()  # noqa: PT017 — accepted is as good as refused
        else:
            assert len(text.encode()) <= 1_024
            assert "\0" not in text
    assert len(check_reason(text)) <= 1_024
    assert check_reason(text).isprintable()


# --- what is searched for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"a", 1, ["a"]], ids=repr)
def test_what_is_searched_for_is_text(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="tag must be text, not "):
        check_filter(value, "tag")


# --- limits --------------------------------------------------------------------------------------------------------


def test_limits_have_the_documented_defaults() -> None:
    assert Limits(payload=1_048_576, depth=100, error=65_536, tags=32, pending_signals=1_000, graph=10_000) == LIMITS


@pytest.mark.parametrize("value", [0, -1, True, 1.0, 1e3, "1", None, float("nan")], ids=repr)
@pytest.mark.parametrize("name", ["payload", "depth", "error", "tags", "pending_signals", "graph"])
def test_a_limit_is_a_positive_whole_number(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"Limits: {name} must be a whole number"):
        Limits(**{name: value})


def test_all_wrong_limits_are_told_at_once() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Limits(payload=0, depth=501, error=1_023)
    assert str(caught.value) == (
        "Limits: payload must be a whole number of at least 1, not 0; "
        "depth must be a whole number from 1 to 500, not 501; "
        "error must be a whole number of at least 1,024, not 1023"
    )
