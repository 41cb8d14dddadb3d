"""Thresholds per class against every possible threshold, by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from submillion.assess.confidence.choose_thresholds import LEAST_ROWS, for_macro_f1, for_precision
from submillion.assess.confidence.selective import lower_limit
from submillion.model.class_thresholds import ClassThresholds
from support.run import made_predictions


def macro_f1(labels: np.ndarray, answers: np.ndarray) -> float:
    classes = np.unique(labels)
    hits = np.array([((labels == one) & (answers == one)).sum() for one in classes])
    touched = np.array([(labels == one).sum() + (answers == one).sum() for one in classes])
    return float((2 * hits / touched).mean())


def test_two_classes_get_the_best_of_all_thresholds() -> None:
    labels, probabilities = made_predictions((160, 20), skill=1.0, seed=4)
    own = probabilities[:, 1].astype(np.float64)
    places = np.concatenate([[0.0], np.sort(own), [1.0]])
    best = max(macro_f1(labels, own >= cut) for cut in (places[1:] + places[:-1]) / 2)
    chosen = for_macro_f1(probabilities, labels)
    answers = ClassThresholds("macro_f1", chosen).answers(probabilities)
    assert macro_f1(labels, answers) == pytest.approx(best)
    assert best > macro_f1(labels, own >= 0.5) + 0.01
    # Of two classes the threshold is the probability itself.
    assert (answers == (own >= chosen[1])).all()
    assert chosen.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_no_single_threshold_can_be_moved_to_a_better_macro_f1(seed: int) -> None:
    labels, probabilities = made_predictions((60, 25, 10), skill=1.0, seed=seed)
    chosen = for_macro_f1(probabilities, labels)
    found = macro_f1(labels, ClassThresholds("macro_f1", chosen).answers(probabilities))
    assert found >= macro_f1(labels, probabilities.argmax(axis=1))
    for index in range(3):
        for factor in np.geomspace(1e-3, 1e3, 200):
            moved = chosen.copy()
            moved[index] *= factor
            answers = ClassThresholds("macro_f1", moved).answers(probabilities)
            assert macro_f1(labels, answers) <= found + 1e-9


def test_thresholds_that_gain_nothing_are_even() -> None:
    labels = np.repeat([0, 1, 2], 8)
    probabilities = np.full((24, 3), 0.1, dtype=np.float32)
    probabilities[np.arange(24), labels] = 0.8
    assert for_macro_f1(probabilities, labels).tolist() == [1 / 3] * 3


def test_a_class_of_few_rows_does_not_choose_its_threshold() -> None:
    labels, probabilities = made_predictions((80, 80, LEAST_ROWS - 1), skill=0.6, seed=1)
    two, rare = for_macro_f1(probabilities, labels)[:2], for_macro_f1(probabilities, labels)[2]
    assert two.max() != pytest.approx(two.min()), "the others are free"
    weights = 1 / np.array([*two, rare])
    # Weights are relative to 1 of a class that stays; the sum of the thresholds is 1.
    assert weights[2] == pytest.approx((1 / weights).sum() / (1 / weights)[2])


def test_a_class_without_any_probability_is_no_problem() -> None:
    labels, some = made_predictions((30, 30), skill=1.0)
    probabilities = np.concatenate([some, np.zeros((60, 1), np.float32)], axis=1)
    labels = labels.copy()
    labels[:6] = 2
    answers = ClassThresholds("macro_f1", for_macro_f1(probabilities, labels)).answers(probabilities)
    assert set(answers.tolist()) == {0, 1}


def test_answered_classes_have_the_precision_by_its_lower_limit() -> None:
    labels, probabilities = made_predictions((300, 300, 300), skill=2.0)
    chosen = for_precision(probabilities, labels, 0.85)
    answers = ClassThresholds("precision", chosen).answers(probabilities)
    assert np.isfinite(chosen).all()
    for index in range(3):
        own = answers == index
        assert 0 < own.sum() < (probabilities.argmax(axis=1) == index).sum()
        right = (labels[own] == index).sum()
        assert lower_limit(right, own.sum()) >= 0.85


def test_a_class_that_cannot_reach_the_precision_is_never_answered() -> None:
    labels, probabilities = made_predictions((300, 6), skill=3.0)
    chosen = for_precision(probabilities, labels, 0.9)
    assert np.isfinite(chosen).tolist() == [True, False]
    answers = ClassThresholds("precision", chosen).answers(probabilities)
    assert set(answers.tolist()) == {-1, 0}
