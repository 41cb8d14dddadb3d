"""Scores of an evaluation during training: loss, accuracy and macro F1 on the validation texts."""

from __future__ import annotations

import numpy as np

from submillion.fit.stopping import Scores
from submillion.fit.workers import Workers


def validation_scores(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Score logits.

    Args:
        logits: float32 [N, C].
        labels: class index per row, [N].

    Returns:
        `loss` (mean cross-entropy in nats, no label smoothing), `accuracy`, and `macro_f1`: the mean F1 over
        the classes that occur as label or prediction, as in scikit-learn.
    """
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    losses = np.log(np.exp(exact).sum(axis=1)) - exact[np.arange(len(labels)), labels]
    predicted = exact.argmax(axis=1)
    classes = logits.shape[1]
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    # F1 = 2 hits / (rows of the class + predictions of the class).
    both = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    occurring = both > 0
    return {
        "loss": float(losses.mean()),
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float((2 * hits[occurring] / both[occurring]).mean()),
    }


def gathered_scores(logits: np.ndarray, labels: np.ndarray, workers: Workers) -> Scores:
    """Return the scores over the rows of all processes; every process gets the same ones.

    Args:
        logits: of this process's share of the rows, float32 [rows, C].
        labels: of this process's share, int64 [rows].
        workers: the processes that share the rows.
    """
    shares: list[tuple[np.ndarray, np.ndarray]] = workers.gather((logits, labels))
    all_logits, all_labels = (np.concatenate(parts) for parts in zip(*shares, strict=True))
    return validation_scores(all_logits, all_labels)
