"""Selective prediction: risk against coverage, and the threshold that reaches a target accuracy."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import beta

from submillion.assess.statistics.bootstrap import ROW_RESAMPLES, percentile_limits, resampled_rows
from submillion.assess.statistics.proportions import wilson, wilson_interval
from submillion.run_format.analysis_confidence import Answered, RiskCoverage, RiskCoverageArea
from submillion.run_format.interval import ALPHA, CONFIDENCE, interval

TARGETS = (0.90, 0.95, 0.97, 0.98, 0.99, 0.995)
POINTS = 200
"""Points of the risk-coverage curve: more would not be visible."""

RULE = (
    "The threshold is the lowest one for which the accuracy of the answered validation rows has a lower limit "
    "(exact, one-sided, 95%) at or above the target."
)


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> RiskCoverage:
    """Return the share of wrong answers among the most confident rows, against the share of rows answered.

    El-Yaniv and Wiener 2010 (JMLR 11, 1605-1641); Geifman and El-Yaniv 2017, arXiv:1705.08500,
    section 2. Rows of equal confidence are answered together, so that their order does not matter.

    Args:
        confidence: float [N], N at least 1.
        right: 1 for a right answer, else 0, float [N].
    """
    thresholds, answered, wrong = _steps(confidence, right)
    rows = len(confidence)
    if len(answered) > POINTS:
        wanted = np.linspace(answered[0], rows, POINTS)
        points = np.unique(np.searchsorted(answered, wanted))
        thresholds, answered, wrong = thresholds[points], answered[points], wrong[points]
    limits = [wilson(int(w), int(a)) for w, a in zip(wrong, answered, strict=True)]
    return {
        "coverage": (answered / rows).tolist(),
        "risk": {
            "value": (wrong / answered).tolist(),
            "low": [low for low, _ in limits],
            "high": [high for _, high in limits],
            "confidence_level": CONFIDENCE,
        },
        "threshold": thresholds.tolist(),
    }


def aurc(confidence: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> RiskCoverageArea:
    """Return the area under the risk-coverage curve: the mean over k of the risk among the k most confident.

    Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206. Rows of equal confidence count as if each
    were wrong in the group's share: the mean over their orders. The interval is by percentiles of the bootstrap
    over rows.

    Args:
        confidence: float [N], N at least 1.
        right: 1 for a right answer, else 0, float [N].
        rng: source of the draws.
    """
    rows = len(right)
    _, answered, wrong = _steps(confidence, right)
    sizes, wrongs = np.diff(answered, prepend=0), np.diff(wrong, prepend=0)
    smooth = np.repeat(wrongs / sizes, sizes)
    counts = np.arange(1, rows + 1)
    total = int(wrong[-1])
    # In a resample, too, equal confidences have no order of their own: it is drawn.
    order = np.lexsort((rng.random(rows), -confidence))
    ranked = 1 - right[order]
    drawn = []
    for block in resampled_rows(rows, ROW_RESAMPLES, rng):
        mistakes = np.repeat(np.tile(ranked, len(block)), block.ravel()).reshape(len(block), rows)
        drawn.append((mistakes.cumsum(axis=1) / counts).mean(axis=1))
    last = np.arange(rows - total + 1, rows + 1)
    value = float((smooth.cumsum() / counts).mean())
    return {
        **interval(value, *percentile_limits(np.concatenate(drawn))),
        "best": float(((last - (rows - total)) / last).sum() / rows),
        "random": total / rows,
    }


def threshold_for(confidence: np.ndarray, right: np.ndarray, target: float) -> float | None:
    """Return the threshold that reaches an accuracy on labelled rows, None if none does.

    The lowest threshold at which `lower_limit` of the answered rows is at or above the target: the bound that
    Geifman and El-Yaniv 2017 (arXiv:1705.08500, lemma 3.1) search with, but without dividing the 5% by
    the number of thresholds tried, which would put most targets out of reach of some thousand rows.
    Trying many thresholds makes the limit slightly optimistic. In simulations in which accuracy grows with
    confidence, the target was missed in at most 6% of 300 validation sets (of 200 to 2,000 rows; 60 sets of
    12,000; targets 0.97 to 0.995); the lowest threshold whose plain accuracy reaches the target missed it in 43
    to 94%. If confidence is uninformative and every threshold is exactly at the target, a threshold is
    falsely returned in up to 36%, though the accuracy never falls short by much. For this reason the accuracy
    at the same threshold on test is reported as well.

    Args:
        confidence: float [N].
        right: 1 for a right answer, else 0, float [N].
        target: accuracy of the answered rows.

    Returns:
        A threshold between the confidences of the last row answered and the first one not, or 0 if every
        row is answered; rows of at least that confidence are to be answered.
    """
    thresholds, answered, wrong = _steps(confidence, right)
    good = np.flatnonzero(lower_limit(answered - wrong, answered) >= target)
    if not len(good):
        return None
    last = int(good[-1])
    if last + 1 == len(thresholds):
        return 0.0
    # Halfway, so that the rounding of another batch or machine does not move a row across.
    return float((thresholds[last] + thresholds[last + 1]) / 2)


def lower_limit(right: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Return the exact one-sided 95% lower limits of shares right / answered, float64 [K].

    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (1934) 404-413: the share at which that many right answers or more occur in 5%.
    Vectorised, unlike scipy's `binomtest`: thousands of thresholds are tried.
    """
    return np.where(right > 0, beta.ppf(ALPHA, np.maximum(right, 1), answered - right + 1), 0.0)


def answered_above(confidence: np.ndarray, right: np.ndarray, threshold: float) -> Answered:
    """Return coverage and accuracy if only rows of at least this confidence are answered.

    Args:
        confidence: float [N], N at least 1.
        right: 1 for a right answer, else 0, float [N].
        threshold: rows of at least this confidence are answered.
    """
    chosen = right[confidence >= threshold]
    count, hits = len(chosen), int(chosen.sum())
    return {
        "rows": len(right),
        "answered": count,
        "coverage": count / len(right),
        "accuracy": hits / count if count else None,
        "accuracy_interval": wilson_interval(hits, count),
        "lower_limit": float(lower_limit(np.array(hits), np.array(count))) if count else None,
    }


def least_rows(target: float) -> int | None:
    """Return how many rows must be answered, all of them right, to reach a target; None for a target of 1."""
    if target >= 1:
        return None
    return math.ceil(math.log(ALPHA) / math.log(target)) if target > 0 else 1


def _steps(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each distinct confidence, descending, with the number of rows at or above it, and of wrong ones."""
    values, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=1 - right).astype(int)
    return -values, np.cumsum(sizes), np.cumsum(wrong)
