"""The part "baseline": what the user would have had for nothing, a constant answer and a linear model of words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from submillion.assess.baselines import comparison
from submillion.assess.baselines.comparison import Baseline

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    from submillion.assess.run_context import RunContext

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
FIXED = 1.0
# Terms of all rows times classes, from which on models of several strengths are fitted in processes of their own. On
# two cores 24 million of them took 47 s one by one and 32 s so, and starting the processes takes two seconds.
WORTH_PROCESSES = 5 * 10**6
MOST_TERMS = 200_000  # with hundreds of classes the weights of more would not fit in memory
_WORDS = (
    f"TF-IDF of words and word pairs that are in two training texts or more (at most {MOST_TERMS:,} of them, the "
    "most frequent; a word is two letters or more, so writing without spaces is served badly) and a linear SVM"
)
MAJORITY = Baseline("majority", "majority class", "Always the class with the most training rows.")
LINEAR = Baseline("linear", "linear model", f"{_WORDS}, learnt from the run's own training rows.")
LINEAR_MORE = Baseline(
    "linear_more",
    "linear model, validation rows too",
    f"{_WORDS}, of the same strength; once that is chosen, the validation rows are free to learn from.",
)
CALLED = "linear model that learns from the validation rows too"
BASELINES = (MAJORITY, LINEAR, LINEAR_MORE)


def analyse(context: RunContext) -> dict[str, Any]:
    """Train baselines that cost next to nothing on the run's training rows and compare the run with them.

    They are the majority class; TF-IDF of words and word pairs with a linear SVM, its strength C chosen on the
    validation rows; and the same once it may learn from the validation rows too, as a user would let it. Where
    the run is scored on its validation rows, C is fixed at 1 and the last is left out: no baseline may choose or
    learn by the rows it is scored on. The words are those of T. Joachims, "Text Categorization with Support
    Vector Machines", ECML 1998, weighted as in Manning, Raghavan and Schuetze, Introduction to Information
    Retrieval, 2008, 6.2.2 and 6.4.1.

    Their predictions are kept as `analysis/baselines/<name>/<split>.parquet`, the names being `majority`, `linear`
    and `linear_more`. An SVM has no probabilities: its columns are the softmax of the decision values, of which
    only the order is meant. Those of the majority class are the classes' shares of the training rows.

    Returns:
        What `baselines.report` documents; the verdict is about `linear`, and has `more`, the verdict about
        `linear_more`, None without.
    """
    comparison.forget(context, BASELINES)
    measured = {MAJORITY.name: _majority(context)}
    linear, absent = _linear(context)
    return _with_more(comparison.report(context, BASELINES, measured | linear, absent, LINEAR.name))


def recheck(context: RunContext, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same object again from the saved predictions of the baselines; nothing is fitted anew.

    Copied from `found` is what `baselines.MEASURED` names, and why a baseline is absent. Cannot find: predictions that
    no such baseline makes, changed together with every figure that follows from them.

    Raises:
        BadInput: predictions that are not of the run's rows, or a `found` that does not name their baselines.
    """
    return _with_more(comparison.again(context, found, BASELINES, LINEAR.name))


def _majority(context: RunContext) -> dict[str, Any]:
    import numpy as np

    labels, rows = context.train.labels, len(context.texts(context.split))
    began = time.perf_counter()
    shares = np.bincount(labels, minlength=len(context.labels)) / len(labels)
    fitted = time.perf_counter()
    probabilities = np.tile(shares, (rows, 1))
    predicted = time.perf_counter()
    comparison.keep(context, MAJORITY.name, probabilities, range(len(context.labels)))
    return comparison.told(["train"], len(labels), 1, None, fitted - began, predicted - fitted)


def _linear(context: RunContext) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Fit the linear models and keep their answers; return what that told, and why one is absent."""
    from sklearn.svm import LinearSVC

    train, validation = context.train, context.corpus.validation
    if len(set(train.labels)) < 2:
        return {}, "There is no linear model: the training rows are all of one class."
    began = time.perf_counter()
    words = _vectorizer()
    try:
        learnt = words.fit_transform(train.texts)
    except ValueError:  # how scikit-learn says that no term is left
        return {}, "There is no linear model: no word is in two training texts."

    def make(strength: float) -> LinearSVC:
        return LinearSVC(C=strength, random_state=context.seed)

    free = context.split != validation.name and len(validation) > 0
    held_out = (words.transform(validation.texts), validation.labels) if free else None
    processes = -1 if learnt.nnz * len(context.labels) >= WORTH_PROCESSES else 1
    model, strength = comparison.chosen(make, (learnt, train.labels), held_out, STRENGTHS, FIXED, processes)
    seconds = time.perf_counter() - began
    took = _answer(context, LINEAR, words, model)
    found = {
        LINEAR.name: comparison.told(["train"], len(train), _size(words, model), strength, seconds, took)
    }
    if not free:
        why = "the run is scored on them" if len(validation) else "there are none"
        return found, f"There is no linear model that learns from the validation rows too: {why}."
    began = time.perf_counter()
    words, model = _vectorizer(), make(strength["C"])
    model.fit(words.fit_transform([*train.texts, *validation.texts]), [*train.labels, *validation.labels])
    seconds += time.perf_counter() - began
    took, rows = _answer(context, LINEAR_MORE, words, model), len(train) + len(validation)
    found[LINEAR_MORE.name] = comparison.told(
        ["train", validation.name], rows, _size(words, model), strength, seconds, took
    )
    return found, None


def _vectorizer() -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=MOST_TERMS)


def _answer(context: RunContext, baseline: Baseline, words: TfidfVectorizer, model: LinearSVC) -> float:
    """Keep the answers of a linear model to the texts of `context.split`; return the seconds they took."""
    import numpy as np

    texts = context.texts(context.split)
    began = time.perf_counter()
    values = np.asarray(model.decision_function(words.transform(texts)), dtype=np.float64)
    seconds = time.perf_counter() - began
    if values.ndim == 1:  # of two classes: above 0 for the second
        values = np.stack([-values, values], axis=1)
    exponents = np.exp(values - values.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    comparison.keep(context, baseline.name, probabilities, model.classes_.tolist())
    return seconds


def _size(words: TfidfVectorizer, model: LinearSVC) -> int:
    """Return how many numbers were learnt: a weight of each term and class, the classes' offsets, the terms' idf."""
    return int(model.coef_.size + model.intercept_.size + words.idf_.size)


def _with_more(found: dict[str, Any]) -> dict[str, Any]:
    """Put beside the verdict the one on the linear model that may learn from the validation rows too."""
    if found["verdict"] is None:
        return found
    more = found["baselines"].get(LINEAR_MORE.name)
    told = None if more is None else comparison.verdict(LINEAR_MORE.name, more, CALLED)
    return found | {"verdict": found["verdict"] | {"more": told}}
