"""The scores of a split as every summary of a run states them: a cross-validation has the interval of its folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from submillion.recipe_data import CROSS_VALIDATION
from submillion.run_format.interval import Interval, value_of


@dataclass(frozen=True)
class ReportedScores:
    """The scores of a split."""

    title: str
    """Name of the split in sentences."""
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float


def reported_scores(split: str, scores: Mapping[str, Any], folds: Mapping[str, Any] | None) -> ReportedScores:
    """Return the scores of a split as they are to be stated.

    The saved predictions of a cross-validation are those of its first repeat, and the interval over their rows knows
    nothing of the folds: mean and interval of the part "cross_validation" take their place.

    Args:
        split: its name in the run.
        scores: its entry in metrics.json.
        folds: the part "cross_validation" of the run's analysis; None if it has none.
    """
    if folds is None or split != "validation":
        return ReportedScores(split, scores["accuracy"], scores["accuracy_interval"], scores["macro_f1"])
    accuracy, macro_f1 = folds["accuracy"], folds["macro_f1"]
    return ReportedScores(CROSS_VALIDATION, value_of(accuracy), accuracy, value_of(macro_f1))
