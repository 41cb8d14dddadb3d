"""One evaluation while a run trains: loss, accuracy and macro F1 on the validation texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from submillion.fit.workers import Workers


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Score logits.

    Args:
        logits: float32 [N, C].
        labels: class index per row, [N].

    Returns:
        `loss` (mean cross-entropy in nats, no label smoothing), `accuracy`, and `macro_f1`: the mean F1 over
        the classes that occur as label or prediction, as scikit-learn has it.
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


def scores_of_all(logits: np.ndarray, labels: np.ndarray, workers: Workers) -> dict[str, float]:
    """Return the scores over the rows of all processes, the same in each of them.

    Args:
        logits: of this process's share of the rows, [rows, C].
        labels: of this process's share.
    """
    shares: list[tuple[np.ndarray, np.ndarray]] = workers.gather((logits, labels))
    together, truth = (np.concatenate(parts) for parts in zip(*shares, strict=True))
    return scores(together, truth)


def as_record(step: int, epoch: float, found: dict[str, float], best: bool, seconds: float) -> dict[str, Any]:
    """Return the history's line of one evaluation."""
    return {"kind": "eval", "step": step, "epoch": epoch, **found, "best": best, "seconds": round(seconds, 3)}
