"""The choice of a threshold per class on labelled rows, for macro F1 or for a precision of every class."""

from __future__ import annotations

import numpy as np

from submillion.assess.confidence.selective import threshold_for

LEAST_ROWS = 5
"""For macro F1: a class with fewer rows has the threshold of an even choice; one from so few rows would be chance."""
MOST_ROUNDS = 20
SAME = 1e-12
"""Differences of macro F1 below this are rounding."""


def for_macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return thresholds, summing to 1, with a high macro F1: the answer is the class with the largest p / threshold.

    The class with the largest weighted probability is the form of answer that is optimal for measures of the confusion
    matrix (H. Narasimhan, H. Ramaswamy, A. Saha and S. Agarwal, "Consistent multiclass algorithms for complex
    performance measures", ICML 2015, section 3); here there is one weight for each class in place of a matrix, and a
    threshold is the inverse of a weight. The weights are found by coordinate ascent: of one class after another, the
    weight is moved to the best place between the points at which a row changes its answer, until a round changes
    nothing. A local optimum is possible. Macro F1 is that of the classes with rows.

    Args:
        probabilities: [N, C], N at least 1.
        labels: class index per row, int [N].

    Returns:
        float64 [C], all above 0; 1 / C each if nothing is gained.
    """
    exact = probabilities.astype(np.float64)
    support = np.bincount(labels, minlength=exact.shape[1])
    weights = np.ones(exact.shape[1])
    for _ in range(MOST_ROUNDS):
        before = weights.copy()
        for one in np.flatnonzero(support >= LEAST_ROWS):
            weights[one] = _best_weight(exact, labels, weights, int(one), support)
        if (weights == before).all():
            break
    thresholds: np.ndarray = 1 / weights / (1 / weights).sum()
    return thresholds


def for_precision(probabilities: np.ndarray, labels: np.ndarray, target: float) -> np.ndarray:
    """Return thresholds for which the precision of each class reaches a target, by `selective.threshold_for`.

    Args:
        probabilities: [N, C], N at least 1.
        labels: class index per row, int [N].
        target: precision among the rows that are answered with a class.

    Returns:
        float64 [C]: a row is answered with its most probable class if that probability reaches the class's threshold;
        infinite for a class of which no threshold reaches the target.
    """
    exact = probabilities.astype(np.float64)
    predicted, confidence = exact.argmax(axis=1), exact.max(axis=1)
    chosen = np.full(exact.shape[1], np.inf)
    for one in np.unique(predicted):
        own = predicted == one
        threshold = threshold_for(confidence[own], (labels[own] == one).astype(np.float64), target)
        if threshold is not None:
            chosen[one] = threshold
    return chosen


def _best_weight(
    exact: np.ndarray, labels: np.ndarray, weights: np.ndarray, one: int, support: np.ndarray
) -> float:
    """Return the weight of one class with the highest macro F1, the others being fixed; of equal ones the nearest.

    Args:
        exact: probabilities, float64 [N, C].
        labels: class index per row, int [N].
        weights: of the classes, float64 [C].
        one: the class.
        support: rows of each class, int [C].
    """
    rows = np.arange(len(labels))
    scaled = exact * weights
    scaled[:, one] = -1.0
    rivals = scaled.argmax(axis=1)
    with np.errstate(divide="ignore"):  # a probability of 0 is never enough: the row changes at infinity
        changes = scaled[rows, rivals] / exact[:, one]
    order = np.argsort(changes, kind="stable")
    changes = changes[order]
    scores = _scores_after(labels[order], rivals[order], one, support)
    # With k rows answered by the class, its weight is between the changes of row k - 1 and of row k.
    edges = np.concatenate([[0.0], changes, [np.inf]])
    possible = np.flatnonzero((edges[:-1] < edges[1:]) & np.isfinite(edges[:-1]))
    best = possible[scores[possible] >= scores[possible].max() - SAME]
    current = weights[one]
    if ((edges[best] < current) & (current < edges[best + 1])).any():
        return float(current)
    low, high = edges[best], edges[best + 1]
    low = np.where(low > 0, low, high / 4)
    high = np.where(np.isfinite(high), high, low * 4)
    places = np.sqrt(low * high)
    places = places[np.isfinite(places) & (places > 0)]
    if not len(places):
        return float(current)
    return float(places[np.abs(np.log(places / current)).argmin()])


def _scores_after(labels: np.ndarray, rivals: np.ndarray, one: int, support: np.ndarray) -> np.ndarray:
    """Return the macro F1 after each of the first k rows went from its rival to the class, float64 [N + 1].

    Args:
        labels: class index per row, in the order in which the rows change, int [N].
        rivals: class that answers the row otherwise, int [N].
        one: the class.
        support: rows of each class, int [C].
    """
    count, classes = len(labels), len(support)
    hits = np.concatenate([[0], np.cumsum(labels == one)])
    own = 2 * hits / np.maximum(support[one] + np.arange(count + 1), 1)
    right = labels == rivals
    answered, hit = np.bincount(rivals, minlength=classes), np.bincount(rivals[right], minlength=classes)
    others = np.divide(2.0 * hit, answered + support, out=np.zeros(classes), where=answered + support > 0)
    # F1 of the rival after each of its own rows has left: counted within the rows of one rival.
    grouped = np.argsort(rivals, kind="stable")
    firsts = np.concatenate([[0], np.cumsum(answered)[:-1]])[rivals[grouped]]
    left = np.arange(count) - firsts + 1
    lost = np.concatenate([[0], np.cumsum(right[grouped])])
    lost = lost[1:] - lost[firsts]
    of = rivals[grouped]
    total = answered[of] - left + support[of]
    after = np.divide(2.0 * (hit[of] - lost), total, out=np.zeros(count), where=total > 0)
    before = np.where(left == 1, others[of], np.concatenate([[0.0], after[:-1]]))
    change = np.empty(count)
    change[grouped] = after - before
    sums = own + others.sum() + np.concatenate([[0.0], np.cumsum(change)])
    means: np.ndarray = sums / (support > 0).sum()
    return means
