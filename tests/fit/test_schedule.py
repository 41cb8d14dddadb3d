"""The learning rate by step."""

from __future__ import annotations

import pytest

from submillion.fit.schedule import linear, position, warmup_steps


def test_climbs_then_falls_by_hand() -> None:
    # 10 steps, 3 of them warm-up: quarters up to the peak at step 3, then sevenths down.
    rates = [linear(step, 10, 3) for step in range(10)]
    assert rates == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize(("total", "ratio"), [(1, 0.0), (1, 0.9), (7, 0.0), (7, 0.1), (100, 0.1), (5, 0.99)])
def test_no_step_is_at_rate_0_and_exactly_one_at_the_peak(total: int, ratio: float) -> None:
    rates = [linear(step, total, warmup_steps(total, ratio)) for step in range(total)]
    assert min(rates) > 0
    assert rates.count(1.0) == 1 == max(rates)


def test_warmup_is_rounded_up_and_leaves_a_step_at_the_peak() -> None:
    assert warmup_steps(101, 0.1) == 11
    assert warmup_steps(100, 0.0) == 0
    assert warmup_steps(3, 0.99) == 2


def test_the_clock_counts_where_it_is_ahead_of_the_steps() -> None:
    assert position(30, 100) == 30
    assert position(30, 100, spent=20, limit=50) == 40
    assert position(30, 100, spent=10, limit=50) == 30
    assert position(30, 100, spent=60, limit=50) == 100
    assert linear(position(30, 100, spent=20, limit=50), 100, 20) == pytest.approx(60 / 80)
