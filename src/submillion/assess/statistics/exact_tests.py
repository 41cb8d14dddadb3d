"""Exact tests of a number of mistakes: in a group of rows, and given the confidences."""

from __future__ import annotations

import numpy as np

NEGLIGIBLE = 1e-150
"""Less probable outcomes are dropped: products of two such would be subnormal, and arithmetic many times slower."""
ROUNDING = 1 + 1e-7
"""scipy's margin: outcomes as probable as the observed one must count as such."""


def stratified_p(wrong: np.ndarray, rows: np.ndarray, in_group: np.ndarray, observed: int) -> float:
    """Return the two-sided p-value of the number of mistakes in a group, given those of each stratum.

    If group and mistakes are independent inside a stratum, the group's mistakes there are hypergeometric given
    the margins; their sum over the strata has the convolution of these distributions. The p-value sums all
    outcomes that are no more probable than the observed one. With one stratum this is Fisher's exact test; with
    several, the exact test of a common odds ratio of 1 (A. Agresti, "A survey of exact inference for contingency
    tables", Statistical Science 7 (1992) 131-153, section 3.2).

    Args:
        wrong: mistakes per stratum, inside and outside the group, int [S].
        rows: rows per stratum, inside and outside the group, int [S].
        in_group: rows of the group per stratum, int [S].
        observed: mistakes in the group, all strata together.
    """
    density, first = np.ones(1), 0
    for errors, size, drawn in zip(wrong.tolist(), rows.tolist(), in_group.tolist(), strict=True):
        low, high = max(0, drawn - (size - errors)), min(errors, drawn)
        if low < high:
            density = np.convolve(density, _hypergeometric(low, high, errors, size, drawn))
        density, first = _trimmed(density, first + low)
    return _two_sided(density, first, observed)


def calibrated_p(confidence: np.ndarray, wrong: int) -> float:
    """Return the exact two-sided p-value of the number of wrong answers if every confidence is calibrated.

    Each answer is then wrong with probability 1 minus its confidence, and their number has the Poisson binomial
    distribution, the convolution of the single ones. The p-value sums all outcomes that are no more probable than
    the observed one. By a normal approximation, one mistake in thirty very confident answers would be impossible.

    Args:
        confidence: probability of each answer, [N].
        wrong: wrong answers among the N.
    """
    density, first = np.ones(1), 0
    for share in (1 - confidence).tolist():
        density, first = _trimmed(np.convolve(density, [1 - share, share]), first)
    return _two_sided(density, first, wrong)


def _trimmed(density: np.ndarray, first: int) -> tuple[np.ndarray, int]:
    """Drop negligible outcomes at both ends; `first` is the outcome of `density[0]`."""
    if density[0] >= NEGLIGIBLE and density[-1] >= NEGLIGIBLE:
        return density, first
    likely = np.flatnonzero(density >= NEGLIGIBLE)
    return density[likely[0] : likely[-1] + 1], first + int(likely[0])


def _two_sided(density: np.ndarray, first: int, observed: int) -> float:
    if not 0 <= observed - first < len(density):
        return 0.0
    return min(1.0, float(density[density <= density[observed - first] * ROUNDING].sum()))


def _hypergeometric(low: int, high: int, errors: int, size: int, drawn: int) -> np.ndarray:
    """Return the probabilities of `low` to `high`, the whole support, mistakes among `drawn` of `size` rows.

    Computed from the ratio of each to the one before: scipy's own takes seconds for some ten thousand rows.
    """
    k = np.arange(low, high)
    ratios = np.log((errors - k) * (drawn - k)) - np.log((k + 1) * (size - errors - drawn + k + 1))
    logs = np.concatenate([[0.0], np.cumsum(ratios)])
    density: np.ndarray = np.exp(logs - logs.max())
    density /= density.sum()
    return density
