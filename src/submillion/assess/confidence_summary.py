"""The distribution of the top probability over the rows of one split."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

import numpy as np

from submillion.arguments import SHOWN
from submillion.errors import BadInput, Problem
from submillion.run_format.metrics import ConfidenceSummary
from submillion.wording import excerpt

ALWAYS_ABOVE = 0.9
"""Every run has the share of confidences above this threshold."""


def confidence_of(
    split: str, probabilities: np.ndarray, thresholds: Iterable[float] = ()
) -> ConfidenceSummary:
    """Describe the top probability of each row.

    Args:
        split: name of the rows; a confidence figure without it could be mistaken for another split's.
        probabilities: [N, C], N at least 1.
        thresholds: thresholds in [0, 1) in addition to 0.9; shares are of rows strictly above.

    Raises:
        BadInput: a threshold outside [0, 1).
    """
    checked = check_thresholds(thresholds)
    top = probabilities.max(axis=1).astype(np.float64)
    return {
        "split": split,
        "rows": len(top),
        "mean": float(top.mean()),
        "median": float(np.median(top)),
        "min": float(top.min()),
        "max": float(top.max()),
        "above": {repr(threshold): float((top > threshold).mean()) for threshold in checked},
    }


def check_thresholds(thresholds: Iterable[float]) -> list[float]:
    """Return the thresholds and 0.9, ascending, each once; raises BadInput for one outside [0, 1), and for no list."""
    if isinstance(thresholds, str | bytes) or not isinstance(thresholds, Iterable):
        raise BadInput(Problem("@{thresholds}", "a list of shares", repr(thresholds), "For example [0.8]."))
    given = list(thresholds)
    if foreign := [one for one in given if isinstance(one, bool) or not isinstance(one, Real)]:
        raise _no_shares(excerpt(repr(one), SHOWN) for one in foreign)
    wanted = sorted({float(threshold) for threshold in given} | {ALWAYS_ABOVE})
    if outside := [threshold for threshold in wanted if not 0 <= threshold < 1]:
        raise _no_shares(f"{threshold:g}" for threshold in outside)
    return wanted


def _no_shares(found: Iterable[str]) -> BadInput:
    expected, remedy = "a share from 0 to below 1", "90% is written 0.9."
    return BadInput([Problem("@{thresholds}", expected, one, remedy) for one in found])
