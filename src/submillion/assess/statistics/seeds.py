"""What training again with other seeds tells, and how many seeds or test rows a difference would need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from submillion.run_format.interval import CONFIDENCE, interval

POWER = 0.8
MOST_SEEDS = 10_000  # more than this is never


def spread(values: Sequence[float], confidence_level: float = CONFIDENCE) -> dict[str, Any]:
    """Describe a score over runs that differ in their seed alone.

    The interval is Student's of the mean (The probable error of a mean, Biometrika 6 (1908) 1-25): where the
    mean over all seeds lies, for this training set and these test rows. That seeds vary as much as many
    changes of method do: Bouthillier et al. 2021, arXiv:2103.03098.

    Returns:
        `runs`, `mean`, `deviation` (with n - 1) and `mean_interval`; the deviation and the limits are None for a
        single run.
    """
    from scipy.stats import t

    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return {"runs": n, "mean": mean, "deviation": None, "mean_interval": interval(mean)}
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    reach = float(t.ppf(0.5 + confidence_level / 2, n - 1)) * deviation / math.sqrt(n)
    limits = mean - reach, mean + reach
    return {
        "runs": n,
        "mean": mean,
        "deviation": deviation,
        "mean_interval": interval(mean, *limits, confidence_level),
    }


def between(
    values_a: Sequence[float], values_b: Sequence[float], confidence_level: float = CONFIDENCE
) -> dict[str, Any] | None:
    """Compare the means of two recipes over their seeds, a minus b; no two runs need to be of one seed.

    B. L. Welch, "The generalization of Student's problem when several different population variances are
    involved", Biometrika 34 (1947) 28-35.

    Returns:
        `difference`, `difference_interval` and `p`, and `seeds_needed`: seeds of each recipe by `seeds_needed`.
        None where a recipe has one run only, or no run of either differs from its fellows.
    """
    from scipy.stats import t

    a, b = spread(values_a), spread(values_b)
    if a["deviation"] is None or b["deviation"] is None:
        return None
    shares = a["deviation"] ** 2 / a["runs"], b["deviation"] ** 2 / b["runs"]
    error = math.sqrt(sum(shares))
    if not error:
        return None
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / (a["runs"] - 1) + shares[1] ** 2 / (b["runs"] - 1))
    difference = a["mean"] - b["mean"]
    reach = float(t.ppf(0.5 + confidence_level / 2, freedom)) * error
    pooled = math.sqrt((a["deviation"] ** 2 + b["deviation"] ** 2) / 2)
    return {
        "difference": difference,
        "difference_interval": interval(difference, difference - reach, difference + reach, confidence_level),
        "p": float(2 * t.sf(abs(difference) / error, freedom)),
        "seeds_needed": seeds_needed(difference, pooled),
    }


def seeds_needed(
    difference: float, deviation: float, power: float = POWER, confidence_level: float = CONFIDENCE
) -> int | None:
    """Return how many seeds of each of two recipes show a difference of means with this probability.

    By Student's test of two samples: the least n of each for which a non-central t of 2 n - 2 degrees of
    freedom and non-centrality difference / deviation * sqrt(n / 2) passes the test (J. Cohen, Statistical
    Power Analysis for the Behavioral Sciences, 2nd ed. 1988, chapter 2). A difference that was itself
    measured is uncertain, and so is the answer.

    Args:
        deviation: standard deviation over the seeds of one recipe.

    Returns:
        At least 2; None where the difference is 0 or more than 10,000 were needed.
    """
    if not difference:
        return None
    if not deviation:
        return 2
    effect = abs(difference) / deviation
    low, high = 1, 2
    while _power(effect, high, confidence_level) < power:
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(effect, middle, confidence_level) >= power else (middle, high)
    return high if high <= MOST_SEEDS else None


def rows_needed(
    only_a: int, only_b: int, rows: int, power: float = POWER, confidence_level: float = CONFIDENCE
) -> int | None:
    """Return how many test rows would show the accuracy difference seen here with this probability.

    R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43 (1987) 207-211: (z_a sqrt(s) + z_b sqrt(s - d^2))^2 / d^2, for shares s of rows that one
    alone got right and their difference d, by McNemar's test. That test sets of the usual size leave many
    differences unshown: Card et al. 2020, arXiv:2010.06595.

    Returns:
        None where there is no difference.
    """
    if only_a == only_b:
        return None
    difference, split = (only_a - only_b) / rows, (only_a + only_b) / rows
    normal = NormalDist()
    reach = normal.inv_cdf(0.5 + confidence_level / 2) * math.sqrt(split)
    reach += normal.inv_cdf(power) * math.sqrt(split - difference**2)
    return math.ceil((reach / difference) ** 2)


def _power(effect: float, runs: int, confidence_level: float) -> float:
    """Return the probability that Student's two-sided test of `runs` against `runs` finds the effect."""
    from scipy.stats import nct, t

    freedom = 2 * runs - 2
    limit = t.ppf(0.5 + confidence_level / 2, freedom)
    centre = effect * math.sqrt(runs / 2)
    return float(nct.sf(limit, freedom, centre) + nct.cdf(-limit, freedom, centre))
