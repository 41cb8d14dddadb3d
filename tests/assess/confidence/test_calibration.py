"""Calibration error, Brier score and log loss against hand-worked numbers, scikit-learn and known truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.assess.confidence.calibration import (
    calibration_scores,
    equal_mass_bins,
    reliability_diagram,
    score_changes,
    score_rows,
)
from submillion.assess.metrics import metrics_of
from submillion.run_format.interval import interval
from support.intervals import limits


def binary(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities, labels and answers of two classes: class 1 is always answered."""
    return np.stack([1 - confidence, confidence], axis=1), right.astype(int), np.ones(len(right), dtype=int)


# -- bins ---------------------------------------------------------------------------------------------------


def test_bins_by_hand() -> None:
    confidence = np.array([0.9, 0.5, 0.8, 0.6, 0.7, 0.95])
    assert equal_mass_bins(confidence, 3, 2).tolist() == [2, 0, 1, 0, 1, 2]
    assert equal_mass_bins(confidence, 3, 4).tolist() == [0] * 6, "six rows are one bin of four or more"
    assert equal_mass_bins(confidence, 15, 1).tolist() == [4, 0, 3, 1, 2, 5]


def test_equal_confidences_share_a_bin() -> None:
    confidence = np.array([1.0] * 70 + [0.6] * 10 + [0.5] * 20)
    bins = equal_mass_bins(confidence, 5, 1)
    assert bins.tolist() == [2] * 70 + [1] * 10 + [0] * 20
    assert equal_mass_bins(np.ones(50)).tolist() == [0] * 50


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 2**20))
def test_bins_ascend_and_do_not_depend_on_the_order(rows: int, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.choice(rng.random(distinct), rows)
    bins = equal_mass_bins(confidence, 6, 5)
    assert sorted(set(bins.tolist())) == list(range(bins.max() + 1))
    order = np.argsort(confidence)
    assert (np.diff(bins[order]) >= 0).all()
    shuffled = rng.permutation(rows)
    assert (equal_mass_bins(confidence[shuffled], 6, 5) == bins[shuffled]).all()


# -- scores --------------------------------------------------------------------------------------------------


def test_the_diagram_and_the_error_by_hand() -> None:
    confidence = np.repeat([0.6, 0.9], 20)
    right = np.array([1] * 9 + [0] * 11 + [1] * 20)
    rated = score_rows(*binary(confidence, right))
    low, high = reliability_diagram(rated)
    assert (low["rows"], low["low"], low["high"], low["accuracy"]) == (20, 0.6, 0.6, 0.45)
    assert (high["rows"], high["confidence"], high["accuracy"]) == (20, pytest.approx(0.9), 1.0)
    assert high["accuracy_interval"]["low"] < 0.9 < high["accuracy_interval"]["high"] == 1.0
    found = calibration_scores(rated, np.random.default_rng(0))
    assert found["ece"]["value"] == pytest.approx((0.15 + 0.1) / 2)
    assert found["ece"]["bins"] == 2


def test_brier_by_hand_and_by_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=np.float32)
    rated = score_rows(probabilities, np.array([0, 1]), np.array([0, 2]))
    assert rated.brier == pytest.approx([0.3**2 + 0.2**2 + 0.1**2, 0.1**2 + 0.7**2 + 0.6**2], rel=1e-6)
    rng = np.random.default_rng(0)
    confidence, right = rng.random(50), rng.random(50) < 0.5
    two = score_rows(*binary(confidence, right))
    assert two.brier.mean() == pytest.approx(
        2 * brier_score_loss(right, confidence)
    )  # theirs counts one class


def test_log_loss_is_that_of_the_metrics() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), 80).astype(np.float32)
    probabilities[0] = [0, 0, 1, 0]
    labels = rng.integers(0, 2, 80)
    rated = score_rows(probabilities, labels, probabilities.argmax(axis=1))
    assert rated.nll.mean() == pytest.approx(metrics_of(labels, probabilities, list("abcd"))["loss"])
    assert (rated.confidence == probabilities.max(axis=1)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 400), st.integers(0, 2**20))
