"""Tests of early stopping: which evaluation is best, and when patience is exhausted."""

from __future__ import annotations

import json

import pytest

from submillion.fit.stopping import Stopping


def after(stopping: Stopping, *evaluations: tuple[float, float]) -> list[bool]:
    """Record (accuracy, loss) pairs one by one; return which were the best so far."""
    return [
        stopping.update(i, i, accuracy, loss, 0.5) for i, (accuracy, loss) in enumerate(evaluations, start=1)
    ]


def test_highest_accuracy_is_best_whatever_its_loss() -> None:
    stopping = Stopping(patience=2)
    assert after(stopping, (0.8, 0.5), (0.9, 0.9), (0.85, 0.1)) == [True, True, False]
    assert (stopping.best_step, stopping.best_accuracy, stopping.best_loss) == (2, 0.9, 0.9)


def test_among_equal_accuracies_the_lower_loss_is_best_and_ties_change_nothing() -> None:
    stopping = Stopping(patience=5)
    assert after(stopping, (0.9, 0.5), (0.9, 0.4), (0.9, 0.4), (0.9, 0.45)) == [True, True, False, False]
    assert stopping.best_step == 2


def test_lower_loss_alone_does_not_reset_patience() -> None:
    stopping = Stopping(patience=2)
    after(stopping, (0.9, 0.5), (0.9, 0.4))
    assert not stopping.exhausted
    after(stopping, (0.9, 0.3))
    assert stopping.exhausted


def test_patience_counts_consecutive_evaluations() -> None:
    stopping = Stopping(patience=2)
    after(stopping, (0.8, 1), (0.7, 1), (0.9, 1), (0.8, 1))
    assert not stopping.exhausted
    after(stopping, (0.9, 2))
    assert stopping.exhausted


@pytest.mark.parametrize("evaluations", [1, 20])
def test_patience_0_never_stops(evaluations: int) -> None:
    stopping = Stopping(patience=0)
    after(stopping, *[(0.5, 1.0)] * evaluations)
    assert not stopping.exhausted


def test_state_survives_json() -> None:
    stopping = Stopping(patience=2)
    after(stopping, (0.1 + 0.2, 1 / 3), (0.2, 0.1))
    restored = Stopping(**json.loads(json.dumps(stopping.state())))
    assert restored == stopping
    after(restored, (0.2, 0.1))
    assert restored.exhausted
