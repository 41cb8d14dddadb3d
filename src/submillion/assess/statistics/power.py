"""Power: how many seeds or test rows would show a difference."""

from __future__ import annotations

import math
from statistics import NormalDist

from scipy.stats import nct, t

from submillion.run_format.interval import CONFIDENCE

POWER = 0.8
MAX_SEEDS = 10_000
"""If more were needed, the answer is None."""


def seeds_needed(
    difference: float, deviation: float, power: float = POWER, confidence_level: float = CONFIDENCE
) -> int | None:
    """Return how many seeds of each of two recipes show a difference of means with probability `power`.

    By Student's two-sample test: the smallest n of each for which a non-central t with 2 n - 2 degrees of
    freedom and non-centrality difference / deviation * sqrt(n / 2) passes the test (J. Cohen, Statistical
    Power Analysis for the Behavioral Sciences, 2nd ed. 1988, chapter 2). If the difference itself was measured,
    it is uncertain, and so is the answer.

    Args:
        difference: difference of the two means.
        deviation: standard deviation over the seeds of one recipe.
        power: probability of showing the difference.
        confidence_level: one minus the significance level.

    Returns:
        At least 2; None if the difference is 0 or more than 10,000 seeds were needed.
    """
    if not difference:
        return None
    if not deviation:
        return 2
    effect = abs(difference) / deviation
    low, high = 1, 2
    while _power(effect, high, confidence_level) < power:
        low, high = high, 2 * high
        if low > MAX_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = _power(effect, middle, confidence_level) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high if high <= MAX_SEEDS else None


def rows_needed(
    only_a: int, only_b: int, rows: int, power: float = POWER, confidence_level: float = CONFIDENCE
) -> int | None:
    """Return how many test rows would show an observed accuracy difference with probability `power`.

    R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43 (1987) 207-211: (z_a sqrt(s) + z_b sqrt(s - d^2))^2 / d^2, where s is the share of rows that
    only one of the two got right and d the difference, for McNemar's test. Test sets of the usual size are too
    small for many differences: Card et al. 2020, arXiv:2010.06595.

    Args:
        only_a: rows that only a got right.
        only_b: rows that only b got right.
        rows: all rows.
        power: probability of showing the difference.
        confidence_level: one minus the significance level.

    Returns:
        None if there is no difference.
    """
    if only_a == only_b:
        return None
    difference, split = (only_a - only_b) / rows, (only_a + only_b) / rows
    normal = NormalDist()
    reach = normal.inv_cdf(0.5 + confidence_level / 2) * math.sqrt(split)
    reach += normal.inv_cdf(power) * math.sqrt(split - difference**2)
    return math.ceil((reach / difference) ** 2)


def _power(effect: float, runs: int, confidence_level: float) -> float:
    """Return the probability that Student's two-sided test of `runs` against `runs` shows the effect."""
    freedom = 2 * runs - 2
    limit = t.ppf(0.5 + confidence_level / 2, freedom)
    centre = effect * math.sqrt(runs / 2)
    return float(nct.sf(limit, freedom, centre) + nct.cdf(-limit, freedom, centre))
