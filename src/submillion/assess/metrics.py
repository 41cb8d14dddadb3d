"""The metrics of labelled predictions: accuracy, macro F1, scores by class, confusion and loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from submillion.assess.statistics.proportions import wilson_interval
from submillion.errors import SubmillionError
from submillion.run_format.metrics import LabelledMetrics, SplitMetrics
from submillion.terminal.text_table import align_columns
from submillion.wording import percent, percent_interval, printable

UNDEFINED = "-"
"""A score that a table leaves out, since it would divide by zero."""
LEAST_PROBABILITY = 2.0**-126
"""The smallest positive normal float32: a label with probability 0 costs 87.3 nats, not infinity."""


def metrics_of(
    labels: Sequence[int] | np.ndarray, probabilities: np.ndarray, label_names: Sequence[str]
) -> LabelledMetrics:
    """Score labelled predictions; the predicted class is the first of the most probable ones.

    A score that would divide by zero is 0: the precision of a class never predicted, the recall of a class without
    rows. Macro F1 is the mean over the classes that occur as label or prediction, so that a file that lacks a class
    can be scored (scikit-learn's default).

    Args:
        labels: class index per row, [N].
        probabilities: [N, C], each row sums to 1.
        label_names: the C class names.

    Raises:
        SubmillionError: the arrays do not match each other, or hold no rows or no numbers.
    """
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


def render(metrics: SplitMetrics) -> str:
    """Return one split's metrics (as in metrics.json) as text for a terminal."""
    lines = [f"{metrics['split']}: {metrics['rows']:,} rows"]
    if "accuracy" in metrics:
        accuracy = metrics["accuracy_interval"]
        lines += [
            f"accuracy {percent(metrics['accuracy'], 2)} (95% interval {percent_interval(accuracy, 2)}), "
            f"macro F1 {metrics['macro_f1']:.4f}, loss {metrics['loss']:.4f}",
            "",
        ]
        rows = [
            [
                name,
                f"{score['precision']:.4f}",
                # Recall divides by the number of rows.
                f"{score['recall']:.4f}" if score["support"] else UNDEFINED,
                f"{score['f1']:.4f}" if score["support"] else UNDEFINED,
                f"{score['support']:,}",
            ]
            for name, score in metrics["per_class"].items()
        ]
        lines += [*align_columns([["class", "precision", "recall", "f1", "rows"], *rows]), ""]
    confidence = metrics["confidence"]
    lines.append(
        f"confidence on {confidence['split']}: mean {confidence['mean']:.4f}, median {confidence['median']:.4f}, "
        f"min {confidence['min']:.4f}, max {confidence['max']:.4f}"
    )
    lines += [f"share above {threshold}: {share:.2%}" for threshold, share in confidence["above"].items()]
    return "\n".join(map(printable, lines))


def _check(labels: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str]) -> None:
    expected = (len(labels), len(label_names))
    if probabilities.shape != expected:
        raise SubmillionError(
            f"predictions: expected {expected[0]} rows of {expected[1]} probabilities, found an array of "
            f"shape {tuple(probabilities.shape)}."
        )
    if not len(labels):
        raise SubmillionError("predictions: expected at least one row to score, found none.")
    unknown = sorted({int(label) for label in labels if not 0 <= label < len(label_names)})
    if unknown:
        raise SubmillionError(
            f"predictions: expected labels from 0 to {len(label_names) - 1}, found {unknown[:4]}."
        )
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise SubmillionError(
            f"predictions: expected probabilities, found {broken} rows with values that are not numbers. "
            "The training diverged; try a lower learning rate."
        )
