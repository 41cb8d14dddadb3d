"""Baselines of a cross-validated run: fitted once for each fold, on the rows that its model was trained on."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import Any

import numpy as np

from submillion import notices
from submillion.assess.baselines.baseline import Baseline, Fitted
from submillion.assess.run_context import RunContext
from submillion.data.corpus import Corpus, Split
from submillion.data.folds import NEVER
from submillion.run_format.analysis import FitFacts, Strength, StrengthStep
from submillion.run_format.predictions import Predictions


class FoldContext(RunContext):
    """A cross-validated run as if one fold's texts were its validation rows, and the others its training rows."""

    def __init__(
        self, whole: RunContext, trained_on: np.ndarray, predicted: np.ndarray, shared: dict[str, Any]
    ) -> None:
        """Prepare.

        Args:
            whole: the run.
            trained_on: training rows of the whole that the fold's model was trained on, ascending.
            predicted: training rows of the whole that the fold holds out, ascending.
            shared: what a baseline computes once for all folds; empty in the first one.
        """
        corpus = Corpus(
            _taken(whole.train, trained_on, "train"),
            _taken(whole.train, predicted, "validation"),
            None,
            whole.corpus.label_names,
            whole.corpus.report,
        )
        super().__init__(whole.run, corpus, progress=whole.progress)
        self.whole, self.trained_on, self.predicted, self.shared = whole, trained_on, predicted, shared
        rows = np.flatnonzero(_fold_of_rows(whole) != NEVER)
        self._predictions["validation"] = _rows_of(
            whole.predictions("validation"), np.searchsorted(rows, predicted)
        )


def fit_out_of_fold(context: RunContext, baseline: Baseline) -> Fitted | str:
    """Fit a baseline for every fold of the run's first repeat, and predict the fold's rows with it.

    Args:
        context: a run that is scored by its cross-validation.
        baseline: what to fit.

    Returns:
        The predictions of all rows, each by a baseline that was fitted without it; or why there is none. The strength
        is the one that most folds chose, the smallest of equally frequent ones, and the accuracies of the candidates
        are means over the folds.
    """
    held_out = _fold_of_rows(context)
    rows = np.flatnonzero(held_out != NEVER)
    own = context.predictions(context.split)
    probabilities = np.zeros(own.probabilities.shape, dtype=np.float32)
    facts: list[FitFacts] = []
    shared: dict[str, Any] = {}
    for fold in range(int(held_out.max()) + 1):
        predicted = np.flatnonzero(held_out == fold)
        of_fold = FoldContext(context, np.flatnonzero(held_out != fold), predicted, shared)
        with notices.suppressed() if fold else nullcontext():  # the others would repeat those of the first
            fitted = baseline.fit(of_fold)
        if isinstance(fitted, str):
            return fitted
        probabilities[np.searchsorted(rows, predicted)] = fitted.predictions.probabilities
        facts.append(fitted.facts)
    predictions = Predictions.of(own.ids, own.text_sha256, own.labels, probabilities, context.labels)
    return Fitted(predictions, _together(facts))


def _fold_of_rows(context: RunContext) -> np.ndarray:
    """Return the fold of the first repeat that holds out each training row; raises ValueError without folds."""
    if context.corpus.folds is None:
        raise ValueError("expected a cross-validated run")
    return context.corpus.folds.numbers(1)


def _together(facts: list[FitFacts]) -> FitFacts:
    """Return the facts of all folds as one: seconds are sums, rows and parameters those of the largest fold."""
    strengths = [fact["strength"] for fact in facts]
    return {
        "trained_on": ["train"],
        "training_rows": max(fact["training_rows"] for fact in facts),
        "parameters": max(fact["parameters"] for fact in facts),
        "strength": _strength([strength for strength in strengths if strength is not None]),
        "fit_seconds": sum(fact["fit_seconds"] for fact in facts),
        "predict_seconds": sum(fact["predict_seconds"] for fact in facts),
    }


def _strength(strengths: list[Strength]) -> Strength | None:
    """Return the choices of the folds as one."""
    if not strengths:
        return None
    counts = Counter(strength["value"] for strength in strengths)
    value = min(counts, key=lambda one: (-counts[one], one or 0.0))
    ladder: dict[float, list[Any]] = {}
    for strength in strengths:
        for step in strength["ladder"]:
            ladder.setdefault(step["value"], []).append(step)
    steps: list[StrengthStep] = [
        {
            "value": one,
            "accuracy": sum(step["accuracy"] for step in tried) / len(tried),
            "converged": all(step["converged"] for step in tried),
        }
        for one, tried in ladder.items()
    ]
    return {
        "model": strengths[0]["model"],
        "value": value,
        "chosen_on": strengths[0]["chosen_on"],
        "rows": max(strength["rows"] for strength in strengths),
        "ladder": steps,
    }


def _taken(split: Split, rows: np.ndarray, name: str) -> Split:
    chosen = rows.tolist()
    return Split(
        name,
        [split.ids[row] for row in chosen],
        [split.texts[row] for row in chosen],
        [split.labels[row] for row in chosen],
    )


def _rows_of(saved: Predictions, rows: np.ndarray) -> Predictions:
    labels = None if saved.labels is None else saved.labels[rows]
    hashes = [saved.text_sha256[row] for row in rows]
    return Predictions.of(
        [saved.ids[row] for row in rows], hashes, labels, saved.probabilities[rows], saved.label_names
    )
