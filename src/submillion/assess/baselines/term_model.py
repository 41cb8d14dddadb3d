"""The baselines "words" and "characters": linear models of TF-IDF terms."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from submillion import notices
from submillion.assess.baselines.baseline import Baseline, Fitted, predictions_of
from submillion.assess.baselines.centroids import Centroids
from submillion.assess.baselines.select_strength import BLOCK, Candidates, Rows, fit_best
from submillion.assess.baselines.training_rows import bounded
from submillion.assess.run_context import RunContext
from submillion.run_format.analysis import Strength
from submillion.wording import capitalized, plural

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
FIXED = 1.0
MAX_TERMS = 200_000
MAX_WEIGHTS = 2 * 10**7
"""Terms times classes up to which support vector machines are fitted: 160 MB of weights."""
LADDER_WORK = 2 * 10**7
"""Terms of all rows times classes on which each strength is tried: about 3 s on one core."""
SVM_WORK = 4 * 10**8
"""The same up to which support vector machines are fitted: 7 million take 1 s on one core."""
LONGEST, LONGEST_OF_MANY = 20_000, 1_000
"""Characters at the beginning of a text that are read; the second if the texts together are too long."""


@dataclass(frozen=True)
class Terms:
    """The terms that a text is split into."""

    title: str
    """Of the baseline, for notices."""
    none: str
    """What no two training texts share if there are no terms."""
    options: dict[str, Any]
    """Of scikit-learn's TfidfVectorizer."""
    most_characters: int
    """Characters of all training texts that are read in full; beyond them, beginnings of a sample of the rows are."""


class Reader:
    """Texts in, TF-IDF weights of their terms out."""

    def __init__(self, terms: Terms, longest: int) -> None:
        """Prepare to read.

        Args:
            terms: what a text is split into; the most frequent `MAX_TERMS` are taken.
            longest: characters of a text that are read.
        """
        self._longest = longest
        self._vectorizer = TfidfVectorizer(
            sublinear_tf=True, min_df=2, max_features=MAX_TERMS, **terms.options
        )

    @property
    def terms(self) -> int:
        """Number of terms."""
        return len(self._vectorizer.vocabulary_)

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Choose the terms by these texts, and return their weights, sparse [N, F].

        Raises:
            ValueError: no term occurs in two texts.
        """
        return self._vectorizer.fit_transform(text[: self._longest] for text in texts)

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the weights of other texts, sparse [N, F]."""
        return self._vectorizer.transform(text[: self._longest] for text in texts)


def fit_terms(context: RunContext, terms: Terms) -> Fitted | str:
    """Fit a linear model of TF-IDF terms on the training rows, its strength chosen on rows that it is not scored on.

    The model is a one-vs-rest linear SVM (T. Joachims, "Text Categorization with Support Vector Machines", ECML 1998;
    weights as in Manning, Raghavan and Schuetze, Introduction to Information Retrieval, 2008, 6.2.2 and 6.4.1). Where
    that would take minutes, it is a nearest-centroid classifier (`Centroids`) of all terms.

    Neither has probabilities: the columns are the softmax of the decision values, of which only the order is
    meaningful. A notice names every bound that the data exceeds.

    Args:
        context: the run.
        terms: what a text is split into.

    Returns:
        The fitted baseline, or why there is none.
    """
    train = context.train
    if len(set(train.labels)) < 2:
        return f"{capitalized(terms.title)}: all training rows have the same class."
    started_at = time.perf_counter()
    longest = _longest(train.texts, terms.most_characters)
    mean = float(np.mean([min(len(text), longest) for text in train.texts]))
    rows = bounded(context, int(terms.most_characters / max(mean, 1.0)), terms.title)
    reader = Reader(terms, longest)
    try:
        features = reader.fit_transform([train.texts[row] for row in rows.tolist()])
    except ValueError:  # scikit-learn's error if no term is left
        return f"{capitalized(terms.title)}: no {terms.none} occurs in two training texts."
    model, strength = _model(context, reader, (features, np.asarray(train.labels)[rows]))
    _notice_bounds(context, terms, reader, longest, isinstance(model, Centroids))
    fitted_at = time.perf_counter()
    predictions = predictions_of(context, _probabilities(context, reader, model), model.classes_.tolist())
    return Fitted(
        predictions,
        {
            "trained_on": ["train"],
            "training_rows": len(rows),
            "parameters": _size(reader, model),
            "strength": strength,
            "fit_seconds": fitted_at - started_at,
            "predict_seconds": time.perf_counter() - fitted_at,
        },
    )


