"""The part "probe": a linear probe on the frozen encoder, which shows what the adapter adds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from submillion.assess.baselines import comparison
from submillion.assess.baselines.comparison import Baseline
from submillion.assess.baselines.select_strength import select_C
from submillion.assess.run_context import RunContext
from submillion.run_format.analysis import Baselines, FitFacts

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
FIXED = 0.1
MAX_ITERATIONS = 300
PROBE = Baseline(
    "probe",
    "linear probe",
    "Logistic regression on the pretrained encoder without adapter: the mean over a text's tokens of the last "
    "layer's output, standardised, trained on the run's own training rows.",
)


def analyse(context: RunContext) -> Baselines:
    """Train a linear probe on the frozen encoder and compare the run with it.

    Its features are the last hidden states of the encoder without the trained adapter, averaged over the tokens
    of a text (special ones included), as in sentence encoders (Reimers and Gurevych, "Sentence-BERT",
    arXiv:1908.10084, section 3); texts are truncated as in the run. Features are standardised by the training
    rows. The strength C of the logistic regression is chosen on the validation rows, or fixed at 0.1 if the
    run is scored on those. Probing: Alain and Bengio, arXiv:1610.01644.

    Its predictions are saved as `analysis/baselines/probe/<split>.parquet`; the verdict is about the probe.

    Raises:
        BadInput: data or encoder are no longer the run's.
    """
    comparison.remove_predictions(context, [PROBE])
    facts, absent = _probe(context)
    return comparison.report(context, [PROBE], facts, absent, PROBE.name)


def recheck(context: RunContext, saved: Mapping[str, Any]) -> Baselines:
    """Recompute the part from the saved predictions of the probe; no encoder is run.

    Copied from `saved` are the probe's `FitFacts`, and why it is absent.

    Raises:
        BadInput: predictions that are not of the run's rows, or a `saved` without the probe.
    """
    return comparison.recompute(context, saved, [PROBE], PROBE.name)


def _probe(context: RunContext) -> tuple[dict[str, FitFacts], str | None]:
    """Fit the probe and save its predictions; return its facts, and why it is absent."""
    # Rechecking the part needs no encoder, and should not wait for torch.
    from submillion.assess.baselines.frozen_encoder import frozen_encoder  # noqa: PLC0415

    train, validation, texts = context.train, context.corpus.validation, context.texts(context.split)
    if len(set(train.labels)) < 2:
        return {}, "There is no probe: all training rows have the same class."
    may_use = context.split != validation.name and len(validation) > 0
    held = validation.texts if may_use else []
    started_at = time.perf_counter()
    read = frozen_encoder(context)
    features = read([*train.texts, *held])
    scaler = StandardScaler().fit(features[: len(train)])
    of_train, of_held = np.split(scaler.transform(features), [len(train)])

    def make(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)

    held_out = (of_held, validation.labels) if may_use else None
    model, strength = select_C(make, (of_train, train.labels), held_out, STRENGTHS, FIXED)
    fitted_at = time.perf_counter()
    probabilities = model.predict_proba(scaler.transform(read(texts)))
    predicted_at = time.perf_counter()
    comparison.save_predictions(context, PROBE.name, probabilities, model.classes_.tolist())
    facts: FitFacts = {
        "trained_on": ["train"],
        "training_rows": len(train),
        "parameters": int(model.coef_.size + model.intercept_.size),
        "strength": strength,
        "fit_seconds": fitted_at - started_at,
        "predict_seconds": predicted_at - fitted_at,
    }
    return {PROBE.name: facts}, None
