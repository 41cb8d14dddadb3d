"""A baseline of a run: a simpler classifier, fitted on the run's training rows and scored on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from submillion.assess.run_context import RunContext
from submillion.run_format.analysis import FitFacts
from submillion.run_format.predictions import Predictions


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline's predictions of the rows of `context.split`."""

    predictions: Predictions
    facts: FitFacts


@dataclass(frozen=True)
class Baseline:
    """A simpler classifier of the same texts."""

    name: str
    """Also the folder of its predictions below `analysis/baselines`."""
    title: str
    method: str
    """One or two sentences that describe it."""
    fit: Callable[[RunContext], Fitted | str]
    """Fits it on the run's data and writes nothing; a str is the reason why there is no such classifier."""


def predictions_of(context: RunContext, probabilities: np.ndarray, classes: list[int]) -> Predictions:
    """Return a baseline's predictions of the rows of `context.split`.

    Args:
        context: the run.
        probabilities: float [N, K], each row sums to 1.
        classes: class index of each column, [K]; classes that the baseline never saw get probability 0.
    """
    own = context.predictions(context.split)
    whole = np.zeros((len(own), len(context.labels)), dtype=np.float32)
    whole[:, classes] = probabilities
    return Predictions.of(own.ids, own.text_sha256, own.labels, whole, context.labels)
