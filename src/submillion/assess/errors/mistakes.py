"""The mistakes of a run: confused pairs of classes, second choices, and the most confident mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from submillion.assess.statistics.proportions import wilson_interval
from submillion.run_format.analysis import ConfusedPair, Mistake, SecondChoice
from submillion.run_format.predictions import Predictions
from submillion.wording import excerpt

MAX_MISTAKES = 20
EXCERPT = 600
"""Characters of a text."""


def confused_pairs(saved: Predictions, labels: np.ndarray, names: Sequence[str]) -> list[ConfusedPair]:
    """Return every pair of a true class and a wrong answer, most frequent first.

    Args:
        saved: predictions of N rows.
        labels: their true classes, int [N].
        names: class names by index.
    """
    top = saved.probabilities.max(axis=1).astype(np.float64)
    wrong = np.flatnonzero(labels != saved.predicted)
    class_rows = np.bincount(labels, minlength=len(names))
    keys, inverse, counts = np.unique(
        labels[wrong].astype(np.int64) * len(names) + saved.predicted[wrong],
        return_inverse=True,
        return_counts=True,
    )
    pairs: list[ConfusedPair] = []
    for index in sorted(range(len(keys)), key=lambda index: (-counts[index], keys[index])):
        true, answered = divmod(int(keys[index]), len(names))
        count, of_class = int(counts[index]), int(class_rows[true])
        pairs.append(
            {
                "true": names[true],
                "predicted": names[answered],
                "rows": count,
                "class_rows": of_class,
                "share": count / of_class,
                "share_interval": wilson_interval(count, of_class),
                "share_of_mistakes": count / len(wrong),
                "mean_confidence": math.fsum(top[wrong[inverse == index]].tolist()) / count,
            }
        )
    return pairs


def second_choice(saved: Predictions, labels: np.ndarray) -> SecondChoice | None:
    """Return how often the true class of a wrongly answered row is the second most probable one.

    Args:
        saved: predictions of N rows.
        labels: their true classes, int [N].

    Returns:
        None without mistakes.
    """
    wrong = labels != saved.predicted
    if not wrong.any():
        return None
    probabilities = saved.probabilities[wrong].copy()
    rows = np.arange(len(probabilities))
    probabilities[rows, saved.predicted[wrong]] = -1
    second = int((probabilities.argmax(axis=1) == labels[wrong]).sum())
    return {
        "rows": second,
        "share": second / len(rows),
        "share_interval": wilson_interval(second, len(rows)),
    }


def confident_mistakes(
    saved: Predictions,
    labels: np.ndarray,
    texts: Sequence[str],
    names: Sequence[str],
    max_mistakes: int = MAX_MISTAKES,
) -> list[Mistake]:
    """Return the wrong answers with the highest probability, with their texts.

    Args:
        saved: predictions of N rows.
        labels: their true classes, int [N].
        texts: their texts.
        names: class names by index.
        max_mistakes: maximum number of mistakes returned.
    """
    predicted, probabilities = saved.predicted, saved.probabilities
    wrong = np.flatnonzero(labels != predicted)
    top = probabilities[wrong, predicted[wrong]]
    mistakes: list[Mistake] = []
    for row in wrong[np.argsort(-top, kind="stable")][:max_mistakes].tolist():
        text = excerpt(texts[row], EXCERPT)
        mistakes.append(
            {
                "row": row,
                "id": saved.ids[row],
                "true": names[labels[row]],
                "predicted": names[predicted[row]],
                "probability": float(probabilities[row, predicted[row]]),
                "true_probability": float(probabilities[row, labels[row]]),
                "text": text,
                "characters": len(texts[row]),
                "cut": text != texts[row],
            }
        )
    return mistakes
