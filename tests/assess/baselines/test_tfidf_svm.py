"""The part "baseline" on made texts: by hand, at the edges, and the changes that recheck detects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from submillion.assess import registry
from submillion.assess.baselines import comparison, tfidf_svm
from submillion.assess.metrics import metrics_of
from submillion.assess.run_context import RunContext
from submillion.assess.statistics import intervals, paired_tests
from submillion.assess.statistics.multiple_tests import holm
from submillion.assess.statistics.proportions import wilson
from submillion.data.corpus import Corpus
from submillion.errors import BadInput
from submillion.run_format.interval import interval
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from support.examined import again, examined, split_of, spread
from support.tiny import tiny_texts
from support.tiny_run import NAMES

ROWS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return examined(tmp_path_factory.mktemp("run"), (["goal"], [0]), spread([0], [0.9])).run


def answers(labels: list[int], wrong: int) -> np.ndarray:
    """Return probabilities that are right but for the first `wrong` rows."""
    predicted = [(label + (row < wrong)) % 4 for row, label in enumerate(labels)]
    return spread(predicted, [0.8] * len(labels))


def a_context(
    run: RunDir,
    wrong: int = 12,
    train: tuple[list[str], list[int]] | None = None,
    held_out: tuple[list[str], list[int]] | None = None,
) -> RunContext:
    """Return a run scored on 60 test rows of which `wrong` were answered wrong, without earlier baselines."""
    for file in run.analysis.glob("baselines/*/*.parquet"):
        file.unlink()
    test = tiny_texts(ROWS, seed=2)
    context = again(run, test, answers(test[1], wrong))
    corpus = Corpus(
        split_of("train", *(train or tiny_texts(200, seed=0))),
        split_of("validation", *(held_out or tiny_texts(80, seed=1))),
        context.corpus.test,
        NAMES,
        {},
    )
    return RunContext(run, corpus=corpus)


def test_baselines_equal_those_of_scikit_learn(run: RunDir) -> None:
    context = a_context(run)
    found = tfidf_svm.analyse(context)
    train, validation, test = context.corpus.splits
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    learnt = words.fit_transform(train.texts)
    held_out = {}
    for strength in tfidf_svm.STRENGTHS:
        model = LinearSVC(C=strength, random_state=42).fit(learnt, train.labels)
        held_out[strength] = model.score(words.transform(validation.texts), validation.labels)
    best = max(held_out, key=lambda value: held_out[value])
    model = LinearSVC(C=best, random_state=42).fit(learnt, train.labels)
    predicted = model.predict(words.transform(test.texts))
    linear = found["baselines"]["linear"]
    assert linear["strength"]["C"] == best
    assert [step["accuracy"] for step in linear["strength"]["ladder"]] == list(held_out.values())
    assert linear["accuracy"]["value"] == np.mean(predicted == test.labels) > 0.9
    assert linear["parameters"] == model.coef_.size + 4 + len(words.vocabulary_)
    assert np.array_equal(context.run.load_predictions("test", baseline="linear").predicted, predicted)

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    model = LinearSVC(C=best, random_state=42)
    model.fit(words.fit_transform([*train.texts, *validation.texts]), train.labels + validation.labels)
    more = found["baselines"]["linear_more"]
    assert more["accuracy"]["value"] == model.score(words.transform(test.texts), test.labels)
    assert (more["trained_on"], more["training_rows"]) == (["train", "validation"], 280)


def test_models_fitted_in_processes_are_the_same(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def facts() -> dict[str, Any]:
        found = tfidf_svm.analyse(a_context(run))["baselines"]["linear"]
        return {key: value for key, value in found.items() if not key.endswith("_seconds")}

    here = facts()
    answers_here = run.load_predictions("test", baseline="linear").probabilities
    monkeypatch.setattr(tfidf_svm, "WORTH_PROCESSES", 0)
    assert facts() == here
    assert np.array_equal(run.load_predictions("test", baseline="linear").probabilities, answers_here)


def test_scores_and_tests_are_those_of_the_saved_predictions(run: RunDir) -> None:
    context = a_context(run)
    found = tfidf_svm.analyse(context)
    truth, own = context.predictions("test").labels, context.predictions("test").predicted
    raw = []
    for name, entry in found["baselines"].items():
        saved = run.load_predictions("test", baseline=name)
        scored = metrics_of(truth, saved.probabilities, NAMES)
        assert entry["accuracy"] == scored["accuracy_interval"]
        assert entry["macro_f1"]["value"] == pytest.approx(scored["macro_f1"])
        against = entry["against_run"]
        assert against["only_a"] == int(((own == truth) & (saved.predicted != truth)).sum())
        assert against["accuracy"]["p"] == paired_tests.mcnemar(against["only_a"], against["only_b"])
        assert against["shown"] == (against["accuracy"]["p_holm"] < 0.05)
        raw.append(against["accuracy"]["p"])
    corrected = [entry["against_run"]["accuracy"]["p_holm"] for entry in found["baselines"].values()]
    assert corrected == holm(raw)
    assert found["run"]["accuracy"] == interval(48 / 60, *wilson(48, 60))
    of_part = intervals.analyse(context)["splits"]["test"]
    assert found["run"] == {key: of_part[key] for key in ("accuracy", "macro_f1")}


def test_the_majority_class_is_that_of_the_training_rows(run: RunDir) -> None:
    texts, _ = tiny_texts(40, seed=0)
    found = tfidf_svm.analyse(a_context(run, train=(texts, [2] * 22 + [0] * 18)))
    saved = run.load_predictions("test", baseline="majority")
    assert set(saved.predicted.tolist()) == {2}
    assert saved.probabilities[0].tolist() == pytest.approx([18 / 40, 0, 22 / 40, 0])
    majority = found["baselines"]["majority"]
    assert majority["accuracy"]["value"] == np.mean(np.array(tiny_texts(ROWS, seed=2)[1]) == 2)
    # Classes 1 and 3 were never learnt, so they are never answered.
    assert set(run.load_predictions("test", baseline="linear").predicted.tolist()) <= {0, 2}


@pytest.mark.parametrize(
    ("wrong", "kind", "verb"),
    [(0, "no difference shown", "does not beat"), (25, "worse", "is worse than")],
)
def test_the_verdict_follows_from_test_and_interval(run: RunDir, wrong: int, kind: str, verb: str) -> None:
    verdict = tfidf_svm.analyse(a_context(run, wrong))["verdict"]
    assert verdict["kind"] == kind
    assert verdict["sentence"].startswith(f"The run {verb} the linear model: ")
    assert verdict["more"]["baseline"] == "linear_more"
    assert "also trained on the validation rows" in verdict["more"]["sentence"]


def entry(difference: float, low: float, high: float, p: float) -> dict[str, Any]:
    of = {"difference": difference, "difference_interval": interval(difference, low, high), "p_holm": p}
    return {"against_run": {"accuracy": of, "shown": p < 0.05}}


def test_verdicts_by_hand() -> None:
    def verdict_of(*values: float) -> tuple[str, str]:
        found = comparison.verdict("linear", entry(*values), "linear model")
        return found["kind"], found["sentence"]

    assert verdict_of(0.003, -0.002, 0.008, 0.3) == (
        "no difference shown",
        "The run does not beat the linear model: +0.30 points of accuracy, 95% interval \N{MINUS SIGN}0.20 to +0.80.",
    )
    assert verdict_of(0.0143, 0.006, 0.0226, 0.00031) == (
        "beats",
        "The run beats the linear model: +1.43 points of accuracy, 95% interval +0.60 to +2.26 "
        "(exact McNemar test, corrected: p = 0.00031).",
    )
    assert verdict_of(-0.05, -0.08, -0.02, 1e-7)[0] == "worse"
    # The interval leaves 0 out, but the test, corrected for several baselines, is not below 0.05.
    kind, sentence = verdict_of(0.01, 0.0002, 0.0198, 0.09)
    assert kind == "no difference shown" and "does not beat" in sentence and "p = 0.09)" in sentence
    assert ": 0.00 points" in verdict_of(-0.00001, -0.01, 0.01, 1.0)[1]


def test_without_a_test_split_nothing_is_chosen_by_the_rows_that_are_scored(run: RunDir) -> None:
    context = a_context(run)
    validation = context.corpus.validation
    run.prediction_file("test").unlink()
    hashes = [validation.text_sha256(row) for row in range(len(validation))]
    probabilities = answers(validation.labels, 9)
    run.save_predictions(
        "validation", Predictions.of(validation.ids, hashes, validation.labels, probabilities, NAMES)
    )
    try:
        found = tfidf_svm.analyse(context)
        assert (found["split"], found["optimistic"]) == ("validation", True)
        assert list(found["baselines"]) == ["majority", "linear"]
        assert found["baselines"]["linear"]["strength"] == {
            "C": 1.0,
            "chosen_on": None,
            "ladder": [{"C": 1.0, "accuracy": None, "converged": True}],
        }
        assert "the run is scored on them" in found["absent"]
        assert found["verdict"]["more"] is None
        assert tfidf_svm.recheck(context, found) == found
    finally:
        run.prediction_file("validation").unlink()


@pytest.mark.parametrize(
    ("train", "why"),
    [
        ((["", "", "", ""], [0, 1, 0, 1]), "no word occurs in two training texts"),
        ((["one", "two", "three"], [0, 1, 2]), "no word occurs in two training texts"),
        ((["one"], [0]), "all training rows have the same class"),
        ((["goal coach", "goal season"], [1, 1]), "all training rows have the same class"),
    ],
)
def test_the_report_gives_the_reason_for_a_missing_linear_model(
    run: RunDir, train: tuple[list[str], list[int]], why: str
) -> None:
    context = a_context(run)
    tfidf_svm.analyse(context)  # leaves a linear model's predictions, which must not be reported below
    corpus = context.corpus
    context = RunContext(
        run,
        corpus=Corpus(split_of("train", *train), corpus.validation, corpus.test, NAMES, {}),
    )
    found = tfidf_svm.analyse(context)
    assert list(found["baselines"]) == ["majority"]
    assert found["verdict"] is None
    assert why in found["absent"]
    assert tfidf_svm.recheck(context, found) == found


def test_one_word_texts_and_two_classes_are_enough(run: RunDir) -> None:
    words = (["goal", "shares"] * 4, [0, 1] * 4)
    found = tfidf_svm.analyse(a_context(run, train=words, held_out=(["goal"], [0])))
    saved = run.load_predictions("test", baseline="linear")
    assert np.allclose(saved.probabilities.sum(axis=1), 1)
    assert not saved.probabilities[:, 2:].any()
    assert (
        found["baselines"]["linear"]["parameters"] == 2 + 1 + 2
    )  # a weight and an idf of each word, one offset


def test_without_validation_rows_the_strength_is_fixed(run: RunDir) -> None:
    context = a_context(run)
    corpus = context.corpus
    empty = Corpus(corpus.train, split_of("validation", [], []), corpus.test, NAMES, {})
    found = tfidf_svm.analyse(RunContext(run, corpus=empty))
    assert found["baselines"]["linear"]["strength"]["chosen_on"] is None
    assert "there are none" in found["absent"]


def test_analyse_and_recheck_give_the_same(run: RunDir) -> None:
    context = a_context(run)
    registry.compute_parts(context, ["baseline"])
    first = run.read_analysis("baseline")
    assert first is not None
    first.pop("cost")
    assert json.loads(json.dumps(registry.recompute_part(context, "baseline"))) == first
    second = json.loads(json.dumps(tfidf_svm.analyse(context)))
    for found in (first, second):
        for baseline in found["baselines"].values():
            baseline["fit_seconds"] = baseline["predict_seconds"] = 0.0
    assert first == second


def change(run: RunDir, column: str, turn: Callable[[list[Any]], list[Any]]) -> None:
    """Change one column of the linear model's saved predictions."""
    file = run.prediction_file("test", baseline="linear")
    table = pq.read_table(file)
    place = table.column_names.index(column)
    values = pa.array(turn(table[column].to_pylist()), table.schema.field(column).type)
    pq.write_table(table.set_column(place, column, values), file)


