"""When a classifier should not answer: risk against coverage, and the threshold that reaches an accuracy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from submillion.assess.metrics import wilson, wilson_interval
from submillion.assess.statistics.bootstrap import ROW_RESAMPLES, percentile_limits, resampled_rows
from submillion.run_format.interval import ALPHA, CONFIDENCE, interval

if TYPE_CHECKING:
    import numpy as np

TARGETS = (0.90, 0.95, 0.97, 0.98, 0.99, 0.995)
POINTS = 200  # of the curve: more are not seen

RULE = (
    "The lowest threshold at which the accuracy of the answered validation rows has a lower limit (exact, "
    "one-sided, 95 %) at or above the target."
)


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Return the share of wrong answers among the most confident rows, against how many these are.

    El-Yaniv and Wiener 2010 (JMLR 11, 1605-1641); Geifman and El-Yaniv 2017, arXiv:1705.08500,
    section 2. Rows of equal confidence are answered together, so that their order does not matter.

    Returns:
        `coverage`, `risk` and `threshold` (the confidence from which rows are answered), ascending in coverage to
        1, thinned to about 200 points evenly spaced in coverage. `coverage` and `threshold` are lists, `risk` an
        interval whose `value`, `low` and `high` are lists (Wilson's interval at each point by itself).
    """
    import numpy as np

    thresholds, answered, wrong = _steps(confidence, right)
    rows = len(confidence)
    if len(answered) > POINTS:
        wanted = np.linspace(answered[0], rows, POINTS)
        kept = np.unique(np.searchsorted(answered, wanted))
        thresholds, answered, wrong = thresholds[kept], answered[kept], wrong[kept]
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


def aurc(confidence: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Return the area under the risk-coverage curve: the mean over k of the risk among the k most confident.

    Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206. Rows of equal confidence count as if each
    were wrong in the group's share: the mean over their orders.

    Returns:
        An interval, by percentiles of the bootstrap over rows, with `best`, of an order that puts every
        right answer first; `random`, of an order that knows nothing: the share of wrong answers.
    """
    import numpy as np

    rows = len(right)
    _, answered, wrong = _steps(confidence, right)
    sizes, wrongs = np.diff(answered, prepend=0), np.diff(wrong, prepend=0)
    smooth = np.repeat(wrongs / sizes, sizes)
    counts = np.arange(1, rows + 1)
    total = int(wrong[-1])
    # In a resample, too, equals stand in no order of their own: theirs is drawn.
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


def reach(confidence: np.ndarray, right: np.ndarray, target: float) -> float | None:
    """Return the threshold that reaches an accuracy on labelled rows, None where none does.

    The lowest threshold at which `lower_limit` of the answered rows is at or above the target: the bound that
    Geifman and El-Yaniv 2017 (arXiv:1705.08500, lemma 3.1) search with, but without their division of the
    5 % by the number of thresholds looked at, which leaves most targets out of reach of some thousand rows.
    Looking at many thresholds makes the limit a little optimistic. In simulations where accuracy grew with
    confidence the target was missed in at most 6 % of 300 validation sets (of 200 to 2,000 rows; 60 sets of 12,000;
    targets 0.97 to 0.995); taking the lowest threshold whose plain accuracy reaches the target missed it in 43 to 94 %.
    Where confidence says nothing and every threshold is exactly at the target, it claims one falsely in up to
    36 %, though never by much. Hence the same threshold's accuracy on test beside it.

    Returns:
        A threshold between the confidences of the last row answered and the first one not, or 0 where every
        row is answered; rows of at least that confidence are to be answered.
    """
    import numpy as np

    thresholds, answered, wrong = _steps(confidence, right)
    good = np.flatnonzero(lower_limit(answered - wrong, answered) >= target)
    if not len(good):
        return None
    last = int(good[-1])
    if last + 1 == len(thresholds):
        return 0.0
    # Halfway, so that rounding of another batch or machine does not move a row across.
    return float((thresholds[last] + thresholds[last + 1]) / 2)


def lower_limit(right: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Return the exact one-sided 95 % lower limits of shares right / answered, float64 [K].

    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (1934) 404-413: the share at which so many right answers or more are met in 5 %.
    """
    import numpy as np
    from scipy.stats import beta

    return np.where(right > 0, beta.ppf(ALPHA, np.maximum(right, 1), answered - right + 1), 0.0)


def answered(confidence: np.ndarray, right: np.ndarray, threshold: float) -> dict[str, Any]:
    """Return what a threshold gives on labelled rows.

    Returns:
        `rows`, `answered`, `coverage`, and of the answered rows `accuracy`, `accuracy_interval` (Wilson's)
        and `lower_limit` (see the function); accuracy and limits are None if no row is answered.
    """
    import numpy as np

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
    """Return how many rows must be answered, all of them right, to reach a target; None for one of 1."""
    if target >= 1:
        return None
    return math.ceil(math.log(ALPHA) / math.log(target)) if target > 0 else 1


def _steps(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each distinct confidence, descending, and how many rows have at least it, and are wrong."""
    import numpy as np

    values, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=1 - right).astype(int)
    return -values, np.cumsum(sizes), np.cumsum(wrong)
