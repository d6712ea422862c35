from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell._errors import quoted
from stepwell._retry import LONGEST, Retry, parse_duration, seconds

HALF = 0.5
"""the random number that jitters nothing"""


def test_the_delay_doubles_until_its_limit() -> None:
    retry = Retry(max_attempts=9, backoff=1, multiplier=2, max_backoff=10)
    assert [retry.delay(n, HALF) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_the_ten_thousandth_attempt_does_not_overflow() -> None:
    assert Retry(backoff=1, multiplier=10).delay(10_000, HALF) == 300
    assert Retry(backoff=1e-280, multiplier=1_000_000).delay(10_000, HALF) == 300
    assert Retry(backoff=5, multiplier=1).delay(10_000, HALF) == 5
    assert Retry(backoff=0, multiplier=2).delay(10_000, HALF) == 0


def test_jitter_varies_the_delay_both_ways() -> None:
    retry = Retry(backoff=10, jitter=0.1)
    assert retry.delay(1, 0.0) == pytest.approx(9)
    assert retry.delay(1, HALF) == 10
    assert retry.delay(1, 0.999999) == pytest.approx(11, rel=1e-5)


@given(
    retry=st.builds(
        Retry,
        backoff=st.floats(0, 1e6),
        multiplier=st.floats(1, 1_000_000),
        max_backoff=st.floats(1e6, LONGEST),
        jitter=st.floats(0, 1),
    ),
    attempt=st.integers(1, 10**9),
    random=st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_finite_and_stays_within_its_limit(retry: Retry, attempt: int, random: float) -> None:
    delay = retry.delay(attempt, random)
    assert math.isfinite(delay)
    assert 0 <= delay <= retry.max_backoff * (1 + retry.jitter)


@given(backoff=st.floats(0.001, 100), multiplier=st.floats(1, 10), attempt=st.integers(1, 200))
def test_clamping_the_exponent_changes_no_delay(backoff: float, multiplier: float, attempt: int) -> None:
    plain = min(300.0, backoff * multiplier ** (attempt - 1))
    assert Retry(backoff=backoff, multiplier=multiplier).delay(attempt, HALF) == pytest.approx(plain)


def test_durations_are_kept_as_seconds() -> None:
    retry = Retry(backoff=timedelta(seconds=5), max_backoff=timedelta(minutes=1))
    assert (retry.backoff, retry.max_backoff) == (5.0, 60.0)
    assert type(retry.backoff) is float


def test_a_number_means_that_many_attempts_without_a_delay() -> None:
    retry = Retry.of(3)
    assert retry.max_attempts == 3
    assert retry.delay(2, 0.9) == 0


def test_a_policy_is_taken_as_it_is() -> None:
    retry = Retry()
    assert Retry.of(retry) is retry


def test_policies_with_the_same_fields_are_equal_and_none_can_be_changed() -> None:
    assert Retry(2) == Retry(max_attempts=2)
    with pytest.raises(AttributeError):
        Retry().max_attempts = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_attempts", value) for value in (0, -1, "3", True, 2.0, None, math.nan, math.inf)),
        *(("backoff", value) for value in (-1, math.nan, math.inf, "5s", True, None, timedelta(-1), timedelta.max)),
        *(("multiplier", value) for value in (0, -2, 0.5, 1e308, math.nan, "2", True, 10**400)),
        *(("max_backoff", value) for value in (-1, math.nan, math.inf, "1m", False, 0.5, 10**400)),
        *(("jitter", value) for value in (-0.1, 1.1, 5, math.nan, "1", True)),
        *(("give_up_on", value) for value in (ValueError, (ValueError(),), ("ValueError",), (int,), None, 3)),
    ],
    ids=quoted,
)
def test_a_bad_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"bad Retry: .*{field}"):
        Retry(**{field: value})


def test_all_bad_fields_are_named_at_once() -> None:
    with pytest.raises(ValueError, match="bad Retry") as caught:
        Retry(0, -1, math.nan, "1m", 5, cast("Any", (int,)))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    for field in ("max_attempts", "backoff", "multiplier", "max_backoff", "jitter", "give_up_on"):
        assert field in str(caught.value)


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (1.5, 1.5), (timedelta(days=90), 7_776_000.0)])
def test_seconds_takes_numbers_and_timedeltas(value: float | timedelta, expected: float) -> None:
    assert seconds(value, "timeout") == expected


@pytest.mark.parametrize("value", [True, "5", None, [], 1j])
def test_seconds_refuses_what_is_no_duration(value: Any) -> None:
    with pytest.raises(TypeError, match="delay must be seconds"):
        seconds(value, "delay")


@pytest.mark.parametrize(
    "value", [-1, math.nan, math.inf, -math.inf, timedelta(-1), timedelta.max, 10**400, LONGEST + 1], ids=quoted
)
def test_seconds_refuses_what_no_wait_can_last(value: Any) -> None:
    with pytest.raises(ValueError, match="delay must be"):
        seconds(value, "delay")


def test_seconds_refuses_zero_where_it_must_be_positive() -> None:
    with pytest.raises(ValueError, match="timeout must be more than zero"):
        seconds(0, "timeout", positive=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("5m", 300),
        ("7d", 604_800),
        ("2h", 7_200),
        ("500ms", 0.5),
        ("1w", 604_800),
        ("1.5h", 5_400),
        (" 3s ", 3),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, expected: float) -> None:
    assert parse_duration(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    ["", "abc", "1 month", "1 s", "5", "s", "-1s", "1e3s", "1,5h", "inf", "nans", "5M", "1h3m", "\u0661s", "1s\n2s"],
)
def test_a_text_that_is_no_duration_is_an_error_and_never_zero(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_a_text_for_too_long_a_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="36,500 days"):
        parse_duration("36501d")
