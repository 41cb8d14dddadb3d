"""Spread over seeds and the sizes that a difference needs, against scipy, published tables and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from submillion.assess.statistics.paired_tests import mcnemar
from submillion.assess.statistics.power import rows_needed, seeds_needed
from submillion.assess.statistics.seeds import difference_of_means, spread
from submillion.run_format.interval import interval
from support.intervals import limits


def test_spread_by_hand() -> None:
    found = spread([0.95, 0.96, 0.97])
    assert (found["runs"], found["mean"]) == (3, pytest.approx(0.96))
    assert found["deviation"] == pytest.approx(0.01)
    reach = 4.302653 * 0.01 / 3**0.5  # t with 2 degrees of freedom
    assert limits(found["mean_interval"]) == pytest.approx([0.96 - reach, 0.96 + reach])


def test_a_mean_of_scores_is_at_least_0_and_at_most_1() -> None:
    assert limits(spread([0.1, 0.3])["mean_interval"]) == (0, 1)
    assert limits(spread([0.1, 0.3], lowest=-1)["mean_interval"]) == (-1, 1)


def test_one_run_has_a_mean_and_no_spread() -> None:
    assert spread([0.9]) == {"runs": 1, "mean": 0.9, "deviation": None, "mean_interval": interval(0.9)}
    assert difference_of_means([0.9], [0.8, 0.81]) is None
    assert difference_of_means([0.9, 0.9], [0.8, 0.8]) is None


def test_the_difference_of_means_is_welchs_test() -> None:
    from scipy.stats import ttest_ind

    a, b = [0.970, 0.972, 0.968, 0.975], [0.960, 0.965, 0.958]
    theirs = ttest_ind(a, b, equal_var=False)
    ours = difference_of_means(a, b)
    assert ours is not None
    assert ours["difference"] == pytest.approx(np.mean(a) - np.mean(b))
    assert ours["p"] == pytest.approx(theirs.pvalue)
    expected = theirs.confidence_interval(0.95)
    assert limits(ours["difference_interval"]) == pytest.approx([expected.low, expected.high])
    assert ours["seeds_needed"] == seeds_needed(
        ours["difference"], np.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / 2)
    )


@pytest.mark.parametrize(("effect", "needed"), [(0.5, 64), (0.8, 26), (1.0, 17)])
def test_seeds_needed_are_cohens(effect: float, needed: int) -> None:
    # Cohen 1988, table 2.4.1, two-sided 0.05, power 0.80.
    assert seeds_needed(effect, 1.0) == needed
    assert seeds_needed(-effect, 1.0) == needed


def test_seeds_needed_at_the_ends() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.01, 1.0) is None  # 157,000: never
    assert seeds_needed(0.01, 0.0) == 2
    assert seeds_needed(1e6, 1.0) == 2


def test_rows_needed_are_connors() -> None:
    # Discordant 0.45 and 0.05: 23 pairs, the worked example of powerandsamplesize.com for this formula (power
    # 0.90 one-sided, 0.80 two-sided).
    assert rows_needed(45, 5, 100) == 23
    assert rows_needed(5, 45, 100) == 23
    assert rows_needed(7, 7, 100) is None
    assert rows_needed(0, 0, 100) is None
    assert rows_needed(100, 0, 100) == 4  # d = s = 1: 1.96^2 rows, nothing left to chance


def test_that_many_rows_show_the_difference_at_80_percent_power() -> None:
    shares = [0.03, 0.015, 0.955]
    rows = rows_needed(30, 15, 1000)
    assert rows is not None
    drawn = np.random.default_rng(0).multinomial(rows, shares, size=800)
    shown = np.mean([mcnemar(int(a), int(b)) < 0.05 for a, b, _ in drawn])
    assert 0.74 < shown < 0.84  # the exact test is a little stricter than the formula's
