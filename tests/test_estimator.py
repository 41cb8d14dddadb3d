"""Tests of estimator.py: scikit-learn's contract for estimators of text, which `check_estimator` does not cover."""

from __future__ import annotations

import copy
import gc
import io
import os
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
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

import submillion
from submillion import BadInput, OverBudget, SubmillionClassifier
from submillion.estimator_fields import overrides_of, without_own_data
from submillion.recipe import Recipe
from submillion.recipe_file import field_names
from submillion.rundir import RunDir
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


def test_every_field_of_a_section_but_the_training_texts_is_a_parameter() -> None:
    params = SubmillionClassifier(fields={"lora.r": 3}).get_params()
    nested = {name.replace(".", "__") for name in field_names(Recipe) if "." in name}
    assert nested - set(params) == {"data__train"}
    assert (params["lora__r"], params["train__epochs"]) == (3, "auto")
    for recipe in ("r8", Recipe.load("r8")):
        of_a_recipe = SubmillionClassifier(recipe=recipe, fields={"lora.r": 3}).get_params()
        assert (of_a_recipe["lora__r"], of_a_recipe["train__epochs"]) == (3, 5)
    assert SubmillionClassifier(encoder="mpnet-base").get_params()["encoder__source"] == "mpnet-base"


def test_set_params_sets_arguments_and_recipe_fields() -> None:
    one = SubmillionClassifier()
    assert one.set_params(budget=7, lora__r=4, train__epochs=1) is one
    assert (one.budget, one.fields) == (7, {"lora.r": 4, "train.epochs": 1})
    assert one.get_params()["lora__r"] == 4
    assert one.set_params(**one.get_params(deep=False)).fields == {"lora.r": 4, "train.epochs": 1}


@pytest.mark.parametrize("name", ["budge", "lora__rank", "lor__r", "data__train"])
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


def recipe_file(home: Path, folder: Path, more: str = "") -> Path:
    """Return a recipe with test rows, validation rows, corrections and a budget of its own."""
    encoder = tiny_fields(home)["encoder.source"]
    (folder / "rows.csv").write_text("text,label\nseen before,0\nnever seen,1\n", encoding="utf-8")
    file = folder / "own.yaml"
    file.write_text(
        f"budget: 100000\nencoder: {{source: {encoder}}}\n"
        "data: {train: rows.csv, test: rows.csv, validation: rows.csv, corrections: absent.csv, split: part,\n"
        "  max_length: 24}\n"
        f"lora: {{r: 2}}\ntrain: {{epochs: 1, threads: 1}}\n{more}",
        encoding="utf-8",
    )
    return file


def test_the_rows_of_a_recipe_are_not_used(home: Path, tmp_path: Path) -> None:
    file = recipe_file(home, tmp_path)
    rows = str(tmp_path / "rows.csv")
    one = SubmillionClassifier(recipe=file).fit(TEXTS, LABELS)
    recipe = one.run_.recipe
    assert (recipe.data.test, recipe.data.validation, recipe.data.corrections) == ("none", None, None)
    assert recipe.data.split is None
    assert (recipe.budget, recipe.seed, recipe.lora.r) == (100_000, 0, 2)
    named = SubmillionClassifier(
        recipe=file, fields={"data.test": Path(rows)}, budget=90_000, out=tmp_path / "run"
    )
    assert named.fit(TEXTS, LABELS).run_.recipe.data.test == rows
    assert named.run_.recipe.budget == 90_000
    # A classifier of a run keeps the settings of its recipe, and none of its rows.
    again = SubmillionClassifier.load(named.run_.path).fit(TEXTS, LABELS)
    recipe = again.run_.recipe
    assert (recipe.data.test, recipe.budget, recipe.lora.r) == ("none", 90_000, 2)


@pytest.mark.parametrize(
    ("size", "fields", "test"),
    [
        (None, {"data.test_size": 0.2}, None),
        (0.2, {}, None),
        (0.2, {"data.test_size": None}, "none"),
    ],
)
def test_a_share_of_the_texts_may_be_held_out(
    size: float | None, fields: dict[str, Any], test: str | None
) -> None:
    recipe = Recipe.load("r8").with_data(test=None if size else "rows.csv", test_size=size)
    assert recipe.with_overrides(overrides_of(without_own_data(fields, recipe))).data.test == test


