"""Answers from class probabilities with a threshold per class, as a run's analysis has chosen them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from submillion.errors import BadInput, Problem
from submillion.run_format.analysis_thresholds import Objective, Thresholds

if TYPE_CHECKING:
    from submillion.rundir import RunDir

MACRO_F1, PRECISION = "macro_f1", "precision"
PART = "thresholds"
"""The part of the analysis that holds the thresholds."""
NONE = -1
"""In place of a class: the row has no answer."""


@dataclass(frozen=True)
class ThresholdRequest:
    """The purpose for which thresholds are to be chosen."""

    objective: Objective
    target: float | None = None
    """The precision of every answered class; of objective `precision` only."""

    @classmethod
    def of(cls, words: str) -> ThresholdRequest:
        """Read `macro_f1` or `precision=0.95`.

        Raises:
            BadInput: other words, or a precision that is no number above 0 and below 1.
        """
        name, _, number = words.partition("=")
        if words == MACRO_F1:
            return cls("macro_f1")
        try:
            target = float(number)
        except ValueError:
            target = 0.0
        if name != PRECISION or not 0 < target < 1:
            expected = f"{MACRO_F1}, or {PRECISION}= and a number above 0 and below 1"
            raise BadInput(Problem("@{class_thresholds}", expected, f"'{words}'"))
        return cls("precision", target)


@dataclass(frozen=True)
class ClassThresholds:
    """A threshold for each of C classes, and the rule that uses them."""

    objective: Objective
    """`macro_f1`: the answer is the class with the largest ratio of probability to threshold, as with `cutoff` of R's
    randomForest (A. Liaw and M. Wiener, R News 2/3 (2002) 18-22); thresholds of 1 / C change nothing. `precision`: the
    answer is the most probable class if its probability reaches its threshold, else there is none."""
    values: np.ndarray
    """float64 [C]; infinite for a class that is never answered."""

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the class of each row, int [N]; -1 for a row without an answer, which only `precision` gives.

        Of equal classes the first is taken, as without thresholds.

        Args:
            probabilities: of N rows, [N, C], not rescaled by a temperature.
        """
        exact = probabilities.astype(np.float64)
        if self.objective == "macro_f1":
            best: np.ndarray = (exact / self.values).argmax(axis=1)
            return best
        best = exact.argmax(axis=1)
        return np.where(exact[np.arange(len(best)), best] >= self.values[best], best, NONE)


def class_thresholds(run: RunDir) -> ClassThresholds:
    """Return the thresholds that a run's analysis has chosen.

    Raises:
        BadInput: none are chosen, or they are not of the run's classes.
    """
    where = str(run.analysis_file(PART))
    remedy = f"Choose them: `submillion report {run.path} --class-thresholds macro_f1`."
    saved = cast(Thresholds | None, run.read_analysis(PART))
    if saved is None:
        raise BadInput(Problem(where, "a threshold per class", "none", remedy))
    if list(saved["classes"]) != [str(label) for label in run.read_manifest()["labels"]]:
        raise BadInput(Problem(where, "a threshold for each class of the run", "other classes", remedy))
    chosen = [entry["threshold"] for entry in saved["classes"].values()]
    values = np.array([np.inf if value is None else value for value in chosen])
    if saved["objective"] == "macro_f1" and not (np.isfinite(values) & (values > 0)).all():
        raise BadInput(Problem(where, "thresholds above 0", "others", remedy))
    return ClassThresholds(saved["objective"], values)
