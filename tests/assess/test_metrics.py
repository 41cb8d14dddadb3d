"""Metrics against hand-worked numbers, scikit-learn and scipy; divisions by zero are defined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.assess.metrics import LEAST_PROBABILITY, metrics_of, render
from submillion.assess.statistics.proportions import wilson
from submillion.errors import SubmillionError

NAMES = ["a", "b", "c"]

# Five rows by hand: true a a b b c, predicted a b b b a.
LABELS = np.array([0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2], [0.25, 0.5, 0.25], [0.9, 0.05, 0.05]],
    dtype=np.float32,
)


def test_five_rows_by_hand() -> None:
    metrics = metrics_of(LABELS, PROBABILITIES, NAMES)
    assert (metrics["rows"], metrics["correct"], metrics["accuracy"]) == (5, 3, 0.6)
    assert metrics["confusion"] == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert metrics["per_class"]["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert metrics["per_class"]["b"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2}
    )
    assert metrics["per_class"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert metrics["macro_f1"] == pytest.approx((0.5 + 0.8 + 0.0) / 3)
    expected = -(math.log(0.8) + math.log(0.3) + math.log(0.7) + math.log(0.5) + math.log(0.05)) / 5
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 2**20))
def test_equals_scikit_learn(classes: int, rows: int, seed: int) -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    probabilities = rng.dirichlet(np.ones(classes), rows)
    metrics = metrics_of(labels, probabilities, [str(index) for index in range(classes)])
    predicted = probabilities.argmax(axis=1)
    assert metrics["accuracy"] == accuracy_score(labels, predicted)
    assert metrics["macro_f1"] == pytest.approx(
        f1_score(labels, predicted, average="macro", zero_division=0.0)
    )
    assert metrics["loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(classes)))
    assert np.asarray(metrics["confusion"]).sum() == rows


def test_a_class_that_does_not_occur_is_not_in_the_macro_mean() -> None:
    metrics = metrics_of([0, 0, 1], np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0]]), NAMES)
    assert metrics["per_class"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert metrics["macro_f1"] == 1.0


def test_a_label_with_probability_zero_has_a_finite_loss() -> None:
    metrics = metrics_of([1], np.array([[1.0, 0.0]], dtype=np.float32), ["a", "b"])
    assert metrics["loss"] == -math.log(LEAST_PROBABILITY)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (3, 5), (7151, 7600), (7600, 7600)])
def test_wilson_equals_scipy(successes: int, trials: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_at_the_reference_accuracy_is_half_a_point_wide_on_each_side() -> None:
    low, high = wilson(7151, 7600)  # 94.09 % of the AG News test set
    assert (round(100 * (0.94092 - low), 2), round(100 * (high - 0.94092), 2)) == (0.55, 0.51)


def test_wilson_stays_in_the_unit_interval_and_spans_it_without_trials() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0


@pytest.mark.parametrize(
    ("labels", "probabilities", "words"),
    [
        ([0, 1], np.ones((3, 3)) / 3, "2 rows of 3 probabilities"),
        ([0, 1], np.ones((2, 2)) / 2, "2 rows of 3 probabilities"),
        ([], np.ones((0, 3)), "at least one row"),
        ([0, 3], np.ones((2, 3)) / 3, r"labels from 0 to 2, found \[3\]"),
        ([0, -1], np.ones((2, 3)) / 3, r"labels from 0 to 2, found \[-1\]"),
        ([0, 1], np.array([[0.3, 0.3, 0.4], [np.nan, 0.5, 0.5]]), "1 rows with values that are not numbers"),
    ],
)
def test_predictions_that_cannot_be_scored_are_refused(
    labels: list[int], probabilities: np.ndarray, words: str
) -> None:
    with pytest.raises(SubmillionError, match=words):
        metrics_of(labels, probabilities, NAMES)


def test_rendered_lines_have_the_figures() -> None:
    confidence = {"split": "test", "mean": 0.7, "median": 0.7, "min": 0.5, "max": 0.9, "above": {"0.9": 0.2}}
    text = render({"split": "test"} | metrics_of(LABELS, PROBABILITIES, NAMES) | {"confidence": confidence})
    assert "test: 5 rows" in text
    assert "accuracy 60.00% (95% interval 23.07 to 88.24%), macro F1 0.4333" in text
    assert "b         0.6667  1.0000  0.8000     2" in text.splitlines()
    assert "share above 0.9: 20.00%" in text
