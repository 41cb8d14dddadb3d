"""Confident learning with cleanlab: the noise rate, and the rows whose labels look wrong."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from submillion.assess.statistics.bootstrap import percentile_limits, resampled_rows
from submillion.run_format.analysis_data import ClassNoise, LabelIssues
from submillion.run_format.interval import Interval, interval
from submillion.wording import excerpt

if TYPE_CHECKING:
    from submillion.data.corpus import Split

RESAMPLES = 200
MAX_PAIRS = 30
EXCERPT = 300
"""Characters of a text."""
TIE_BREAK = 1e-9
"""Relative difference that separates rows with equal probabilities, so that candidates do not depend on a sort."""


def label_issues(
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    split: Split,
    rows: Sequence[int],
    seed: int,
    max_suspects: int,
) -> LabelIssues:
    """Return the noise rate of N answered rows, and the rows whose labels look wrong.

    Args:
        labels: given class per row, int [N].
        probabilities: class probabilities, float64 [N, C].
        names: the C class names.
        split: the split that the rows are from.
        rows: position of each of the N rows in `split`.
        seed: of the bootstrap.
        max_suspects: maximum number of suspects returned.
    """
    in_order, quality, suggested = ranked_suspects(labels, probabilities)
    suspects, ranked = np.sort(in_order), in_order[:max_suspects].tolist()
    pairs, counts = np.unique(labels[suspects] * len(names) + suggested[suspects], return_counts=True)
    order = np.lexsort((pairs, -counts)).tolist()[:MAX_PAIRS]
    rates = _noise_rate_intervals(labels, probabilities, seed)
    return {
        "noise_rate": rates[0],
        "candidates": len(suspects),
        "share": len(suspects) / len(labels),
        "classes": _by_class(labels, labels[suspects], names, rates[1:]),
        "pairs_in_all": len(pairs),
        "pairs": [
            {
                "given": names[int(pairs[at]) // len(names)],
                "suggested": names[int(pairs[at]) % len(names)],
                "rows": int(counts[at]),
            }
            for at in order
        ],
        "suspects": [
            {
                "row": rows[at],
                "id": split.ids[rows[at]],
                "given": names[labels[at]],
                "suggested": names[suggested[at]],
                "quality": float(quality[at]),
                "suggested_probability": float(probabilities[at, suggested[at]]),
                "text": (text := excerpt(split.texts[rows[at]], EXCERPT)),
                "cut": text != split.texts[rows[at]],
            }
            for at in ranked
        ],
    }


def ranked_suspects(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows whose labels look wrong, the worst first, and the evidence about every row.

    Args:
        labels: given class per row, int [N].
        probabilities: class probabilities, float64 [N, C].

    Returns:
        The K rows, int [K]; the probability of each row's given label, float64 [N]; its most probable class, int [N].
    """
    # cleanlab is an optional extra.
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415

    suspects = _candidates(labels, probabilities)
    quality = get_label_quality_scores(labels, probabilities)
    ranked = suspects[np.argsort(quality[suspects], kind="stable")]
    return ranked, quality, probabilities.argmax(axis=1)


def noise_rates(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the estimated share of rows whose true class differs from the given one.

    The part of the joint distribution of given and true classes that is off its diagonal.

    Args:
        labels: given class per row, int [N].
        probabilities: class probabilities, float64 [N, C].

    Returns:
        float64 [1 + C]: of all rows, then of those of each given class; NaN for a class without rows.
    """
    # cleanlab is an optional extra.
    from cleanlab.count import estimate_joint  # noqa: PLC0415

    joint = estimate_joint(labels, probabilities)
    given, agreed = joint.sum(axis=1), joint.diagonal()
    rates = np.full(1 + len(given), np.nan)
    rates[0] = 1 - agreed.sum()
    np.divide(given - agreed, given, out=rates[1:], where=given > 0)
    # Rounding leaves a tiny rate for a class without noise.
    return np.where(rates < 1e-12, 0.0, rates)


def _candidates(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the rows whose labels look wrong, int [K] ascending."""
    # cleanlab is an optional extra.
    from cleanlab.filter import find_label_issues  # noqa: PLC0415

    apart = probabilities * (1 - TIE_BREAK * np.linspace(0, 1, len(labels)))[:, None]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="May not flag all label issues")  # in classes of one row
        return np.flatnonzero(find_label_issues(labels, apart, n_jobs=1))


def _by_class(
    labels: np.ndarray, of_suspects: np.ndarray, names: Sequence[str], rates: Sequence[Interval]
) -> list[ClassNoise]:
    rows, candidates = (np.bincount(of, minlength=len(names)) for of in (labels, of_suspects))
    return [
        {
            "class": name,
            "rows": int(rows[index]),
            "candidates": int(candidates[index]),
            "noise_rate": rates[index],
        }
        for index, name in enumerate(names)
        if rows[index]
    ]


def _noise_rate_intervals(labels: np.ndarray, probabilities: np.ndarray, seed: int) -> list[Interval]:
    """Return each of `noise_rates` with its interval, by the bootstrap over rows."""
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [
            noise_rates(labels[chosen], probabilities[chosen])
            for block in resampled_rows(len(labels), RESAMPLES, rng)
            for chosen in (np.repeat(np.arange(len(labels)), times) for times in block)
        ]
    )
    return [
        _interval(None if np.isnan(value) else float(value), resampled)
        for value, resampled in zip(noise_rates(labels, probabilities), drawn.T, strict=True)
    ]


def _interval(value: float | None, drawn: np.ndarray) -> Interval:
    known = drawn[~np.isnan(drawn)]
    # If no row is in doubt, the bootstrap has no spread.
    return interval(value, *percentile_limits(known)) if len(np.unique(known)) > 1 else interval(value)
