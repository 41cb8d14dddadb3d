"""The baseline "probe": logistic regression on the frozen encoder, which shows what the adapter adds."""

from __future__ import annotations

import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from submillion.assess.baselines.baseline import Baseline, Fitted, predictions_of
from submillion.assess.baselines.out_of_fold import FoldContext
from submillion.assess.baselines.select_strength import Candidates, fit_best
from submillion.assess.baselines.training_rows import bounded
from submillion.assess.run_context import RunContext

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
FIXED = 0.01
"""The inverse of the penalty for standardised features: D of them, so the mean squared norm of a text is D."""
STRENGTHS_OF_LENGTH_1 = (1.0, 10.0, 100.0)
FIXED_OF_LENGTH_1 = 1.0
"""The same for means of length 1."""
MAX_ITERATIONS = 100
MAX_WORK = 5 * 10**9
"""Rows times classes times features: an iteration takes four times as many operations, 0.3 s on two cores."""
TITLE = "linear probe"


def fit(context: RunContext) -> Fitted | str:
    """Train a linear probe on the frozen encoder.

    Its features are the last hidden states of the encoder without the trained adapter, averaged over the tokens
    of a text (special ones included), as in sentence encoders (Reimers and Gurevych, "Sentence-BERT",
    arXiv:1908.10084, section 3); texts are truncated as in the run. Features are standardised by the training
    rows; where the run's head reads means of length 1 (head.normalize), so does the probe, less the mean of the
    training rows. Probing: Alain and Bengio, arXiv:1610.01644.

    Returns:
        The fitted baseline, or why there is none.

    Raises:
        BadInput: data or encoder are no longer the run's.
    """
    train = context.train
    if len(set(train.labels)) < 2:
        return "Linear probe: all training rows have the same class."
    if context.manifest.get("training", {}).get("interrupted"):
        return "Linear probe: it is fitted when the interrupted training is complete."
    started_at = time.perf_counter()
    read = _FoldFeatures(context) if isinstance(context, FoldContext) else _Features(context)
    rows = bounded(context, MAX_WORK // (read.size * len(context.labels)), TITLE)
    labels = np.asarray(train.labels)[rows]
    of_length_1 = context.recipe.head.normalize
    scaler = make_pipeline(Normalizer(), StandardScaler(with_std=False)) if of_length_1 else StandardScaler()
    features = scaler.fit_transform(read.train(rows))

    candidates = Candidates(
        "logistic regression",
        lambda strength: LogisticRegression(C=strength, max_iter=MAX_ITERATIONS),
        STRENGTHS_OF_LENGTH_1 if of_length_1 else STRENGTHS,
        FIXED_OF_LENGTH_1 if of_length_1 else FIXED,
    )

    def of_validation() -> np.ndarray:
        return np.asarray(scaler.transform(read.validation()))

    model, strength = fit_best(context, candidates, (features, labels), of_validation)
    fitted_at = time.perf_counter()
    own = scaler.transform(read.scored())
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


class _Features:
    """The features of a run's rows."""

    def __init__(self, context: RunContext) -> None:
        # Comparing saved predictions needs no encoder, and should not wait for torch.
        from submillion.assess.baselines.frozen_encoder import FrozenEncoder  # noqa: PLC0415

        self._context, self._encoder = context, FrozenEncoder(context)
        self.size = self._encoder.hidden_size
        """Features of a text."""

    def train(self, rows: np.ndarray, scored: bool = False) -> np.ndarray:
        """Return those of some training rows; `scored` as in `FrozenEncoder.features`."""
        if (kept := self._context.frozen_features) is not None:
            return np.asarray(kept[rows])
        return self._encoder.features(self._context.train.texts, rows, scored=scored)

    def validation(self) -> np.ndarray:
        """Return those of the validation rows."""
        texts = self._context.corpus.validation.texts
        return self._encoder.features(texts, np.arange(len(texts)))

    def scored(self) -> np.ndarray:
        """Return those of the rows that the run is scored on."""
        texts = self._context.texts(self._context.split)
        return self._encoder.features(texts, np.arange(len(texts)))


class _FoldFeatures:
    """The features of a fold's rows; those of all training rows are read once for all folds."""

    def __init__(self, context: FoldContext) -> None:
        if "features" not in context.shared:
            rows = np.arange(len(context.whole.train))
            context.shared["features"] = _Features(context.whole).train(rows, scored=True)
        self._all = context.shared["features"]
        self._context = context
        self.size = int(self._all.shape[1])

    def train(self, rows: np.ndarray) -> np.ndarray:
        """Return those of some of the rows that the fold's model was trained on."""
        return np.asarray(self._all[self._context.trained_on[rows]])

    def validation(self) -> np.ndarray:
        """Return those of the rows that the fold holds out."""
        return np.asarray(self._all[self._context.predicted])

    scored = validation


PROBE = Baseline(
    "probe",
    TITLE,
    "Logistic regression on the encoder as it was before the training: the mean over a text's tokens of the last "
    "layer's output, standardised; scaled to length 1 where the run's head reads it so.",
    fit,
)
