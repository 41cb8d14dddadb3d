"""Means with intervals over seeds, and paired differences between two methods on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy import stats

from submillion.assess.statistics.paired_tests import mcnemar
from submillion.assess.statistics.proportions import paired_interval

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over seeds."""

    value: float
    half_width: float | None
    """Of the interval of Student's t; None with one seed."""
    seeds: int


@dataclass(frozen=True)
class Difference:
    """A paired difference of accuracies."""

    value: float
    low: float
    high: float
    p: float
    pairs: int
    """Seeds, or rows of a single run."""
    unit: str
    """`seeds` or `rows`."""

    @property
    def is_carried(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of one value a seed, with the 95 % interval of Student's t."""
    count = len(values)
    if count < 2:
        return Mean(float(np.mean(values)), None, count)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return Mean(float(np.mean(values)), quantile * float(stats.sem(values)), count)


def difference(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    our_hits: Mapping[int, np.ndarray],
    their_hits: Mapping[int, np.ndarray],
) -> Difference | None:
    """Return the difference of two methods on the seeds that both have; None if there are none.

    Several seeds are compared by the paired t-test. A single one is compared row by row by McNemar's exact test; the
    interval excludes 0 only if it rejects.

    Args:
        ours: accuracy by seed.
        theirs: likewise.
        our_hits: whether each test row was right, bool [N] by seed.
        their_hits: likewise, the same rows.
    """
    common = sorted(set(ours) & set(theirs))
    if not common:
        return None
    if len(common) > 1:
        gaps = np.array([ours[seed] - theirs[seed] for seed in common])
        mean = mean_of(gaps.tolist())
        width = mean.half_width or 0.0
        same = bool(np.ptp(gaps) == 0)  # the test divides by their spread
        p = float(gaps[0] == 0) if same else float(stats.ttest_1samp(gaps, 0).pvalue)
        return Difference(mean.value, mean.value - width, mean.value + width, p, len(common), "seeds")
    right, wrong = our_hits[common[0]], their_hits[common[0]]
    only_ours, only_theirs = int((right & ~wrong).sum()), int((~right & wrong).sum())
    interval = paired_interval(only_ours, only_theirs, len(right))
    value = (only_ours - only_theirs) / len(right)
    p = mcnemar(only_ours, only_theirs)
    low, high = cast("float", interval["low"]), cast("float", interval["high"])  # no rows would have none
    return Difference(value, low, high, p, len(right), "rows")
