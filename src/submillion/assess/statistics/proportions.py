"""Confidence intervals of proportions and of the difference of two proportions."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from scipy.stats import binomtest

from submillion.run_format.interval import CONFIDENCE, Interval, interval


# Scores of many classes repeat the same few counts; scipy takes a millisecond for each.
@lru_cache(maxsize=1 << 14)
def wilson(successes: int, trials: int, confidence_level: float = CONFIDENCE) -> tuple[float, float]:
    """Return the limits of the score interval of a proportion.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927) 209-212: the proportions p for which the observed share is
    within z standard errors sqrt(p (1 - p) / n). Unlike the textbook interval, it stays inside [0, 1] and has a
    width even if every row is right.

    Args:
        successes: number of successes.
        trials: number of trials.
        confidence_level: coverage, 0.95 for 95%.

    Returns:
        (low, high) as shares; (0, 1) without trials.
    """
    if not trials:
        return 0.0, 1.0
    limits = binomtest(successes, trials).proportion_ci(confidence_level, method="wilson")
    return float(limits.low), float(limits.high)


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return a proportion with its 95% Wilson interval; without trials both are undefined."""
    return interval(successes / trials, *wilson(successes, trials)) if trials else interval(None)


def f1_interval(right: int, touched: int, confidence_level: float = CONFIDENCE) -> Interval:
    """Return the F1 of a class with its interval.

    F1 = 2 J / (1 + J), where J is the share of right rows among those that have the class as label or
    prediction; the limits follow from Wilson's limits of J. Unlike the bootstrap interval, it has a width even
    if every row is right. Lam, Gopal and Qian 2023, arXiv:2309.14621: the "Wilson indirect" method.

    Args:
        right: rows labelled and predicted as the class.
        touched: rows labelled or predicted as the class.
        confidence_level: coverage.
    """
    if not touched:
        return interval(None, confidence_level=confidence_level)
    low, high = wilson(right, touched, confidence_level)
    return interval(
        2 * right / (right + touched), 2 * low / (1 + low), 2 * high / (1 + high), confidence_level
    )


def unpaired_interval(right: int, rows: int, other_right: int, other_rows: int) -> Interval:
    """Return the difference of two independent proportions, the first minus the second, with its interval.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998) 873-890, method 10: from the two Wilson intervals.

    Args:
        right: successes of the first group.
        rows: its trials, at least 1.
        other_right: successes of the second group.
        other_rows: its trials, at least 1.
    """
    one, two = right / rows, other_right / other_rows
    (low, high), (other_low, other_high) = wilson(right, rows), wilson(other_right, other_rows)
    difference = one - two
    return interval(
        difference,
        difference - math.hypot(one - low, other_high - two),
        difference + math.hypot(high - one, two - other_low),
    )


def paired_interval(only_a: int, only_b: int, rows: int, confidence_level: float = CONFIDENCE) -> Interval:
    """Return the difference of two accuracies on the same rows, a minus b, with its interval.

    A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24 (2005) 729-740: the normal interval after half a row is added to each of the
    four cells. Unlike the bootstrap interval, it has a width even if both are right on the same rows.

    With few rows that only one got right it is too narrow: it would exclude 0 for 2 against 0 of 3 rows. Where the
    exact McNemar test does not reject at this level, the interval is therefore extended to the exact conditional one:
    with d = only_a + only_b and Clopper and Pearson's limits l, u of only_a / d, from (2 l - 1) d / n to
    (2 u - 1) d / n (Armitage, Berry and Matthews, Statistical Methods in Medical Research, 4th ed. 2002, section 4.5;
    C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404-413). So it excludes 0 only if that test rejects.

    Args:
        only_a: rows that only a got right.
        only_b: rows that only b got right.
        rows: all rows, at least 1.
        confidence_level: coverage.
    """
    z = NormalDist().inv_cdf(0.5 + confidence_level / 2)
    total = rows + 2
    centre = (only_a - only_b) / total
    reach = z * math.sqrt(only_a + only_b + 1 - (only_a - only_b) ** 2 / total) / total
    low, high = max(centre - reach, -1.0), min(centre + reach, 1.0)
    if not low <= 0 <= high:
        discordant = only_a + only_b
        share = binomtest(only_a, discordant).proportion_ci(confidence_level, method="exact")
        if share.low <= 0.5 <= share.high:
            low = min(low, (2 * float(share.low) - 1) * discordant / rows)
            high = max(high, (2 * float(share.high) - 1) * discordant / rows)
    return interval((only_a - only_b) / rows, low, high, confidence_level)
