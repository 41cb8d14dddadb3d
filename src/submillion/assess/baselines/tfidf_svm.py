"""The part "baseline": the majority class, and a linear model of TF-IDF features."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from submillion.assess.baselines import comparison
from submillion.assess.baselines.comparison import Baseline
from submillion.assess.baselines.select_strength import select_C
from submillion.assess.run_context import RunContext
from submillion.run_format.analysis import Baselines, FitFacts

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
FIXED = 1.0
WORTH_PROCESSES = 5 * 10**6
"""Terms of all rows times classes above which each C is fitted in its own process: on two cores, 24 million took 47 s
one after the other and 32 s in processes, which take two seconds to start."""
MAX_TERMS = 200_000
"""With hundreds of classes, the weights of more terms would not fit in memory."""
_WORDS = (
    f"TF-IDF of words and word pairs that occur in two training texts or more (at most the {MAX_TERMS:,} most "
    "frequent; a word has two letters or more, so scripts without spaces are served badly) and a linear SVM"
)
MAJORITY = Baseline("majority", "majority class", "Always the class with the most training rows.")
LINEAR = Baseline("linear", "linear model", f"{_WORDS}, trained on the run's own training rows.")
LINEAR_MORE = Baseline(
    "linear_more",
    "linear model, validation rows too",
    f"{_WORDS}, of the same strength, trained on the validation rows as well once the strength is chosen.",
)
TITLE_MORE = "linear model that is also trained on the validation rows"
BASELINES = (MAJORITY, LINEAR, LINEAR_MORE)


def analyse(context: RunContext) -> Baselines:
    """Train cheap baselines on the run's training rows and compare the run with them.

    They are the majority class; TF-IDF of words and word pairs with a linear SVM, its strength C chosen on the
    validation rows; and the same trained on the validation rows as well, as a user would do. If the run is scored on
    its validation rows, C is fixed at 1 and the last one is left out: no baseline may choose or learn by the rows it is
    scored on. The features are those of T. Joachims, "Text Categorization with Support Vector Machines", ECML 1998,
    weighted as in Manning, Raghavan and Schuetze, Introduction to Information Retrieval, 2008, 6.2.2 and 6.4.1.

    Their predictions are saved as `analysis/baselines/<name>/<split>.parquet`; the names are `majority`, `linear`
    and `linear_more`. An SVM has no probabilities: its columns are the softmax of the decision values, of which
    only the order is meaningful. Those of the majority class are the classes' shares of the training rows.

    The verdict is about `linear`; its `more` is the verdict about `linear_more`, or None.
    """
    comparison.remove_predictions(context, BASELINES)
    facts = {MAJORITY.name: _majority(context)}
    linear, absent = _linear(context)
    return _with_more(comparison.report(context, BASELINES, facts | linear, absent, LINEAR.name))


def recheck(context: RunContext, saved: Mapping[str, Any]) -> Baselines:
    """Recompute the part from the saved predictions of the baselines; nothing is fitted.

    Copied from `saved` are the baselines' `FitFacts`, and why one is absent. Not detected: predictions that
    no such baseline makes, changed together with every figure that follows from them.

    Raises:
        BadInput: predictions that are not of the run's rows, or a `saved` that lacks one of the baselines.
    """
    return _with_more(comparison.recompute(context, saved, BASELINES, LINEAR.name))


def _majority(context: RunContext) -> FitFacts:
    labels, rows = context.train.labels, len(context.texts(context.split))
    started_at = time.perf_counter()
    shares = np.bincount(labels, minlength=len(context.labels)) / len(labels)
    fitted_at = time.perf_counter()
    probabilities = np.tile(shares, (rows, 1))
    predicted_at = time.perf_counter()
    comparison.save_predictions(context, MAJORITY.name, probabilities, range(len(context.labels)))
    return {
        "trained_on": ["train"],
        "training_rows": len(labels),
        "parameters": 1,
        "strength": None,
        "fit_seconds": fitted_at - started_at,
        "predict_seconds": predicted_at - fitted_at,
    }


def _linear(context: RunContext) -> tuple[dict[str, FitFacts], str | None]:
    """Fit the linear models and save their predictions; return their facts, and why one is absent."""
    train, validation = context.train, context.corpus.validation
    if len(set(train.labels)) < 2:
        return {}, "There is no linear model: all training rows have the same class."
    started_at = time.perf_counter()
    vectorizer = _vectorizer()
    try:
        features = vectorizer.fit_transform(train.texts)
    except ValueError:  # scikit-learn's error if no term is left
        return {}, "There is no linear model: no word occurs in two training texts."

    def make(strength: float) -> LinearSVC:
        return LinearSVC(C=strength, random_state=context.seed)

    may_use = context.split != validation.name and len(validation) > 0
    held_out = (vectorizer.transform(validation.texts), validation.labels) if may_use else None
    processes = -1 if features.nnz * len(context.labels) >= WORTH_PROCESSES else 1
    model, strength = select_C(make, (features, train.labels), held_out, STRENGTHS, FIXED, processes)
    seconds = time.perf_counter() - started_at
    facts: dict[str, FitFacts] = {
        LINEAR.name: {
            "trained_on": ["train"],
            "training_rows": len(train),
            "parameters": _size(vectorizer, model),
            "strength": strength,
            "fit_seconds": seconds,
            "predict_seconds": _predict(context, LINEAR, vectorizer, model),
        }
    }
    if not may_use:
        why = "the run is scored on them" if len(validation) else "there are none"
        return facts, f"There is no linear model trained on the validation rows as well: {why}."
    started_at = time.perf_counter()
    vectorizer, model = _vectorizer(), make(strength["C"])
    model.fit(
        vectorizer.fit_transform([*train.texts, *validation.texts]), [*train.labels, *validation.labels]
    )
    facts[LINEAR_MORE.name] = {
        "trained_on": ["train", validation.name],
        "training_rows": len(train) + len(validation),
        "parameters": _size(vectorizer, model),
        "strength": strength,
        "fit_seconds": seconds + time.perf_counter() - started_at,
        "predict_seconds": _predict(context, LINEAR_MORE, vectorizer, model),
    }
    return facts, None


def _vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=MAX_TERMS)


def _predict(context: RunContext, baseline: Baseline, vectorizer: TfidfVectorizer, model: LinearSVC) -> float:
    """Save a linear model's predictions of the texts of `context.split`; return the seconds that they took."""
    texts = context.texts(context.split)
    started_at = time.perf_counter()
    values = np.asarray(model.decision_function(vectorizer.transform(texts)), dtype=np.float64)
    seconds = time.perf_counter() - started_at
    if values.ndim == 1:  # two classes: positive for the second
        values = np.stack([-values, values], axis=1)
    comparison.save_predictions(context, baseline.name, softmax(values, axis=1), model.classes_.tolist())
    return seconds


def _size(vectorizer: TfidfVectorizer, model: LinearSVC) -> int:
    """Return the number of fitted numbers: a weight per term and class, an offset per class, an idf per term."""
    return int(model.coef_.size + model.intercept_.size + vectorizer.idf_.size)


def _with_more(result: Baselines) -> Baselines:
    """Add the verdict about the linear model that is also trained on the validation rows."""
    if result["verdict"] is None:
        return result
    more = result["baselines"].get(LINEAR_MORE.name)
    result["verdict"]["more"] = comparison.verdict(LINEAR_MORE.name, more, TITLE_MORE) if more else None
    return result
