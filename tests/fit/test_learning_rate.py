"""Tests of the learning rate schedule."""

from __future__ import annotations

import pytest

from submillion.fit.learning_rate import linear_factor, schedule_position, warmup_steps


def test_rises_then_falls_as_computed_by_hand() -> None:
    # 10 steps, 3 of them warm-up: quarters up to the peak at step 3, then sevenths down.
    rates = [linear_factor(step, 10, 3) for step in range(10)]
    assert rates == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize(("total", "ratio"), [(1, 0.0), (1, 0.9), (7, 0.0), (7, 0.1), (100, 0.1), (5, 0.99)])
def test_no_step_has_rate_0_and_exactly_one_is_at_the_peak(total: int, ratio: float) -> None:
    rates = [linear_factor(step, total, warmup_steps(total, ratio)) for step in range(total)]
    assert min(rates) > 0
    assert rates.count(1.0) == 1 == max(rates)


def test_warmup_is_rounded_up_and_leaves_a_step_at_the_peak() -> None:
    assert warmup_steps(101, 0.1) == 11
    assert warmup_steps(100, 0.0) == 0
    assert warmup_steps(3, 0.99) == 2


def test_elapsed_time_counts_if_it_is_ahead_of_the_steps() -> None:
    assert schedule_position(30, 100) == 30
    assert schedule_position(30, 100, elapsed_s=20, max_seconds=50) == 40
    assert schedule_position(30, 100, elapsed_s=10, max_seconds=50) == 30
    assert schedule_position(30, 100, elapsed_s=60, max_seconds=50) == 100
    assert linear_factor(schedule_position(30, 100, elapsed_s=20, max_seconds=50), 100, 20) == pytest.approx(
        60 / 80
    )
