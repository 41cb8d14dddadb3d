"""Risk, coverage and thresholds against hand-worked numbers, and the rule against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.assess.confidence.selective import (
    answered_above,
    aurc,
    least_rows,
    lower_limit,
    risk_coverage,
    threshold_for,
)
from submillion.run_format.interval import interval
from support.intervals import limits

# Four rows: right, then a right and a wrong one that look alike, then a wrong one.
CONFIDENCE = np.array([0.9, 0.8, 0.8, 0.1])
RIGHT = np.array([1.0, 0.0, 1.0, 0.0])


def test_the_curve_by_hand() -> None:
    curve = risk_coverage(CONFIDENCE, RIGHT)
    assert curve["coverage"] == [0.25, 0.75, 1.0]
    assert curve["risk"]["value"] == [0.0, 1 / 3, 0.5]
    assert curve["threshold"] == [0.9, 0.8, 0.1]
    assert curve["risk"]["low"][0] == 0.0
    assert all(
        low <= risk <= high
        for low, risk, high in zip(*(curve["risk"][key] for key in ("low", "value", "high")), strict=True)
    )


def test_the_area_by_hand() -> None:
    found = aurc(CONFIDENCE, RIGHT, np.random.default_rng(0))
    # Of the two orders of the alike rows the risks are 0, 0, 1/3, 1/2 and 0, 1/2, 1/3, 1/2.
    assert found["value"] == pytest.approx((0 + 1 / 4 + 1 / 3 + 1 / 2) / 4)
    assert found["best"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert found["random"] == 0.5
    assert found["low"] < found["value"] < found["high"]


def test_areas_without_a_mistake_and_without_a_right_answer() -> None:
    rng = np.random.default_rng(0)
    assert aurc(CONFIDENCE, np.ones(4), rng) == {
        "value": 0.0,
        "low": 0.0,
        "high": 0.0,
        "confidence_level": 0.95,
        "best": 0.0,
        "random": 0.0,
    }
    assert aurc(CONFIDENCE, np.zeros(4), rng) == {
        "value": 1.0,
        "low": 1.0,
        "high": 1.0,
        "confidence_level": 0.95,
        "best": 1.0,
        "random": 1.0,
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 80), st.integers(1, 20), st.integers(0, 2**20))
def test_the_order_of_the_rows_does_not_matter(rows: int, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.choice(rng.random(distinct), rows)
    right = (rng.random(rows) < 0.8).astype(float)
    shuffled = rng.permutation(rows)
    assert risk_coverage(confidence, right) == risk_coverage(confidence[shuffled], right[shuffled])
    here, there = (
        aurc(confidence[order], right[order], np.random.default_rng(0))
        for order in (np.arange(rows), shuffled)
    )
    assert here["value"] == pytest.approx(there["value"])
    assert here["best"] - 1e-9 <= here["value"]
    assert threshold_for(confidence, right, 0.7) == threshold_for(confidence[shuffled], right[shuffled], 0.7)


def test_the_resampled_areas_are_those_of_resampled_rows() -> None:
    rng = np.random.default_rng(5)
    confidence = rng.beta(6, 1, 150)
    right = (rng.random(150) < confidence).astype(float)
    low, high = limits(aurc(confidence, right, rng))
    drawn = []
    for _ in range(1000):
        rows = rng.integers(150, size=150)
        order = np.argsort(-confidence[rows])
        drawn.append((np.cumsum(1 - right[rows][order]) / np.arange(1, 151)).mean())
    assert [low, high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist(), rel=0.15)


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(0)
    confidence, right = rng.random(5000), (rng.random(5000) < 0.9).astype(float)
    curve = risk_coverage(confidence, right)
    assert 190 <= len(curve["coverage"]) <= 200
    assert curve["coverage"][0] == 1 / 5000
    assert curve["coverage"][-1] == 1.0
    assert curve["risk"]["value"][-1] == pytest.approx(1 - right.mean())
    assert max(np.diff(curve["coverage"])) < 0.006


# -- thresholds ----------------------------------------------------------------------------------------------


def test_the_limit_is_scipys_exact_one() -> None:
    from scipy.stats import binomtest

    for right, total in ((0, 5), (3, 5), (5, 5), (570, 600)):
        expected = binomtest(right, total, alternative="greater").proportion_ci(0.95, method="exact").low
        assert lower_limit(np.array([right]), np.array([total])) == pytest.approx(expected)


@pytest.mark.parametrize(("target", "rows"), [(0.9, 29), (0.95, 59), (0.99, 299), (0.0, 1), (1.0, None)])
def test_the_least_rows_are_just_enough(target: float, rows: int | None) -> None:
    assert least_rows(target) == rows
    if rows is None:
        assert threshold_for(np.ones(1000), np.ones(1000), target) is None
        return
    assert threshold_for(np.linspace(1, 0.5, rows), np.ones(rows), target) == 0.0
    if rows > 1:
        assert threshold_for(np.ones(rows - 1), np.ones(rows - 1), target) is None


def test_a_threshold_by_hand() -> None:
    # 70 sure rows are right, the 30 others at random: 59 right rows reach 95 %, 93 of 94 would, 92 of 94 do not.
    confidence = np.concatenate([np.linspace(0.99, 0.9, 70), np.linspace(0.6, 0.4, 30)])
    right = np.array([1] * 70 + [0, 1] * 15, dtype=float)
    threshold = threshold_for(confidence, right, 0.95)
    assert threshold == pytest.approx((0.9 + 0.6) / 2)
    found = answered_above(confidence, right, threshold)
    assert (found["answered"], found["coverage"], found["accuracy"]) == (70, 0.7, 1.0)
    assert found["lower_limit"] == pytest.approx(0.05 ** (1 / 70))
    assert threshold_for(confidence, right, 0.97) is None  # 99 faultless rows would be needed
    assert threshold_for(confidence, right, 0.5) == 0.0


def test_rows_of_equal_confidence_are_answered_together_or_not_at_all() -> None:
    confidence = np.array([0.9] * 200 + [0.8] * 100)
    right = np.array([1] * 200 + [1] * 50 + [0] * 50, dtype=float)
    threshold = threshold_for(confidence, right, 0.95)
    assert threshold == pytest.approx(0.85)  # a part of the equals would still reach 95 %
    assert answered_above(confidence, right, threshold)["answered"] == 200


def test_neighbouring_float32_confidences_are_distinguished() -> None:
    one, below = np.float32(1), np.nextafter(np.float32(1), np.float32(0))
    confidence = np.array([one] * 100 + [below] * 100, dtype=np.float32).astype(np.float64)
    right = np.array([1] * 100 + [0] * 100, dtype=float)
    threshold = threshold_for(confidence, right, 0.95)
    assert threshold is not None
    assert answered_above(confidence, right, threshold)["answered"] == 100


def test_a_threshold_above_every_row_answers_none() -> None:
    found = answered_above(CONFIDENCE, RIGHT, 0.95)
    assert (found["answered"], found["coverage"], found["accuracy"], found["accuracy_interval"]) == (
        0,
        0.0,
        None,
        interval(None),
    )


def test_targets_hold_about_as_often_as_documented() -> None:
    rng = np.random.default_rng(6)

    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows that claim more than they hold, as fine-tuned encoders do."""
        odds = rng.normal(3.4, 1.8, rows)
        confidence = 1 / (1 + np.exp(-np.abs(odds)))
        return confidence, rng.random(rows) < 1 / (1 + np.exp(-np.abs(odds) / 1.3))

    confidence, right = draw(400_000)
    missed = missed_plainly = reached = 0
    for _ in range(200):
        seen, hits = draw(1500)
        threshold = threshold_for(seen, hits.astype(float), 0.97)
        if threshold is not None:
            reached += 1
            missed += right[confidence >= threshold].mean() < 0.97
        order = np.argsort(-seen)
        good = np.flatnonzero(np.cumsum(hits[order]) / np.arange(1, 1501) >= 0.97)
        missed_plainly += right[confidence >= seen[order][good[-1]]].mean() < 0.97
    assert reached > 100
    assert missed <= 20  # 5 % of 200 are 10; more than 20 has probability 0.1 %
    assert missed_plainly > 70
