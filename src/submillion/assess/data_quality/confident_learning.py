"""Confident learning on answered rows, by cleanlab: the noise rate, and the rows whose labels look wrong."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from submillion.assess.errors.analysis import shortened
from submillion.assess.statistics.bootstrap import percentile_limits, resampled_rows
from submillion.run_format.interval import Interval, interval

if TYPE_CHECKING:
    import numpy as np

    from submillion.data.corpus import Split

RESAMPLES = 200
PAIRS = 30
SHOWN = 300  # characters of a text
APART = 1e-9  # by which rows of one text are told apart, so that no sort decides which of them is a candidate


def issues(
    saved: dict[str, Any], names: list[str], split: Split, rows: list[int], seed: int, most: int
) -> dict[str, Any]:
    """Return what `noise.analyse` says of a set of answered rows.

    Args:
        saved: labelled predictions of N rows.
        names: class names by index.
        rows: the place of each of the N rows in `split`.
        most: suspects that are shown.
    """
    import numpy as np
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    labels = saved.labels.astype(np.int64)
    probabilities = saved.probabilities.astype(np.float64)
    apart = probabilities * (1 - APART * np.linspace(0, 1, len(labels)))[:, None]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="May not flag all label issues")  # in classes of one row
        found = find_label_issues(labels, apart, n_jobs=1)
    quality = get_label_quality_scores(labels, probabilities)
    suggested = probabilities.argmax(axis=1)
    suspects = np.flatnonzero(found)
    ranked = suspects[np.argsort(quality[suspects], kind="stable")].tolist()
    pairs, counts = np.unique(labels[suspects] * len(names) + suggested[suspects], return_counts=True)
    order = np.lexsort((pairs, -counts)).tolist()
    whole, *by_class = _rates(labels, probabilities, seed)
    of_class, of_suspects = (np.bincount(of, minlength=len(names)) for of in (labels, labels[suspects]))
    return {
        "noise_rate": whole,
        "candidates": len(suspects),
        "share": len(suspects) / len(labels),
        "classes": [
            {
                "class": name,
                "rows": int(of_class[index]),
                "candidates": int(of_suspects[index]),
                "noise_rate": by_class[index],
            }
            for index, name in enumerate(names)
            if of_class[index]
        ],
        "pairs_in_all": len(pairs),
        "pairs": [
            {
                "given": names[int(pairs[at]) // len(names)],
                "suggested": names[int(pairs[at]) % len(names)],
                "rows": int(counts[at]),
            }
            for at in order[:PAIRS]
        ],
        "suspects": [
            {
                "row": rows[at],
                "id": split.ids[rows[at]],
                "given": names[labels[at]],
                "suggested": names[suggested[at]],
                "quality": float(quality[at]),
                "suggested_probability": float(probabilities[at, suggested[at]]),
                "text": (text := shortened(split.texts[rows[at]], SHOWN)),
                "cut": text != split.texts[rows[at]],
            }
            for at in ranked[:most]
        ],
    }


def noise_rates(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the estimated share of rows whose true class is another than the given one.

    All of the joint distribution of given and true classes that is off its diagonal.

    Returns:
        float64 [1 + C]: of all rows, then of those of each given class; NaN for a class without rows.
    """
    import numpy as np
    from cleanlab.count import estimate_joint

    joint = estimate_joint(labels, probabilities)
    given, agreed = joint.sum(axis=1), joint.diagonal()
    found = np.full(1 + len(given), np.nan)
    found[0] = 1 - agreed.sum()
    np.divide(given - agreed, given, out=found[1:], where=given > 0)
    # What rounding leaves of a class without noise is none.
    return np.where(found < 1e-12, 0.0, found)


def _rates(labels: np.ndarray, probabilities: np.ndarray, seed: int) -> list[Interval]:
    """Return the interval of each of `noise_rates`, by the bootstrap of rows."""
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [
            noise_rates(labels[again], probabilities[again])
            for block in resampled_rows(len(labels), RESAMPLES, rng)
            for again in (np.repeat(np.arange(len(labels)), times) for times in block)
        ]
    )
    return [
        _interval(None if np.isnan(value) else float(value), of_one)
        for value, of_one in zip(noise_rates(labels, probabilities), drawn.T, strict=True)
    ]


def _interval(value: float | None, drawn: np.ndarray) -> Interval:
    import numpy as np

    known = drawn[~np.isnan(drawn)]
    # Where no row is in doubt the bootstrap knows of no spread.
    return interval(value, *percentile_limits(known)) if len(np.unique(known)) > 1 else interval(value)
