"""Inputs as canonical text: what is the same by content has the same text."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell._codec import LimitExceeded, PayloadError, canonical, check_input
from stepwell._codec import _codec as codec_module
from stepwell._limits import Limits
from tests.unit.payloads import LIMITS, Box, Order, encode, json_values


def test_the_same_input_by_content_has_the_same_text() -> None:
    def text(value: object, annotation: Any = Order) -> str:
        return check_input(annotation, value, limits=LIMITS, what="the input of workflow 'refund'")

    expected = '{"id":"o","lines":[],"note":null,"total":80.0}'
    assert text(Order("o", 80.0)) == expected
    assert text(Order("o", 80)) == expected
    assert text({"total": 80, "id": "o"}) == expected
    assert text({"b": 1, "a": {"d": 1, "c": 2}}, Any) == '{"a":{"c":2,"d":1},"b":1}'
    assert text({10: "a", 9: "b"}, dict[int, str]) == text({9: "b", 10: "a"}, dict[int, str])
    assert text({"b", "a", "c"}, set[str]) == '["a","b","c"]'
    assert text(None, None) == "null"


def test_an_input_must_fit_its_type() -> None:
    with pytest.raises(PayloadError, match=r"the input: at \$: Object missing required field `id`"):
        check_input(Order, {}, limits=LIMITS, what="the input")
    assert check_input(list[Box[Order]], [{"item": {"id": "", "total": 1}}], limits=LIMITS, what="the input") == (
        '[{"item":{"id":"","lines":[],"note":null,"total":1.0}}]'
    )
    with pytest.raises(LimitExceeded):  # the defaults make it longer than what was given
        check_input(Order, {"id": "", "total": 1}, limits=Limits(payload=40), what="the input")


def test_an_input_without_an_order_has_no_canonical_form() -> None:
    with pytest.raises(PayloadError, match="no canonical form can be made of it: TypeError"):
        check_input(set[int | str | tuple[int]], {1, "a", (2,)}, limits=LIMITS, what="the input")


def test_an_interrupt_by_the_user_passes_the_canonical_form(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(codec_module, "fill_defaults", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check_input(Order, Order("o", 2.0), limits=LIMITS, what="the input")


def test_canonical_text_sorts_keys_and_keeps_the_rest() -> None:
    text = '{"b": [1e23, -0.0, 18446744073709551616, "\\u0000"], "a": {"d": 1.0, "c": null}}'
    assert canonical(text) == '{"a":{"c":null,"d":1.0},"b":[1e23,-0.0,18446744073709551616,"\\u0000"]}'
    with pytest.raises(PayloadError, match="not JSON that can be read back"):
        canonical("{")


@given(st.dictionaries(st.text(), json_values), st.randoms(use_true_random=False))
def test_the_order_of_keys_makes_no_difference(value: dict[str, object], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical(encode(dict(items))) == canonical(encode(value))