def test_the_error_is_that_of_a_loop_over_sorted_rows(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, right = rng.random(rows), rng.random(rows) < 0.7
    order = np.argsort(confidence)
    bins = min(15, rows // 20)
    # Bin k takes the rows whose middle, in units of the split, lies between k / bins and (k + 1) / bins.
    place = ((np.arange(rows) + 0.5) * bins / rows).astype(int)
    expected = sum(
        abs(confidence[order][place == k].mean() - right[order][place == k].mean())
        * (place == k).sum()
        / rows
        for k in range(bins)
    )
    found = calibration_scores(score_rows(*binary(confidence, right)), np.random.default_rng(0))
    assert found["ece"]["value"] == pytest.approx(expected)


# -- how sure --------------------------------------------------------------------------------------------------


def test_calibrated_probabilities_pass() -> None:
    rng = np.random.default_rng(2)
    accused, begins_at_zero, expected, values = 0, 0, [], []
    for _ in range(40):
        confidence = rng.beta(8, 1, 500)
        found = calibration_scores(score_rows(*binary(confidence, rng.random(500) < confidence)), rng)["ece"]
        accused += found["p"] < 0.05
        begins_at_zero += found["low"] == 0.0
        expected.append(found["if_calibrated"]["mean"])
        values.append(found["value"])
        assert found["if_calibrated"]["mean"] < found["if_calibrated"]["high"]
    assert accused <= 6  # 2 are expected; more than 6 has probability 0.3 %
    assert begins_at_zero >= 34
    assert np.mean(values) == pytest.approx(np.mean(expected), rel=0.1)


def test_intervals_of_overconfident_probabilities_contain_the_truth() -> None:
    rng = np.random.default_rng(3)
    held = {"ece": 0, "brier": 0, "nll": 0}
    samples = 60
    for _ in range(samples):
        truth = rng.beta(8, 1, 600)
        claimed = truth**0.4
        expected = {
            "ece": (claimed - truth).mean(),  # every bin claims too much
            "brier": 2 * ((claimed - truth) ** 2 + truth * (1 - truth)).mean(),
            "nll": -(truth * np.log(claimed) + (1 - truth) * np.log(1 - claimed)).mean(),
        }
        found = calibration_scores(score_rows(*binary(claimed, rng.random(600) < truth)), rng)
        for name, value in expected.items():
            low, high = limits(found[name])
            held[name] += low <= value <= high
        assert found["ece"]["p"] < 0.01
    for name, times in held.items():
        assert times >= 51, name  # 57 are expected of 60; 50 or fewer has probability 0.4 %


def test_changes_are_paired_by_row() -> None:
    rng = np.random.default_rng(4)
    truth = rng.beta(8, 1, 800)
    right = rng.random(800) < truth
    before, after = score_rows(*binary(truth**0.4, right)), score_rows(*binary(truth, right))
    found = score_changes(before, after, rng)
    for name in ("ece", "brier", "nll"):
        low, high = limits(found[name])
        assert low < found[name]["value"] < high < 0, name
    apart = calibration_scores(before, rng)["nll"]["low"] - calibration_scores(after, rng)["nll"]["high"]
    assert found["nll"]["high"] < -apart, "paired rows tell more than two intervals side by side"
    assert score_changes(before, before, rng)["ece"] == interval(0.0, 0.0, 0.0)


def test_one_row_is_enough() -> None:
    found = calibration_scores(
        score_rows(*binary(np.array([0.8]), np.array([True]))), np.random.default_rng(0)
    )
    assert found["ece"]["value"] == pytest.approx(0.2)
    assert found["ece"]["low"] == 0.0
    assert found["ece"]["bins"] == 1
