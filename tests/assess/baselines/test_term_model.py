"""The baselines "words" and "characters" against scikit-learn by hand, at the edges, and within their bounds."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from submillion import notices
from submillion.assess.baselines import term_model
from submillion.assess.baselines.baseline import Baseline, Fitted
from submillion.assess.baselines.centroids import Centroids
from submillion.assess.baselines.select_strength import _fitted
from submillion.assess.run_context import RunContext
from submillion.data.corpus import Corpus
from submillion.rundir import RunDir
from support.examined import split_of
from support.tiny import tiny_texts
from support.tiny_run import NAMES

Made = Callable[..., RunContext]


def fitted(baseline: Baseline, context: RunContext) -> Fitted:
    found = baseline.fit(context)
    assert isinstance(found, Fitted), found
    return found


@pytest.mark.parametrize(
    ("baseline", "options"),
    [
        (term_model.WORDS, {"ngram_range": (1, 2)}),
        (term_model.CHARACTERS, {"analyzer": "char_wb", "ngram_range": (1, 4)}),
    ],
    ids=lambda value: value.name if isinstance(value, Baseline) else "",
)
def test_the_model_is_the_best_one_on_validation_and_answers_the_test_rows(
    a_context: Made, baseline: Baseline, options: dict[str, object]
) -> None:
    context = a_context()
    train, validation, test = context.corpus.splits
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, **options)  # type: ignore[arg-type]
    features = vectorizer.fit_transform(train.texts)
    scores = {}
    for strength in term_model.STRENGTHS:
        model = LinearSVC(C=strength, random_state=42).fit(features, train.labels)
        scores[strength] = model.score(vectorizer.transform(validation.texts), validation.labels)
    best = max(scores, key=scores.__getitem__)
    model = LinearSVC(C=best, random_state=42).fit(features, train.labels)
    found = fitted(baseline, context)
    strength = found.facts["strength"]
    assert strength is not None and (strength["value"], strength["chosen_on"]) == (best, "validation")
    assert [step["accuracy"] for step in strength["ladder"]] == list(scores.values())
    assert np.array_equal(found.predictions.predicted, model.predict(vectorizer.transform(test.texts)))
    assert found.facts["parameters"] == model.coef_.size + 4 + len(vectorizer.vocabulary_)
    assert np.allclose(found.predictions.probabilities.sum(axis=1), 1)


def chinese(rows: int, seed: int) -> tuple[list[str], list[int]]:
    """Return sentences without spaces; a class shows in one of two words inside them."""
    rng = np.random.default_rng(seed)
    words = [("足球", "比赛"), ("股票", "银行"), ("电影", "歌曲"), ("手机", "电脑")]
    filler = [chr(0x4E00 + int(code)) for code in rng.integers(0, 3000, 600)]
    labels = [row % 4 for row in range(rows)]
    texts = []
    for label in labels:
        around = rng.choice(filler, 12)
        texts.append("".join([*around[:6], words[label][int(rng.integers(2))], *around[6:]]))
    return texts, labels


def test_characters_are_a_rival_for_a_script_without_spaces(a_context: Made) -> None:
    context = a_context(train=chinese(200, 0), held_out=chinese(80, 1))
    of_test = split_of("test", *chinese(60, 2))
    scored = RunContext(
        context.run, corpus=Corpus(context.train, context.corpus.validation, of_test, NAMES, {})
    )
    scored._texts["test"] = of_test.texts
    right = {}
    for baseline in (term_model.WORDS, term_model.CHARACTERS):
        answered = baseline.fit(scored)
        right[baseline.name] = (
            0.25 if isinstance(answered, str) else np.mean(answered.predictions.predicted == of_test.labels)
        )
    assert right["characters"] > 0.9 > 0.5 > right["words"]


@pytest.mark.parametrize(
    ("train", "why"),
    [
        ((["", "", "", ""], [0, 1, 0, 1]), "no word occurs in two training texts"),
        ((["one", "two", "three"], [0, 1, 2]), "no word occurs in two training texts"),
        ((["one"], [0]), "all training rows have the same class"),
        ((["goal coach", "goal season"], [1, 1]), "all training rows have the same class"),
    ],
)
def test_a_model_that_cannot_be_fitted_gives_its_reason(
    a_context: Made, train: tuple[list[str], list[int]], why: str
) -> None:
    found = term_model.WORDS.fit(a_context(train=train))
    assert isinstance(found, str) and found.startswith("Linear model of words: ") and why in found


def test_classes_that_were_never_seen_are_never_answered(a_context: Made) -> None:
    words = (["goal", "shares"] * 4, [0, 2] * 4)
    found = fitted(term_model.WORDS, a_context(train=words, held_out=(["goal"], [0])))
    assert set(found.predictions.predicted.tolist()) <= {0, 2}
    assert not found.predictions.probabilities[:, [1, 3]].any()
    assert found.facts["parameters"] == 2 + 1 + 2  # a weight and an idf of each word, one offset


def test_no_row_that_is_scored_chooses_the_strength(a_context: Made, run: RunDir) -> None:
    context = a_context()
    corpus = Corpus(context.train, split_of("validation", [], []), context.corpus.test, NAMES, {})
    strength = fitted(term_model.WORDS, RunContext(run, corpus=corpus)).facts["strength"]
    assert strength is not None and (strength["chosen_on"], strength["rows"]) == ("train", 160)
    # One row of each class: none is left to choose by.
    few = a_context(train=(["goal goal", "goal shares"], [0, 1]))
    corpus = Corpus(few.train, split_of("validation", [], []), few.corpus.test, NAMES, {})
    strength = fitted(term_model.WORDS, RunContext(run, corpus=corpus)).facts["strength"]
    assert strength is not None
    assert (strength["value"], strength["chosen_on"], strength["ladder"]) == (1.0, None, [])


def test_beyond_its_bounds_a_model_reads_a_sample_after_a_notice(
    a_context: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = a_context()
    monkeypatch.setattr(term_model, "LONGEST", 10)
    monkeypatch.setattr(term_model, "LONGEST_OF_MANY", 5)
    monkeypatch.setattr(term_model, "_CHARACTERS", term_model.Terms("few", "one", {"analyzer": "char"}, 500))
    with notices.collecting(quiet=True):
        found = term_model.fit_terms(context, term_model._CHARACTERS)
        notice, bounds = notices.collected()
    assert isinstance(found, Fitted)
    assert bounds["bounds"] == ["it reads the first 5 characters of 200 longer training texts"]
    assert found.facts["training_rows"] == notice["rows"] == 100
    assert notice["text"].startswith(
        "the baseline 'few' is fitted on a random sample of 100 of the 200 training rows"
    )


@pytest.mark.parametrize("bound", ["SVM_WORK", "MAX_WEIGHTS"])
def test_with_too_many_classes_and_terms_for_an_svm_it_is_the_nearest_centroid_after_a_notice(
    a_context: Made, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(term_model, bound, 1)
    with notices.collecting(quiet=True):
        found = fitted(term_model.WORDS, a_context())
        (notice,) = notices.collected()
    assert found.facts["strength"] is not None
    assert found.facts["strength"]["model"] == "nearest centroid"
    assert np.mean(found.predictions.predicted == tiny_texts(60, seed=2)[1]) > 0.9
    assert notice["text"].startswith(
        "the baseline 'linear model of words' is bounded: it is a nearest-centroid"
    )


def test_centroids_are_means_of_length_1() -> None:
    rng = np.random.default_rng(0)
    features = normalize(rng.random((40, 6)) * (rng.random((40, 6)) < 0.5) + np.eye(40, 6))
    labels = rng.choice([0, 2, 5], 40)
    model = Centroids().fit(csr_matrix(features), labels)
    means = normalize([features[labels == label].mean(axis=0) for label in (0, 2, 5)])
    assert np.allclose(model.decision_function(csr_matrix(features)), features @ means.T)
    assert model.classes_.tolist() == [0, 2, 5]


def test_a_bound_that_the_texts_exceed_is_in_a_notice(
    a_context: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = a_context()
    with notices.collecting(quiet=True):
        fitted(term_model.WORDS, context)
        assert notices.collected() == []
    monkeypatch.setattr(term_model, "LONGEST", 12)
    monkeypatch.setattr(term_model, "MAX_TERMS", 7)
    with notices.collecting(quiet=True):
        fitted(term_model.WORDS, context)
        (notice,) = notices.collected()
    cut = sum(len(text) > 12 for text in context.train.texts)
    assert notice["bounds"] == [
        f"it reads the first 12 characters of {cut} longer training texts",
        "it uses the 7 most frequent terms",
    ]


def test_many_classes_of_few_rows_print_no_warning() -> None:
    labels = np.arange(40) * 2 // 3
    features = np.eye(40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (LinearSVC(), LogisticRegression(max_iter=1)):
            assert _fitted(model, (features, labels)) is model


def test_strengths_are_tried_on_few_rows_and_the_best_is_fitted_on_all(
    a_context: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term_model, "LADDER_WORK", 2000)
    found = fitted(term_model.WORDS, a_context())
    strength = found.facts["strength"]
    assert strength is not None and 4 <= strength["rows"] < 200
    assert found.facts["training_rows"] == 200
