"""The baseline "probe": logistic regression on the frozen encoder, which shows what the adapter adds."""

from __future__ import annotations

import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from submillion.assess.baselines.baseline import Baseline, Fitted, predictions_of
from submillion.assess.baselines.select_strength import Candidates, fit_best
from submillion.assess.baselines.training_rows import bounded
from submillion.assess.run_context import RunContext

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
FIXED = 0.01
MAX_ITERATIONS = 100
MAX_WORK = 5 * 10**9
"""Rows times classes times features: an iteration takes four times as many operations, 0.3 s on two cores."""
TITLE = "linear probe"


def fit(context: RunContext) -> Fitted | str:
    """Train a linear probe on the frozen encoder.

    Its features are the last hidden states of the encoder without the trained adapter, averaged over the tokens
    of a text (special ones included), as in sentence encoders (Reimers and Gurevych, "Sentence-BERT",
    arXiv:1908.10084, section 3); texts are truncated as in the run. Features are standardised by the training
    rows. Probing: Alain and Bengio, arXiv:1610.01644.

    Returns:
        The fitted baseline, or why there is none.

    Raises:
        BadInput: data or encoder are no longer the run's.
    """
    # Comparing saved predictions needs no encoder, and should not wait for torch.
    from submillion.assess.baselines.frozen_encoder import FrozenEncoder  # noqa: PLC0415

    train, validation, texts = context.train, context.corpus.validation, context.texts(context.split)
    if len(set(train.labels)) < 2:
        return "Linear probe: all training rows have the same class."
    if context.manifest.get("training", {}).get("interrupted"):
        return "Linear probe: it is fitted when the interrupted training is complete."
    started_at = time.perf_counter()
    encoder = FrozenEncoder(context)
    rows = bounded(context, MAX_WORK // (encoder.hidden_size * len(context.labels)), TITLE)
    labels = np.asarray(train.labels)[rows]
    scaler = StandardScaler()
    features = scaler.fit_transform(encoder.features(train.texts, rows, cached=True))

    candidates = Candidates(
        "logistic regression",
        lambda strength: LogisticRegression(C=strength, max_iter=MAX_ITERATIONS),
        STRENGTHS,
        FIXED,
    )

    def of_validation() -> np.ndarray:
        features = encoder.features(validation.texts, np.arange(len(validation)), cached=True)
        return np.asarray(scaler.transform(features))

    model, strength = fit_best(context, candidates, (features, labels), of_validation)
    fitted_at = time.perf_counter()
    own = scaler.transform(
        encoder.features(texts, np.arange(len(texts)), cached=context.split == validation.name)
    )
    predictions = predictions_of(context, model.predict_proba(own), model.classes_.tolist())
    return Fitted(
        predictions,
        {
            "trained_on": ["train"],
            "training_rows": len(rows),
            "parameters": int(model.coef_.size + model.intercept_.size),
            "strength": strength,
            "fit_seconds": fitted_at - started_at,
            "predict_seconds": time.perf_counter() - fitted_at,
        },
    )


PROBE = Baseline(
    "probe",
    TITLE,
    "Logistic regression on the encoder as it was before the training: the mean over a text's tokens of the last "
    "layer's output, standardised.",
    fit,
)