def test_parameters_that_are_set_to_what_they_are_change_nothing(home: Path, tmp_path: Path) -> None:
    one = SubmillionClassifier(recipe=recipe_file(home, tmp_path), fields={"lora.dropout": 0.0})
    before = one.get_params()
    expected = one.fit(TEXTS, LABELS).run_.recipe.model_dump(exclude={"data": {"train"}})
    one.set_params(**before)
    assert one.get_params() | {"fields": None} == before | {"fields": None}
    assert one.fit(TEXTS, LABELS).run_.recipe.model_dump(exclude={"data": {"train"}}) == expected


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"encoder": "minilm", "fields": {"encoder.source": "mpnet-base"}},
            '`encoder`: expected one value, found "minilm", and "mpnet-base" as the recipe field encoder.source. '
            "Leave out one of them.",
        ),
        ({"budget": 5000, "fields": {"budget": 6000}}, "`budget`: expected one value, found 5000, and 6000"),
        ({"random_state": 1, "fields": {"seed": 2}}, "`random_state`: expected one value, found 1, and 2"),
        (
            {"fields": {"lora.targets": {"query"}}},
            "`lora.targets`: expected text, a number, a boolean, None or a list",
        ),
        (
            {"fields": ["lora.r=4"]},
            '`fields`: expected recipe fields by name, such as {"lora.r": 8}, found one list',
        ),
    ],
)
def test_parameters_that_contradict_each_other_or_the_recipe_are_refused(
    params: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as error:
        SubmillionClassifier(**params).fit(TEXTS, LABELS)
    assert str(error.value).startswith(message)


def test_equal_values_and_those_of_numpy_and_pathlib_are_taken(home: Path) -> None:
    fields = tiny_fields(home) | {"train.epochs": np.int64(1), "budget": 90_000, "lora.layers": np.array([0])}
    encoder = Path(fields["encoder.source"])
    one = SubmillionClassifier(encoder=encoder, budget=np.int64(90_000), fields=fields | {"seed": 4})
    recipe = one.fit(TEXTS, LABELS).run_.recipe
    assert (recipe.encoder.source, recipe.budget, recipe.lora.layers) == (str(encoder), 90_000, [0])
    assert (recipe.train.epochs, recipe.seed) == (1, 4)


def test_the_same_seed_gives_the_same_probabilities_and_another_gives_others(
    home: Path, fitted: SubmillionClassifier
) -> None:
    same = classifier(home).fit(TEXTS, LABELS)
    other = classifier(home, random_state=1).fit(TEXTS, LABELS)
    assert np.array_equal(same.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert not np.array_equal(other.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_classes_are_in_the_order_on_which_scorers_count(home: Path) -> None:
    """A run has class 2 before class 10; scikit-learn sorts strings."""
    names = ["10" if label == LABELS[0] else "2" for label in LABELS]
    one = classifier(home).fit(TEXTS, names)
    assert one.classes_.tolist() == ["10", "2"]
    assert one.run_.classes_.tolist() == ["2", "10"]
    probabilities = one.predict_proba(TEXTS)
    assert (one.classes_[probabilities.argmax(axis=1)] == one.predict(TEXTS)).all()
    assert one.predict(TEXTS).tolist() == one.run_.predict(TEXTS)
    assert one.score(TEXTS, names) == np.mean(one.predict(TEXTS) == names)
    by_name = one.run_.predict_proba(TEXTS)[:, ::-1]
    assert get_scorer("neg_log_loss")(one, TEXTS, names) == pytest.approx(
        -log_loss(names, by_name, labels=["10", "2"])
    )


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ([1.0], "1 values"),
        ([0.0] * len(TEXTS), "zeros alone"),
        (["a"] * len(TEXTS), "'a'"),
        ([-1.0] * len(TEXTS), "-1.0"),
        ([float("nan")] * len(TEXTS), "nan"),
        ([None] * len(TEXTS), "None"),
    ],
)
def test_weights_that_are_none_are_refused(
    fitted: SubmillionClassifier, weights: list[Any], found: str
) -> None:
    message = f"`sample_weight`: expected 60 numbers of at least 0, not all of them 0, found {found}"
    with pytest.raises(BadInput, match=message):
        fitted.score(TEXTS, LABELS, weights)


@pytest.mark.parametrize("weights", [1.0, np.ones((len(TEXTS), 1))])
def test_weights_that_are_no_column_are_refused(fitted: SubmillionClassifier, weights: Any) -> None:
    with pytest.raises(BadInput, match="`sample_weight`: expected a one-dimensional column"):
        fitted.score(TEXTS, LABELS, weights)


def test_fields_of_another_type_are_refused_by_fit_and_shown_before() -> None:
    one = SubmillionClassifier(fields=["lora.r=3"])  # type: ignore[arg-type]
    assert "fields=['lora.r=3']" in repr(one)
    for use in (lambda: one.fit(TEXTS, LABELS), lambda: one.set_params(lora__r=3)):
        with pytest.raises(BadInput, match="expected recipe fields by name"):
            use()


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
        pytest.param(np.array([1, 0], dtype=object), [0, 1], id="integers as objects"),
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
        pytest.param(TEXTS[:4], ["a", "b", float("nan"), "a"], "position 2: .* a missing value", id="nan"),
        pytest.param(TEXTS[:4], ["a", "b", 1, "a"], "labels of one type", id="two types"),
        pytest.param(
            TEXTS[:4], pd.Series(["a", "b", pd.NA, "a"], dtype="string"), "position 2: .* a missing", id="NA"
        ),
        pytest.param(
            TEXTS[:4], pd.Series([1, 0, pd.NA, 1], dtype="Int64"), "position 2: .* a missing", id="integer NA"
        ),
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


def test_a_run_stays_as_long_as_it_is_held(home: Path) -> None:
    run = classifier(home).fit(TEXTS, LABELS).run_
    gc.collect()
    assert len(run.predict(TEXTS[:2])) == 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_shares_the_run_and_the_last_one_deletes_it(home: Path, copied: Any) -> None:
    one = classifier(home).fit(TEXTS, LABELS)
    place, other = one.run_.path, copied(one)
    assert np.array_equal(other.predict(TEXTS), one.predict(TEXTS))
    del one
    gc.collect()
    assert place.is_dir()
    del other
    gc.collect()
    assert not place.exists()


def test_a_forked_child_leaves_the_run_to_its_parent(home: Path) -> None:
    one = classifier(home).fit(TEXTS, LABELS)
    child = os.fork()
    if not child:
        one._deletion()  # as at the child's exit
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert one.run_.path.is_dir()


def test_a_classifier_whose_run_another_has_replaced_is_not_pickled(home: Path, tmp_path: Path) -> None:
    first = classifier(home, out=tmp_path / "run").fit(TEXTS, LABELS)
    second = classifier(home, out=tmp_path / "run", random_state=1).fit(TEXTS, LABELS)
    with pytest.raises(BadInput, match="the run of this classifier, found another run or none. Fit again"):
        pickle.dumps(first)
    assert pickle.loads(pickle.dumps(second)).run_.path == second.run_.path


def test_an_interrupted_fit_leaves_the_classifier_as_it_was(
    home: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **options: Any) -> submillion.Run:
        run = submillion.train(*args, **options)
        RunDir(run.path).update_manifest(status="interrupted")
        return run

    monkeypatch.setattr("submillion.estimator.train", interrupted)
    one = classifier(home)
    with pytest.raises(KeyboardInterrupt):
        one.fit(TEXTS, LABELS)
    assert not hasattr(one, "run_")
    assert not list((own_cache / "estimators").iterdir())


@pytest.mark.parametrize("place", [3, ""])
def test_places_are_paths(home: Path, fitted: SubmillionClassifier, place: Any) -> None:
    with pytest.raises(BadInput, match="`path`: expected a path"):
        fitted.save(place)
    with pytest.raises(BadInput, match="`out`: expected a path"):
        classifier(home, out=place).fit(TEXTS, LABELS)


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
