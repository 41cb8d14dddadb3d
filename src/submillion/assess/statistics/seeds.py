"""Scores over several seeds: mean and deviation of one recipe, and the difference of two recipes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scipy.stats import t

from submillion.assess.statistics.power import seeds_needed
from submillion.run_format.interval import CONFIDENCE, Interval, interval, limits_of


def mean_interval(values: Sequence[float], confidence_level: float = CONFIDENCE) -> Interval:
    """Return the mean with Student's interval (The probable error of a mean, Biometrika 6 (1908) 1-25).

    The limits are None for a single value.
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return interval(mean, confidence_level=confidence_level)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    reach = float(t.ppf(0.5 + confidence_level / 2, n - 1)) * math.sqrt(variance / n)
    return interval(mean, mean - reach, mean + reach, confidence_level)


def spread(values: Sequence[float], lowest: float = 0.0) -> dict[str, Any]:
    """Describe a score over runs that differ only in their seed.

    The interval is of the mean over all seeds, for this training set and these test rows. Seeds vary as much as
    many changes of method do: Bouthillier et al. 2021, arXiv:2103.03098.

    Args:
        values: of the runs.
        lowest: the least possible value, for a difference of scores -1; the greatest is 1. Student's interval of few
            values may pass them, a mean cannot.

    Returns:
        `runs`, `mean`, `deviation` (with n - 1) and `mean_interval`; the deviation and the limits are None for a
        single run.
    """
    n, mean = len(values), math.fsum(values) / len(values)
    deviation = None
    if n > 1:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    found = mean_interval(values)
    if n > 1:
        low, high = limits_of(found)
        found = interval(mean, max(low, lowest), min(high, 1.0), found["confidence_level"])
    return {"runs": n, "mean": mean, "deviation": deviation, "mean_interval": found}


def difference_of_means(
    values_a: Sequence[float], values_b: Sequence[float], confidence_level: float = CONFIDENCE
) -> dict[str, Any] | None:
    """Compare the means of two recipes over their seeds, a minus b; the two need not share seeds.

    B. L. Welch, "The generalization of Student's problem when several different population variances are
    involved", Biometrika 34 (1947) 28-35.

    Returns:
        `difference`, `difference_interval`, `p`, and `seeds_needed` (of each recipe, see the function).
        None if a recipe has a single run, or all runs of both recipes score alike.
    """
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
