"""Tests of the probe that the head starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

import submillion
from submillion import Run
from submillion.errors import BadInput
from submillion.fit import checkpoint
from submillion.fit.head_start import STRENGTH, fit_probe
from submillion.model.adapter import read_tensors
from submillion.rundir import RunDir
from support.trained import recipe_in, trained_in, two_classes

PROBE = {"head.kind": "linear", "head.start": "probe"}


def features_of(classes: int, rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return features far from centred, of three scales, and their classes."""
    rng = np.random.default_rng(classes)
    labels = np.arange(rows) % classes
    means = rng.normal(size=(classes, 8))
    return ((means[labels] + rng.normal(size=(rows, 8))) * 7 + 30).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_gives_the_probabilities_of_the_regression_that_was_folded_into_it(classes: int) -> None:
    features, labels = features_of(classes)
    probe = fit_probe(features, labels, classes, seed=0)
    centred = features - features.mean(axis=0)
    scaled = centred / np.sqrt(np.square(centred).sum(axis=1).mean())
    expected = LogisticRegression(C=STRENGTH, max_iter=300).fit(scaled, labels).predict_proba(scaled)
    actual = softmax(features.astype(np.float64) @ probe.weight.T + probe.bias, axis=1)
    np.testing.assert_allclose(actual, expected, atol=2e-3)


def test_a_class_without_rows_is_the_least_probable_one() -> None:
    features, labels = features_of(2)
    probe = fit_probe(features, labels, classes=3, seed=0)
    assert ((features @ probe.weight.T + probe.bias).argmin(axis=1) == 2).all()
    assert not probe.weight[2].any()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run without a step: its classifier is the probe on the untrained encoder."""
    home = tmp_path_factory.mktemp("probe")
    texts, labels = two_classes()
    recipe = recipe_in(home, **PROBE, **{"train.steps": 0})
    return submillion.train(recipe, home / "run", texts=texts, labels=labels, quiet=True, report=False)


def test_without_a_step_the_probe_is_evaluated_and_saved(run: Run) -> None:
    history, manifest = RunDir(run.path).read_history(), RunDir(run.path).read_manifest()
    assert [(record["kind"], record["step"]) for record in history] == [("eval", 0)]
    start = manifest["training"]["head_start"]
    assert start["rows"] == manifest["data"]["splits"]["train"]["rows"]
    texts, labels = two_classes()
    right = np.mean(
        [str(answer) == str(label) for answer, label in zip(run.predict(texts), labels, strict=True)]
    )
    assert right > 0.8
    assert start["training_accuracy"] > 0.8


def test_training_begins_at_the_accuracy_of_the_probe(run: Run, tmp_path: Path) -> None:
    changes = [f"{name}={value}" for name, value in PROBE.items()]
    started = trained_in(tmp_path, overrides=[*changes, "train.epochs=1"], report=False)
    first = RunDir(started.path).read_history()[0]
    alone = RunDir(run.path).read_history()[0]
    assert (first["step"], first["accuracy"], first["loss"]) == (0, alone["accuracy"], alone["loss"])


def test_a_probe_needs_a_linear_head(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="head.start: expected random with head.kind=stock, found probe"):
        recipe_in(tmp_path, **{"head.kind": "stock", "head.start": "probe"})


def test_the_head_may_be_fitted_anew_on_the_trained_encoder(tmp_path: Path) -> None:
    fields = {"head.finish": "probe", "data.validation": "cross-validation", "data.folds": 2}
    recipe = recipe_in(tmp_path, **PROBE, **fields, **{"train.steps": 1, "train.patience": 0})
    texts, labels = two_classes(20)
    made = submillion.train(recipe, tmp_path / "run", texts=texts, labels=labels, quiet=True, report=False)
    training = RunDir(made.path).read_manifest()["training"]
    assert training["head_finish"]["rows"] == 20
    tensors = read_tensors(made.path / "adapter")[0]
    state = checkpoint.read(checkpoint.latest(RunDir(made.path)))[0]["values"]
    bias = next(value for name, value in tensors.items() if name.endswith("classifier.out_proj.bias"))
    assert not torch.isin(bias, state).all()


def test_a_finishing_probe_needs_a_training_without_evaluations(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="head.finish: expected trained without"):
        recipe_in(tmp_path, **PROBE, **{"head.finish": "probe"})
