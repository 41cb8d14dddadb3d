"""Tests of estimator.py: scikit-learn's contract for estimators of text, which `check_estimator` does not cover."""

from __future__ import annotations

import gc
import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

import submillion
from submillion import BadInput, OverBudget, SubmillionClassifier
from submillion.recipe import Recipe
from submillion.recipe_file import field_names
from support.trained import tiny_fields, two_classes

TEXTS, LABELS = two_classes()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("estimator")


def classifier(home: Path, **params: Any) -> SubmillionClassifier:
    return SubmillionClassifier(fields=tiny_fields(home) | {"train.epochs": 1}, **params)


@pytest.fixture(scope="module")
def fitted(home: Path) -> SubmillionClassifier:
    return classifier(home, out=home / "fitted").fit(TEXTS, LABELS)


# -- the contract of every scikit-learn estimator ------------------------------------------------------------------


def test_it_is_a_classifier_of_strings() -> None:
    tags = get_tags(SubmillionClassifier())
    assert is_classifier(SubmillionClassifier())
    assert (tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array) == (
        True,
        True,
        False,
    )
    assert tags.classifier_tags.multi_class


def test_parameters_are_stored_as_they_are_passed() -> None:
    fields = {"lora.r": 2}
    one = SubmillionClassifier(fields=fields, budget=5)
    assert one.fields is fields
    assert one.get_params(deep=False) == {
        "encoder": None,
        "budget": 5,
        "recipe": "auto",
        "fields": fields,
        "random_state": 0,
        "out": None,
        "quiet": True,
    }


def test_every_recipe_field_is_a_parameter() -> None:
    params = SubmillionClassifier(fields={"lora.r": 3}).get_params()
    nested = [name for name in field_names(Recipe) if "." in name]
    assert {name.replace(".", "__") for name in nested} <= set(params)
    assert (params["lora__r"], params["train__epochs"]) == (3, "auto")
    of_a_recipe = SubmillionClassifier(recipe="r8", fields={"lora.r": 3}).get_params()
    assert (of_a_recipe["lora__r"], of_a_recipe["train__epochs"]) == (3, 5)


def test_set_params_sets_arguments_and_recipe_fields() -> None:
    one = SubmillionClassifier()
    assert one.set_params(budget=7, lora__r=4, train__epochs=1) is one
    assert (one.budget, one.fields) == (7, {"lora.r": 4, "train.epochs": 1})
    assert one.get_params()["lora__r"] == 4
    assert one.set_params(**one.get_params(deep=False)).fields == {"lora.r": 4, "train.epochs": 1}


@pytest.mark.parametrize("name", ["budge", "lora__rank", "lor__r"])
def test_an_unknown_parameter_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid parameter"):
        SubmillionClassifier().set_params(**{name: 1})


def test_a_clone_has_the_parameters_and_is_not_fitted(fitted: SubmillionClassifier) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert copy is not fitted
    with pytest.raises(NotFittedError):
        copy.predict(TEXTS)


def test_repr_shows_changed_parameters() -> None:
    assert repr(SubmillionClassifier(budget=500)) == "SubmillionClassifier(budget=500)"
    assert "SubmillionClassifier" in SubmillionClassifier()._repr_html_()


@pytest.mark.parametrize("method", ["predict", "predict_proba", "save"])
def test_an_unfitted_classifier_says_so(method: str, tmp_path: Path) -> None:
    argument = tmp_path / "place" if method == "save" else TEXTS
    with pytest.raises(NotFittedError):
        getattr(SubmillionClassifier(), method)(argument)


def test_fit_returns_itself_and_changes_no_parameter(home: Path) -> None:
    one = classifier(home)
    before = one.get_params()
    assert one.fit(TEXTS, LABELS) is one
    assert one.get_params() == before


def test_fit_leaves_its_input_alone(home: Path) -> None:
    texts, labels = np.array(TEXTS, dtype=object), np.array(LABELS)
    classifier(home).fit(texts, labels)
    assert texts.tolist() == TEXTS
    assert labels.tolist() == LABELS


