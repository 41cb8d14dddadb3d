"""The bootstrap: resampled counts, macro F1 of thousands of resamples at once, and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from scipy.sparse import csr_array

from submillion.run_format.interval import CONFIDENCE, Interval, interval

RESAMPLES = 10_000
"""Resamples of cell counts."""
ROW_RESAMPLES = 1_000
"""Resamples of whole rows, which cost more."""
BLOCK = 1 << 21
"""Numbers held at a time (16 MB): thousands of resamples of many rows would not fit in memory."""


def tabulate(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the distinct rows of integer columns of one length.

    Returns:
        The cells that occur, int [K, len(columns)] in ascending order, and their counts, int [K].
    """
    cells, counts = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
    return cells, counts


def resampled_counts(counts: np.ndarray, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw the cell counts of row resamples, in blocks of int [b, K] whose b add up to `resamples`.

    Drawing n rows with replacement from n and counting their cells is one draw from the multinomial
    distribution with the cells' shares, so a statistic of counts needs no rows: the same bootstrap (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6), at a cost that does not grow with n.
    """
    total = int(counts.sum())
    shares = counts / total
    block = max(BLOCK // len(counts), 1)
    for start in range(0, resamples, block):
        yield rng.multinomial(total, shares, size=min(block, resamples - start))


def resampled_rows(rows: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw how often each row is in a resample of as many rows, in blocks of int [b, rows]."""
    block = max(BLOCK // rows, 1)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)


def macro_f1(counts: np.ndarray, labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return macro F1 of many tables of counts: the mean of F1 = 2 TP / (labelled + predicted) over classes.

    As in `metrics_of`, over the classes that occur in the table as label or prediction.

    Args:
        counts: rows in each cell, [B, K].
        labels: class index of each cell, int [K].
        predicted: predicted class index of each cell, int [K].
        n_classes: number of classes.

    Returns:
        float [B].
    """
    # Sparse: with 1,000 classes, a dense cell-by-class indicator would make each of 10,000 resamples cost millions of
    # products. The sums are of whole numbers, so they are exact in any order.
    cells = np.arange(len(labels))
    is_label, is_predicted = (
        csr_array((np.ones(len(cells)), (of_class, cells)), shape=(n_classes, len(cells)))
        for of_class in (labels, predicted)
    )
    exact = counts.T.astype(np.float64)
    twice_right = 2 * (is_label @ (exact * (labels == predicted)[:, None])).T
    touched = ((is_label + is_predicted) @ exact).T
    scores = np.divide(twice_right, touched, out=np.zeros_like(touched), where=touched > 0)
    means: np.ndarray = scores.sum(axis=1) / np.maximum((touched > 0).sum(axis=1), 1)
    return means


def one_left_out(counts: np.ndarray) -> Iterator[np.ndarray]:
    """Give the tables that lack one row of each cell in turn, in blocks of int [b, K].

    Table k represents counts[k] rows. Together they would be [K, K]: gigabytes for the confusions of 1,000 classes.
    """
    block = max(BLOCK // len(counts), 1)
    for start in range(0, len(counts), block):
        left_out = np.arange(start, min(start + block, len(counts)))
        tables = np.tile(counts, (len(left_out), 1))
        tables[np.arange(len(left_out)), left_out] -= 1
        yield tables


def percentile_limits(drawn: np.ndarray, confidence_level: float = CONFIDENCE) -> tuple[float, float]:
    """Return the limits of the percentile interval (Efron and Tibshirani 1993, chapter 13)."""
    tail = (1 - confidence_level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


class Bca:
    """Bias-corrected and accelerated limits (Efron, JASA 82 (1987) 171-185; Efron and Tibshirani 1993, 14.3).

    If classes are few or rare, macro F1 of resamples is below that of the data, and so are plain percentiles.
    Simulated with eight classes as unequal as those of Reuters R8 (600 samples each, nominal 95%): coverage is
    96.7% for 2,189 rows (percentiles 95.3%), 93.8% for 600 (92.5%), but 86% for 100 (86%).
    """

    def __init__(self, value: float, drawn: np.ndarray, left_out: np.ndarray, weights: np.ndarray) -> None:
        """Prepare the limits of a statistic from its resamples and its jackknife values.

        Args:
            value: the statistic of the data.
            drawn: the statistic of each resample, [B].
            left_out: the statistic of the data without one row, by cell, [K].
            weights: rows in each cell, [K].
        """
        self._value = value
        self._drawn = drawn
        self._normal = NormalDist()
        self.defined = bool(drawn.max() > drawn.min())
        """False if every resample gave the same value: without a mistake the bootstrap has no spread."""
        self._bias = self._quantile_of(value)
        deviations = np.average(left_out, weights=weights) - left_out
        spread = float((weights * deviations**2).sum())
        skew = float((weights * deviations**3).sum())
        self._acceleration = skew / (6 * spread**1.5) if spread > 0 else 0.0

    def interval(self, confidence_level: float = CONFIDENCE) -> Interval:
        """Return the statistic with its limits (equation 14.10).

        The limits are None if not `defined`, or if they do not contain the statistic: with many classes of a few rows
        nearly every resample lacks some of them, so that the resamples do not describe the data.
        """
        if not self.defined:
            return interval(self._value, confidence_level=confidence_level)
        shares = []
        for tail in ((1 - confidence_level) / 2, (1 + confidence_level) / 2):
            reach = self._bias + self._normal.inv_cdf(tail)
            # Past this pole, reached only by absurdly skewed statistics, the limit is the extreme one.
            shares.append(self._normal.cdf(self._bias + reach / max(1 - self._acceleration * reach, 1e-6)))
        low, high = np.quantile(self._drawn, shares)
        if not low <= self._value <= high:
            return interval(self._value, confidence_level=confidence_level)
        return interval(self._value, float(low), float(high), confidence_level)

    def p_value(self) -> float:
        """Return the two-sided level at which the interval just touches 0: equation 14.10 solved for it.

        1 if not `defined`.
        """
        if not self.defined:
            return 1.0
        reach = self._quantile_of(0.0) - self._bias
        below = self._normal.cdf(reach / max(1 + self._acceleration * reach, 1e-6) - self._bias)
        return min(1.0, 2 * min(below, 1 - below))

    def _quantile_of(self, value: float) -> float:
        """Return the normal quantile of the share drawn below `value`; ties count half, none is never 0."""
        below = float((self._drawn < value).sum() + 0.5 * (self._drawn == value).sum())
        size = len(self._drawn)
        return self._normal.inv_cdf((min(max(below, 0.5), size - 0.5)) / size)
