"""The baseline "majority": always the class with the most training rows."""

from __future__ import annotations

import time

import numpy as np

from submillion.assess.baselines.baseline import Baseline, Fitted, predictions_of
from submillion.assess.run_context import RunContext


def fit(context: RunContext) -> Fitted:
    """Predict every row's class probabilities as the classes' shares of the training rows."""
    labels, rows = context.train.labels, len(context.predictions(context.split))
    started_at = time.perf_counter()
    shares = np.bincount(labels, minlength=len(context.labels)) / len(labels)
    fitted_at = time.perf_counter()
    probabilities = np.broadcast_to(shares, (rows, len(shares)))
    predictions = predictions_of(context, probabilities, list(range(len(shares))))
    return Fitted(
        predictions,
        {
            "trained_on": ["train"],
            "training_rows": len(labels),
            "parameters": 1,
            "strength": None,
            "fit_seconds": fitted_at - started_at,
            "predict_seconds": time.perf_counter() - fitted_at,
        },
    )


MAJORITY = Baseline(
    "majority", "most frequent class", "Always the class with the most training rows; no text is read.", fit
)