@pytest.mark.parametrize("column", ["id", "text_sha256", "label"])
def test_predictions_of_other_rows_are_refused(run: RunDir, column: str) -> None:
    context = a_context(run)
    found = tfidf_svm.analyse(context)
    change(run, column, lambda values: [*values[1:], values[0]])
    with pytest.raises(BadInput, match="predictions of the run's rows"):
        tfidf_svm.recheck(context, found)


def test_recheck_detects_a_changed_answer(run: RunDir) -> None:
    context = a_context(run)
    found = tfidf_svm.analyse(context)
    change(run, "predicted", lambda values: [(values[0] + 1) % 4, *values[1:]])
    with pytest.raises(BadInput, match="not the most probable ones"):
        tfidf_svm.recheck(context, found)
    # With its probabilities changed along, the file is whole, and the figures differ.
    saved = context.predictions("test")
    probabilities = run.load_predictions("test", baseline="linear").probabilities
    probabilities[0] = np.roll(probabilities[0], 1)
    run.save_predictions(
        "test", Predictions.of(saved.ids, saved.text_sha256, saved.labels, probabilities, NAMES), "linear"
    )
    again_found = tfidf_svm.recheck(context, found)
    assert again_found["baselines"]["linear"]["accuracy"] != found["baselines"]["linear"]["accuracy"]
    assert again_found["baselines"]["majority"] == found["baselines"]["majority"]


def test_recheck_detects_changed_figures_and_missing_baselines(run: RunDir) -> None:
    context = a_context(run)
    found = json.loads(json.dumps(tfidf_svm.analyse(context)))
    changed = json.loads(json.dumps(found))
    changed["baselines"]["linear"]["accuracy"]["value"] -= 0.1
    changed["verdict"]["sentence"] = "The run beats the linear model."
    assert json.loads(json.dumps(tfidf_svm.recheck(context, changed))) == found
    del changed["baselines"]["linear"]
    with pytest.raises(BadInput, match="the baselines that the analysis names"):
        tfidf_svm.recheck(context, changed)
    run.prediction_file("test", baseline="linear").unlink()
    assert "linear" not in tfidf_svm.recheck(context, found)["baselines"]


def test_unlabelled_rows_are_refused(run: RunDir) -> None:
    context = a_context(run)
    saved = context.predictions("test")
    run.save_predictions(
        "test", Predictions.of(saved.ids, saved.text_sha256, None, saved.probabilities, NAMES)
    )
    with pytest.raises(BadInput, match="labelled rows"):
        tfidf_svm.analyse(RunContext(run, corpus=context.corpus))
