"""How far back claims look in Postgres: from the beginning, unless that is slow and there is more than enough."""

from __future__ import annotations

from stepwell.storage._postgres._horizon import BEGINNING, Horizon


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def looked(horizon: Horizon, clock: Clock, *, seconds: float, first_due: int) -> int:
    """Let a claim take so long and find all that it could take; return from when on it looked."""
    since = horizon.begin()
    clock.now += seconds
    horizon.is_full(first_due)
    return since


def test_quick_claims_look_from_the_beginning() -> None:
    clock = Clock()
    horizon = Horizon(clock)
    assert [looked(horizon, clock, seconds=0.001, first_due=due) for due in (5, 6, 7)] == [BEGINNING] * 3


def test_after_a_slow_one_claims_begin_where_it_found_the_first_for_two_seconds() -> None:
    clock = Clock()
    horizon = Horizon(clock)
    assert looked(horizon, clock, seconds=0.02, first_due=5) == BEGINNING
    assert looked(horizon, clock, seconds=0.02, first_due=9) == 5
    clock.now += 1.9
    assert looked(horizon, clock, seconds=0.001, first_due=20) == 5
    clock.now += 0.1
    assert looked(horizon, clock, seconds=0.02, first_due=30) == BEGINNING
    assert horizon.begin() == 30
