"""Tests of what a probe learns from the names of the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import submillion
from submillion.errors import BadInput
from submillion.fit.head_start import fit_probe
from submillion.fit.label_names import AGREEMENT, WEIGHT, LabelNames
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from support.trained import recipe_in, two_classes

PROBE = {"head.kind": "linear", "head.start": "probe", "train.steps": 0}
CLASSES, SIZE = 4, 32


def directions() -> np.ndarray:
    """Return one direction of the features per class, [C, D]."""
    return np.random.default_rng(0).normal(size=(CLASSES, SIZE))


def drawn(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy features around the directions of their classes."""
    labels = np.arange(rows) % CLASSES
    noise = np.random.default_rng(seed).normal(size=(rows, SIZE))
    return (directions()[labels] + 2.5 * noise + 7).astype(np.float32), labels


def named(order: list[int]) -> LabelNames:
    """Return names of two sentences that lie in the directions of the classes in some order, far from the texts."""
    sentences = np.concatenate([directions()[order] * 50 - 900, directions()[order] * 20 + 400])
    return LabelNames.of(sentences.astype(np.float32), CLASSES)


def accuracy(names: LabelNames | None) -> float:
    features, labels = drawn(CLASSES)
    probe = fit_probe(features, labels, CLASSES, seed=0, names=names)
    unseen, truth = drawn(2_000, seed=2)
    return float(((unseen @ probe.weight.T + probe.bias).argmax(axis=1) == truth).mean())


def test_rows_are_centred_in_each_sentence_and_of_mean_squared_norm_1() -> None:
    names = named([0, 1, 2, 3])
    sentences = names.rows.reshape(-1, CLASSES, SIZE)
    np.testing.assert_allclose(sentences.mean(axis=1), 0, atol=1e-6)
    assert np.square(names.rows).sum(axis=1).mean() == pytest.approx(1)
    assert names.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert names.weight * len(names.rows) == pytest.approx(WEIGHT * CLASSES)


def test_a_probe_of_one_text_a_class_is_better_with_names() -> None:
    assert accuracy(named([0, 1, 2, 3])) > accuracy(None) + 0.1


def test_a_class_without_texts_is_found_by_its_name() -> None:
    features, labels = drawn(8)
    some = labels != 3
    unseen, truth = drawn(400, seed=2)
    found = []
    for names in (None, named([0, 1, 2, 3])):
        probe = fit_probe(features[some], labels[some], CLASSES, seed=0, names=names)
        predicted = (unseen @ probe.weight.T + probe.bias).argmax(axis=1)
        found.append((predicted[truth == 3] == 3).mean())
    assert found[0] == 0
    assert found[1] > 0.25


def test_names_are_used_if_they_are_near_the_texts_of_their_classes() -> None:
    features, labels = drawn(40)
    agreement = named([0, 1, 2, 3]).agreement(features, labels)
    assert agreement["used"]
    assert agreement["cosine"] > 0.5


def test_exchanged_names_are_not_used() -> None:
    agreement = named([1, 0, 3, 2]).agreement(*drawn(40))
    assert not agreement["used"]
    assert agreement["cosine"] < 0


def test_unrelated_names_are_not_used() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        centres, names = rng.normal(size=(2, CLASSES, 384))
        assert not LabelNames.of(names, CLASSES).agreement(centres, np.arange(CLASSES))["used"]


def test_classes_without_texts_do_not_count_in_the_agreement() -> None:
    features, labels = drawn(40)
    some = labels != 2
    assert named([0, 1, 2, 3]).agreement(features[some], labels[some])["used"]


@pytest.mark.parametrize("words", [("sports", "markets"), ("1", "2")])
def test_a_run_records_the_agreement_of_names_that_have_words(words: tuple[str, str], tmp_path: Path) -> None:
    texts, labels = two_classes()
    named = [words[label == labels[0]] for label in labels]
    recipe = recipe_in(tmp_path, **PROBE, **{"head.label_names": True, "data.labels": list(words)})
    run = submillion.train(recipe, tmp_path / "run", texts=texts, labels=named, quiet=True, report=False)
    start = RunDir(run.path).read_manifest()["training"]["head_start"]
    assert ("label_names" in start) == (words[0] == "sports")
    if "label_names" in start:
        used = start["label_names"]["cosine"] >= AGREEMENT / 2**0.5
        assert start["label_names"]["used"] == used


def test_names_without_a_probe_are_refused() -> None:
    with pytest.raises(BadInput, match="head.label_names"):
        Recipe.load("quickstart", ["head.start=random", "head.label_names=true"])
