"""Turns logits into the lists of labels and scores that clients expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from submillion.model.infer import probabilities_of

Function = Literal["softmax", "sigmoid", "none"]


def scores_of(logits: np.ndarray, function: Function = "softmax") -> np.ndarray:
    """Return the scores of logits [N, C], float32."""
    if function == "none":
        return logits
    if function == "sigmoid":
        independent: np.ndarray = expit(logits.astype(np.float64)).astype(np.float32)
        return independent
    return probabilities_of(logits)


def ranked(scores: np.ndarray, labels: Sequence[str], top_k: int | None = None) -> list[list[dict[str, Any]]]:
    """Return the classes of each row with their scores, the highest first; of equal ones the first class.

    Args:
        scores: of N rows, float32 [N, C].
        labels: C class names.
        top_k: classes per row; None returns all.
    """
    return [
        [{"label": labels[place], "score": row[place]} for place in order]
        for order, row in zip(ranked_places(scores, top_k), scores.tolist(), strict=True)
    ]


def ranked_places(scores: np.ndarray, top_k: int | None = None) -> list[list[int]]:
    """Return the indices of the classes of each row, in the order of `ranked`."""
    places: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :top_k].tolist()
    return places
