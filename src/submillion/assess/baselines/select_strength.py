"""Choice of a model's regularisation strength on held-out rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from submillion.assess.baselines.training_rows import choice
from submillion.assess.run_context import RunContext
from submillion.run_format.analysis import Strength

Rows = tuple[Any, np.ndarray]
"""Features [N, F] and class indices [N]."""

BLOCK = 4096
"""Rows predicted at a time: the scores of 100,000 rows and 1,000 classes would take 800 MB."""
FEW_ROWS = "The number of unique classes is greater than 50%"
"""Beginning of scikit-learn's warning about classes of which there are few rows."""


@dataclass(frozen=True)
class Candidates:
    """Models that differ in their regularisation strength."""

    model: str
    """Their kind."""
    make: Callable[[float], Any]
    """Returns scikit-learn's unfitted model of a strength."""
    strengths: Sequence[float]
    fixed: float
    """The strength if no rows are left to choose by."""


def fit_best(
    context: RunContext,
    candidates: Candidates,
    train: Rows,
    of_validation: Callable[[], Any],
    most: int | None = None,
) -> tuple[Any, Strength]:
    """Fit one model for each strength, and return the one that is best on rows that it is not scored on.

    Args:
        context: the run.
        candidates: the models; the first of equally good ones is taken.
        train: the training rows.
        of_validation: returns the features of the validation rows.
        most: number of rows on which the strengths are tried; None takes all.

    Returns:
        The model, fitted on all of `train`, and how its strength was chosen.
    """
    features, labels = train
    chosen = choice(context, labels, most)
    facts: Strength = {
        "model": candidates.model,
        "value": candidates.fixed,
        "chosen_on": chosen.chosen_on,
        "rows": len(chosen.fit),
        "ladder": [],
    }
    if chosen.chosen_on is None:
        return _fitted(candidates.make(candidates.fixed), train), facts
    if chosen.held_out is None:
        held_out = of_validation(), np.asarray(context.corpus.validation.labels)
    else:
        held_out = features[chosen.held_out], labels[chosen.held_out]
    best, best_strength, best_accuracy = None, candidates.fixed, -1.0
    for strength in candidates.strengths:
        model = _fitted(candidates.make(strength), (features[chosen.fit], labels[chosen.fit]))
        accuracy = _accuracy(model, held_out)
        facts["ladder"].append({"value": strength, "accuracy": accuracy, "converged": _converged(model)})
        if accuracy > best_accuracy:
            best, best_strength, best_accuracy = model, strength, accuracy
    facts["value"] = best_strength
    if len(chosen.fit) < len(labels):
        best = _fitted(candidates.make(best_strength), train)
    return best, facts


def _accuracy(model: Any, rows: Rows) -> float:
    features, labels = rows
    starts = range(0, len(labels), BLOCK)
    right = [model.predict(features[at : at + BLOCK]) == labels[at : at + BLOCK] for at in starts]
    return float(np.concatenate(right).mean())


def _fitted(model: Any, train: Rows) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # recorded as `converged`
        warnings.filterwarnings("ignore", FEW_ROWS, UserWarning)
        return model.fit(*train)


def _converged(model: Any) -> bool:
    """Return whether a model's solver ended before its last iteration."""
    return bool(np.max(model.n_iter_) < model.max_iter)