def test_test_rows_are_those_of_the_caller_or_none(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "test.csv"
    file.write_text("text,label\nnever seen before one,0\nnever seen before two,1\n", encoding="utf-8")
    one = classifier(home).fit(TEXTS, LABELS)
    two = classifier(home).set_params(data__test=str(file)).fit(TEXTS, LABELS)
    assert [fit.run_.recipe.data.test for fit in (one, two)] == ["none", str(file)]


def test_the_same_seed_gives_the_same_probabilities_and_another_gives_others(
    home: Path, fitted: SubmillionClassifier
) -> None:
    same = classifier(home).fit(TEXTS, LABELS)
    other = classifier(home, random_state=1).fit(TEXTS, LABELS)
    assert np.array_equal(same.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert not np.array_equal(other.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_a_random_state_object_is_drawn_from(home: Path) -> None:
    one = classifier(home, random_state=np.random.RandomState(3)).fit(TEXTS, LABELS)
    two = classifier(home, random_state=np.random.RandomState(3)).fit(TEXTS, LABELS)
    assert one.run_.recipe.seed == two.run_.recipe.seed != 0


def test_fitting_again_replaces_the_first_fit(home: Path) -> None:
    one = classifier(home).fit(TEXTS, LABELS)
    first = one.run_.path
    one.fit(TEXTS, ["yes" if label else "no" for label in LABELS])
    assert one.classes_.tolist() == ["no", "yes"]
    assert not first.exists()


def test_probabilities_have_one_column_per_class_and_decide_the_prediction(
    fitted: SubmillionClassifier,
) -> None:
    probabilities = fitted.predict_proba(TEXTS)
    assert (probabilities.shape, probabilities.dtype) == ((60, 2), np.float32)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(fitted.predict(TEXTS), fitted.classes_[probabilities.argmax(axis=1)])
    assert fitted.predict(TEXTS[:1]).shape == (1,)


def test_predictions_of_a_subset_are_those_of_the_whole(fitted: SubmillionClassifier) -> None:
    whole = fitted.predict_proba(TEXTS)
    assert np.allclose(fitted.predict_proba(TEXTS[::-1]), whole[::-1], atol=1e-5)
    assert np.allclose(fitted.predict_proba(TEXTS[7:9]), whole[7:9], atol=1e-5)


def test_score_is_the_accuracy(fitted: SubmillionClassifier) -> None:
    right = fitted.predict(TEXTS) == LABELS
    assert fitted.score(TEXTS, LABELS) == np.mean(right)
    weights = np.arange(len(TEXTS))
    assert fitted.score(TEXTS, LABELS, weights) == pytest.approx(np.average(right, weights=weights))


@pytest.mark.parametrize("kind", [float, bool, str, np.int8, lambda label: f"{label}.0"])
def test_score_reads_the_labels_of_every_type(fitted: SubmillionClassifier, kind: Any) -> None:
    assert fitted.score(TEXTS, [kind(label) for label in LABELS]) == fitted.score(TEXTS, LABELS)


def test_a_label_of_no_class_is_a_wrong_answer(fitted: SubmillionClassifier) -> None:
    assert fitted.score(TEXTS[:2], [7, 8]) == 0
    assert fitted.score(TEXTS[:2], ["spam", "ham"]) == 0


# -- texts and labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        pytest.param([7, -2], [-2, 7], id="integers"),
        pytest.param([True, False], [False, True], id="booleans"),
        pytest.param(["spam", "ham"], ["ham", "spam"], id="strings"),
        pytest.param([1.0, 0.0], [0.0, 1.0], id="whole floats"),
    ],
)
def test_labels_come_back_as_they_were_passed(home: Path, values: list[Any], classes: list[Any]) -> None:
    one = classifier(home).fit(pd.Series(TEXTS), pd.Series([values[label] for label in LABELS]))
    assert one.classes_.tolist() == classes
    assert one.classes_.dtype.kind == np.array(classes).dtype.kind
    assert set(one.predict(TEXTS).tolist()) <= set(classes)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        pytest.param(TEXTS[:4], [1, 0], "one label per text", id="lengths"),
        pytest.param([], [], "at least one text", id="empty"),
        pytest.param(["a", None, "c", "d"], [0, 1, 0, 1], "position 1", id="missing"),
        pytest.param([[1.0, 2.0]] * 4, [0, 1, 0, 1], "`texts`", id="numbers"),
        pytest.param(TEXTS[:8], [1] * 8, "at least two classes", id="one class"),
    ],
)
def test_bad_input_is_refused(home: Path, texts: list[Any], labels: list[Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        classifier(home).fit(texts, labels)


def test_targets_that_are_no_classes_are_refused_as_scikit_learn_does(home: Path) -> None:
    with pytest.raises(ValueError, match="Unknown label type"):
        classifier(home).fit(TEXTS, np.linspace(0, 1, len(TEXTS)))


def test_a_table_of_texts_is_refused(home: Path) -> None:
    with pytest.raises(BadInput, match="one-dimensional"):
        classifier(home).fit(np.array(TEXTS).reshape(-1, 2), LABELS[:30])


def test_over_budget_is_refused_and_leaves_no_directory(home: Path, own_cache: Path) -> None:
    with pytest.raises(OverBudget):
        classifier(home, budget=100).fit(TEXTS, LABELS)
    assert not list((own_cache / "estimators").glob("*"))


# -- in other tools of scikit-learn ----------------------------------------------------------------------------------


def test_in_a_pipeline(home: Path) -> None:
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = make_pipeline(lower, classifier(home)).fit(TEXTS, LABELS)
    assert pipeline.predict([TEXTS[0].upper()]) == pipeline.predict([TEXTS[0]])
    assert pipeline.classes_.tolist() == [0, 1]


def test_in_a_grid_over_recipe_fields(home: Path) -> None:
    grid = {"lora__r": [1, 2], "train__learning_rate": [0.01]}
    search = GridSearchCV(classifier(home), grid, cv=2).fit(TEXTS, LABELS)
    assert search.best_params_["lora__r"] in (1, 2)
    assert search.best_estimator_.run_.recipe.lora.r == search.best_params_["lora__r"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_in_cross_validation_with_processes(home: Path) -> None:
    scores = cross_val_score(classifier(home), np.array(TEXTS), LABELS, cv=2, scoring="accuracy", n_jobs=2)
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()


def test_calibrated(home: Path) -> None:
    calibrated = CalibratedClassifierCV(classifier(home), cv=2).fit(TEXTS, LABELS)
    assert np.allclose(calibrated.predict_proba(TEXTS).sum(axis=1), 1)


# -- on disk -----------------------------------------------------------------------------------------------------------


def test_a_pickle_holds_the_place_of_the_run_and_no_weights(home: Path) -> None:
    one = classifier(home).fit(TEXTS, LABELS)
    one.predict(TEXTS[:1])  # the classifier is loaded now
    data = pickle.dumps(one)
    assert len(data) < 5_000
    expected = one.predict_proba(TEXTS)
    del one
    gc.collect()
    assert np.array_equal(pickle.loads(data).predict_proba(TEXTS), expected)


def test_joblib_and_an_unfitted_pickle(fitted: SubmillionClassifier) -> None:
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    assert np.array_equal(joblib.load(file).predict(TEXTS), fitted.predict(TEXTS))
    assert pickle.loads(pickle.dumps(SubmillionClassifier(budget=3))).budget == 3


def test_a_pickle_refuses_another_run_in_its_place(home: Path, tmp_path: Path) -> None:
    one = classifier(home, out=tmp_path / "run").fit(TEXTS, LABELS)
    data = pickle.dumps(one)
    one.set_params(random_state=1).fit(TEXTS, LABELS)
    with pytest.raises(BadInput, match="the run that was pickled"):
        pickle.loads(data)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(BadInput, match="a run directory"):
        pickle.loads(data)


def test_a_run_without_a_place_goes_with_its_classifier(home: Path) -> None:
    one = classifier(home).fit(TEXTS, LABELS)
    place = one.run_.path
    assert place.is_dir()
    del one
    gc.collect()
    assert not place.exists()


def test_saved_and_loaded(home: Path, tmp_path: Path, fitted: SubmillionClassifier) -> None:
    saved = fitted.save(tmp_path / "saved")
    loaded = SubmillionClassifier.load(saved)
    assert loaded.classes_.tolist() == [0, 1]
    assert np.array_equal(loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert (saved / "report.html").is_file()
    verdict = submillion.verify(saved)
    assert verdict.holds, verdict.render()
    with pytest.raises(BadInput, match="Choose another `path`"):
        fitted.save(saved)
    # It is fitted again with the saved recipe.
    again = clone(loaded).fit(TEXTS, LABELS)
    assert np.array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
