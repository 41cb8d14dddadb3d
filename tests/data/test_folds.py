"""Tests of the folds of cross-validation."""

from __future__ import annotations

import numpy as np
import pytest

from submillion.data.corpus import corpus_from
from submillion.data.folds import NEVER, fold_numbers, most_folds
from submillion.data.in_memory import labelled_rows
from submillion.errors import BadInput
from submillion.recipe import DataRecipe
from submillion.sources.fetch import FetchedData

LABELS = [0] * 12 + [1] * 7 + [2] * 5
TEXTS = [f"text {row}" for row in range(len(LABELS))]


def test_every_fold_has_the_same_share_of_every_class() -> None:
    held_out = fold_numbers(LABELS, TEXTS, folds=5, seed=1)
    counts = np.array([np.bincount(np.array(LABELS)[held_out == fold], minlength=3) for fold in range(5)])
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_folds_follow_the_texts_and_not_their_order() -> None:
    order = np.random.default_rng(0).permutation(len(LABELS))
    held_out = fold_numbers(LABELS, TEXTS, folds=4, seed=1)
    shuffled = fold_numbers([LABELS[row] for row in order], [TEXTS[row] for row in order], folds=4, seed=1)
    assert (shuffled == held_out[order]).all()
    assert (fold_numbers(LABELS, TEXTS, folds=4, seed=1, repeat=2) != held_out).any()
    assert (fold_numbers(LABELS, TEXTS, folds=4, seed=2) != held_out).any()


def test_copies_of_a_text_are_in_one_fold() -> None:
    labels, texts = LABELS * 2, TEXTS + [text.replace(" ", "  ") for text in TEXTS]
    held_out = fold_numbers(labels, texts, folds=5, seed=1)
    assert (held_out[: len(TEXTS)] == held_out[len(TEXTS) :]).all()


def test_single_texts_and_contradictions_are_never_held_out() -> None:
    labels, texts = [*LABELS, 3, 3, 0, 1], [*TEXTS, "only one", "only one", "both", "both"]
    held_out = fold_numbers(labels, texts, folds=5, seed=1)
    assert np.flatnonzero(held_out == NEVER).tolist() == [24, 25, 26, 27]


def test_no_fold_takes_all_texts_of_a_class() -> None:
    labels = [0] * 20 + [1, 1]
    held_out = fold_numbers(labels, [str(row) for row in range(22)], folds=10, seed=3)
    assert held_out[20] != held_out[21]


def test_the_class_with_the_most_texts_limits_the_folds() -> None:
    assert most_folds([0, 0, 0, 1, 1], ["a", "b", "b", "c", "d"]) == 2


def corpus(labels: list[str], texts: list[str], **fields: object):  # type: ignore[no-untyped-def]
    data = DataRecipe.model_validate({"train": "memory", "validation": "cross-validation"} | fields)
    sources = {"train": FetchedData("memory", {}, {}, "memory")}
    return corpus_from({"train": labelled_rows(texts, labels)}, sources, data, seed=7)


def test_all_rows_are_trained_on_and_predicted() -> None:
    made = corpus(["a", "b"] * 10, TEXTS[:20], repeats=2)
    assert made.validation.texts == made.train.texts
    assert made.report["validation"]["folds"] == 5
    assert (made.folds.count, made.folds.repeats, made.folds.seed) == (5, 2, 7)
    assert set(made.folds.numbers(2)) == {0, 1, 2, 3, 4}


def test_few_texts_make_fewer_folds_and_a_single_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    made = corpus(["a", "a", "a", "b", "b", "c"], TEXTS[:6])
    assert made.folds.count == 3
    assert made.validation.texts == made.train.texts[:5]
    said = capsys.readouterr().err
    assert "3 folds in place of 5" in said
    assert "1 class has one text only, which is trained on in every fold and never predicted" in said


def test_classes_of_one_text_each_cannot_be_cross_validated() -> None:
    with pytest.raises(BadInput, match="one of them with two different texts, for a cross-val"):
        corpus(["a", "b", "c"], TEXTS[:3])


def test_the_limit_is_drawn_before_the_folds() -> None:
    made = corpus(["a", "b"] * 10, TEXTS[:20], limit=8)
    assert made.validation.texts == made.train.texts
    assert len(made.train) == 8