def _model(context: RunContext, reader: Reader, train: Rows) -> tuple[Any, Strength]:
    """Return the fitted model, and how its strength was chosen."""
    features, labels = train
    work = max(features.nnz * len(context.labels), 1)
    if work > SVM_WORK or reader.terms * len(context.labels) > MAX_WEIGHTS:
        return Centroids().fit(features, labels), {
            "model": "nearest centroid",
            "value": None,
            "chosen_on": None,
            "rows": len(labels),
            "ladder": [],
        }
    most = int(len(labels) * LADDER_WORK / work)
    candidates = Candidates(
        "linear SVM", lambda C: LinearSVC(C=C, random_state=context.seed), STRENGTHS, FIXED
    )
    of_validation = partial(reader.transform, context.corpus.validation.texts)
    return fit_best(context, candidates, train, of_validation, most)


def _probabilities(context: RunContext, reader: Reader, model: Any) -> np.ndarray:
    """Return the probabilities of the rows of `context.split` for the classes of a model, float32 [N, K]."""
    texts = context.texts(context.split)
    result = np.empty((len(texts), len(model.classes_)), dtype=np.float32)
    for start in range(0, len(texts), BLOCK):
        features = reader.transform(texts[start : start + BLOCK])
        values = np.asarray(model.decision_function(features), dtype=np.float64)
        if values.ndim == 1:  # an SVM of two classes: positive for the second
            values = np.stack([-values, values], axis=1)
        result[start : start + BLOCK] = softmax(values, axis=1)
    return result


def _notice_bounds(context: RunContext, terms: Terms, reader: Reader, longest: int, centroids: bool) -> None:
    """Emit a notice for every bound that the data exceeds; `bounded` has named a sample of the rows.

    Args:
        context: the run.
        terms: what a text is split into.
        reader: fitted.
        longest: characters of a text that are read.
        centroids: the model is `Centroids`.
    """
    bounds = []
    cut = sum(len(text) > longest for text in context.train.texts)
    if cut:
        bounds.append(f"it reads the first {longest:,} characters of {plural(cut, 'longer training text')}")
    if reader.terms == MAX_TERMS:
        bounds.append(f"it uses the {MAX_TERMS:,} most frequent terms")
    if centroids:
        bounds.append("it is a nearest-centroid classifier, as support vector machines would take minutes")
    if bounds:
        notices.emit(
            "baseline_bounds",
            f"the baseline '{terms.title}' is bounded: {'; '.join(bounds)}.",
            baseline=terms.title,
            bounds=bounds,
        )


def _longest(texts: Sequence[str], most_characters: int) -> int:
    """Return the number of characters that are read of each text."""
    total = sum(min(len(text), LONGEST) for text in texts)
    return LONGEST if total <= most_characters else LONGEST_OF_MANY


def _size(reader: Reader, model: Any) -> int:
    """Return the number of fitted numbers: weights of terms and classes, an offset per class, an idf per term."""
    if isinstance(model, Centroids):
        return int(model.centroids_.nnz + reader.terms)
    return int(model.coef_.size + model.intercept_.size + reader.terms)


_SPLIT = "linear support vector machine (a nearest-centroid classifier where that would take minutes)"
_READ = (
    f"of the first {LONGEST:,} characters of a text (of the first {LONGEST_OF_MANY:,} if the training texts are "
    "long and many)"
)
_WORDS = Terms("linear model of words", "word", {"ngram_range": (1, 2)}, 2 * 10**8)
_CHARACTERS = Terms(
    "linear model of character sequences",
    "sequence of characters",
    {"analyzer": "char_wb", "ngram_range": (1, 4)},
    2 * 10**7,
)
WORDS = Baseline(
    "words",
    _WORDS.title,
    f"TF-IDF of the words and word pairs {_READ} and a {_SPLIT}. A word has two letters or more, so scripts without "
    "spaces are served badly.",
    partial(fit_terms, terms=_WORDS),
)
CHARACTERS = Baseline(
    "characters",
    _CHARACTERS.title,
    f"TF-IDF of the sequences of 1 to 4 characters within words {_READ} and a {_SPLIT}. Needs no spaces between words.",
    partial(fit_terms, terms=_CHARACTERS),
)
