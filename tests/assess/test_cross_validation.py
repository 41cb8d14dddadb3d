"""Tests of the scores of a cross-validation."""

from __future__ import annotations

import math

import pytest
from scipy.stats import t

from submillion.assess.cross_validation import resampled_t
from submillion.run_format.interval import limits_of


def test_the_interval_is_that_of_nadeau_and_bengio() -> None:
    low, high = limits_of(resampled_t([0.8, 0.9, 0.85, 0.75, 0.7], 0.25, 0.8))
    # The variance of the five is 0.00625, and 1 / 5 + 0.25 = 0.45.
    reach = t.ppf(0.975, 4) * math.sqrt(0.45 * 0.00625)
    assert (low, high) == (pytest.approx(0.8 - reach), pytest.approx(0.8 + reach))


def test_the_interval_stays_a_share() -> None:
    assert limits_of(resampled_t([0.1, 1.0], 1.0, 0.55)) == (0.0, 1.0)
