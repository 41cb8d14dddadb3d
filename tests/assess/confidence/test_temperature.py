"""A known temperature is recovered, and undefined temperatures are reported as such."""

from __future__ import annotations

import numpy as np
import pytest

from submillion.assess.confidence.temperature import fit, scale
from support.intervals import limits


def sample(rows: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities that are right only after division of their logits by `temperature`, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, 4))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((rows, 1)) > truth.cumsum(axis=1)).sum(axis=1)
    return scale(truth, 1 / temperature).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.8])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    found = fit(*sample(6000, temperature, seed=1))
    assert found["value"] == pytest.approx(temperature, rel=0.06)
    low, high = limits(found)
    assert low < temperature < high < 1.15 * low
    assert (found["rows"], found["at_bound"]) == (6000, False)


def test_its_loss_is_the_least() -> None:
    probabilities, labels = sample(300, 1.6, seed=2)

    def loss(temperature: float) -> float:
        return float(-np.log(scale(probabilities, temperature)[np.arange(300), labels]).mean())

    best = fit(probabilities, labels)["value"]
    assert loss(best) < min(loss(0.99 * best), loss(1.01 * best), loss(1.0))


def test_the_interval_has_its_nominal_coverage() -> None:
    held = 0
    for seed in range(150):
        low, high = limits(fit(*sample(300, 1.4, seed)))
        held += low <= 1.4 <= high
    assert 134 <= held <= 149  # 142.5 expected, three standard errors are 8


def test_scaling_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5]])
    assert scale(probabilities, 1.0) == pytest.approx(probabilities)
    root = np.sqrt([0.8, 0.2])
    assert scale(probabilities, 2.0)[0] == pytest.approx(root / root.sum())
    assert scale(probabilities, 2.0)[1] == pytest.approx([0.5, 0.5])
    assert scale(probabilities, 0.05)[0] == pytest.approx([1, 0.25**20])


def test_without_mistakes_the_temperature_is_at_its_bound() -> None:
    probabilities = np.array([[0.9, 0.1]] * 5, dtype=np.float32)
    found = fit(probabilities, np.zeros(5, dtype=int))
    assert found["at_bound"]
    assert found["low"] is None and found["high"] is None
    assert found["value"] == pytest.approx(0.05, rel=0.01)
    worst = fit(probabilities, np.ones(5, dtype=int))
    assert worst["at_bound"]
    assert worst["value"] == pytest.approx(20, rel=0.01)


def test_probabilities_of_zero_and_one_are_accepted() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.7, 0.3]], dtype=np.float32)
    found = fit(probabilities, np.array([0, 1, 1, 0]))
    assert 1 < found["value"] <= 20.01
    assert np.isfinite(scale(probabilities, found["value"])).all()


def test_uniform_probabilities_have_no_temperature() -> None:
    found = fit(np.full((6, 2), 0.5, dtype=np.float32), np.array([0, 1, 0, 1, 1, 1]))
    assert found["low"] is None and found["high"] is None
    assert np.isfinite(found["value"])


def test_almost_equal_probabilities_have_a_temperature_without_limits() -> None:
    """As of a classifier after its first steps: the curvature is so small that no float holds the limits."""
    probabilities = np.array([[0.500355005, 0.499644965], [0.500355124, 0.499644905]], dtype=np.float32)
    found = fit(probabilities, np.array([1, 0]))
    assert not found["at_bound"] and np.isfinite(found["value"])
    assert found["low"] is None and found["high"] is None
