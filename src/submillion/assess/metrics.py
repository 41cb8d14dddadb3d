"""How good predictions are: accuracy with its interval, macro F1, scores by class, confusion and loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from submillion.errors import SubmillionError
from submillion.run_format.interval import CONFIDENCE, Interval, interval
from submillion.text_table import align

if TYPE_CHECKING:
    import numpy as np

# The least positive normal float32. A label that got probability 0 costs -log of it, 87.3 nats, not infinity.
LEAST_PROBABILITY = 2.0**-126


def metrics_of(
    labels: Sequence[int] | np.ndarray, probabilities: np.ndarray, label_names: Sequence[str]
) -> dict[str, Any]:
    """Score labelled predictions; the predicted class is the first of the most probable ones.

    Args:
        labels: class index per row, [N].
        probabilities: [N, C], each row sums to 1.
        label_names: the C names.

    Returns:
        `rows`, `correct`, `accuracy`, `accuracy_interval` (Wilson), `macro_f1`, `loss` (mean
        negative log-likelihood in nats), `per_class` ({name: precision, recall, f1, support}) and
        `confusion` (C lists of C counts; rows are true classes, columns predicted ones).
        What would divide by zero is 0: the precision of a class never predicted, the recall of a class
        without rows. Macro F1 is the mean over the classes that occur as label or prediction, so that a
        file that lacks a class can be scored (what scikit-learn does by default).

    Raises:
        SubmillionError: the arrays do not belong together, or hold no rows or no numbers.
    """
    import numpy as np
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    truth = np.asarray(labels)
    _check(truth, probabilities, label_names)
    exact = probabilities.astype(np.float64)
    predicted = exact.argmax(axis=1)
    classes = np.arange(len(label_names))
    scores = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0.0)
    precision, recall, f1, support = (np.asarray(score).tolist() for score in scores)
    occurring = sorted(set(truth.tolist()) | set(predicted.tolist()))
    correct = int((truth == predicted).sum())
    likelihood = np.maximum(exact[np.arange(len(truth)), truth], LEAST_PROBABILITY)
    return {
        "rows": len(truth),
        "correct": correct,
        "accuracy": correct / len(truth),
        "accuracy_interval": wilson_interval(correct, len(truth)),
        "macro_f1": math.fsum(f1[index] for index in occurring) / len(occurring),
        "loss": math.fsum(-np.log(likelihood)) / len(truth),
        "per_class": {
            name: {"precision": precision[i], "recall": recall[i], "f1": f1[i], "support": int(support[i])}
            for i, name in enumerate(label_names)
        },
        "confusion": confusion_matrix(truth, predicted, labels=classes).tolist(),
    }


def wilson(successes: int, trials: int, confidence_level: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of a proportion.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927) 209-212: the proportions p for which the observed share lies
    within z standard errors sqrt(p (1 - p) / n). Unlike the textbook interval it stays inside [0, 1] and has
    a width when every row is right.

    Args:
        confidence_level: coverage, 0.95 for 95 %.

    Returns:
        (low, high) as shares; (0, 1), nothing known, when there were no trials.
    """
    if not trials:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence_level / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes == 0 else (centre - reach) / scale
    high = 1.0 if successes == trials else (centre + reach) / scale
    return low, high


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return a proportion with its 95 % Wilson interval; without trials both are undefined."""
    return interval(successes / trials, *wilson(successes, trials)) if trials else interval(None)


def render(metrics: dict[str, Any]) -> str:
    """Return one split's metrics (as in metrics.json) as lines for a terminal."""
    lines = [f"{metrics['split']}: {metrics['rows']:,} rows"]
    if "accuracy" in metrics:
        accuracy = metrics["accuracy_interval"]
        lines += [
            f"accuracy {metrics['accuracy']:.2%} (95 % interval {accuracy['low']:.2%} to {accuracy['high']:.2%}), "
            f"macro F1 {metrics['macro_f1']:.4f}, loss {metrics['loss']:.4f}",
            "",
        ]
        rows = [
            [name, *(f"{score[key]:.4f}" for key in ("precision", "recall", "f1")), f"{score['support']:,}"]
            for name, score in metrics["per_class"].items()
        ]
        lines += [*align([["class", "precision", "recall", "f1", "rows"], *rows]), ""]
    sure = metrics["confidence"]
    lines.append(
        f"confidence on {sure['split']}: mean {sure['mean']:.4f}, median {sure['median']:.4f}, "
        f"min {sure['min']:.4f}, max {sure['max']:.4f}"
    )
    lines += [f"share above {threshold}: {share:.2%}" for threshold, share in sure["above"].items()]
    return "\n".join(lines)


def _check(labels: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str]) -> None:
    import numpy as np

    expected = (len(labels), len(label_names))
    if probabilities.shape != expected:
        raise SubmillionError(
            f"predictions: expected {expected[0]} rows of {expected[1]} probabilities, found an array of "
            f"shape {tuple(probabilities.shape)}."
        )
    if not len(labels):
        raise SubmillionError("predictions: expected at least one row to score, found none.")
    strange = sorted({int(label) for label in labels if not 0 <= label < len(label_names)})
    if strange:
        raise SubmillionError(
            f"predictions: expected labels from 0 to {len(label_names) - 1}, found {strange[:4]}."
        )
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise SubmillionError(
            f"predictions: expected probabilities, found {broken} rows with values that are not numbers. "
            "The training diverged; try a lower learning rate."
        )
