"""How sure the predictions are: the distribution of the top probability on one named split."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from submillion.errors import BadInput, Problem

if TYPE_CHECKING:
    import numpy as np

ALWAYS_ABOVE = 0.9  # the share above this threshold is in every run


def confidence_of(split: str, probabilities: np.ndarray, thresholds: Iterable[float] = ()) -> dict[str, Any]:
    """Describe the top probability of each row.

    Args:
        split: name of the rows; a confidence figure without it can be taken for another split's.
        probabilities: [N, C], N at least 1.
        thresholds: more thresholds in [0, 1) beside 0.9.

    Returns:
        `split`, `rows`, `mean`, `median`, `min`, `max`, `above` ({threshold: share of rows strictly above}).

    Raises:
        BadInput: a threshold outside [0, 1).
    """
    import numpy as np

    asked = check_thresholds(thresholds)
    top = probabilities.max(axis=1).astype(np.float64)
    return {
        "split": split,
        "rows": len(top),
        "mean": float(top.mean()),
        "median": float(np.median(top)),
        "min": float(top.min()),
        "max": float(top.max()),
        "above": {repr(threshold): float((top > threshold).mean()) for threshold in asked},
    }


def check_thresholds(thresholds: Iterable[float]) -> list[float]:
    """Return the thresholds and 0.9, ascending, each once; raises BadInput for one outside [0, 1)."""
    asked = sorted({float(threshold) for threshold in thresholds} | {ALWAYS_ABOVE})
    strange = [threshold for threshold in asked if not 0 <= threshold < 1]
    if strange:
        raise BadInput(
            [
                Problem("--threshold", "a share from 0 to below 1", f"{threshold:g}", "90 % is written 0.9.")
                for threshold in strange
            ]
        )
    return asked
