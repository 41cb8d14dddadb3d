"""Tests of early stopping: which evaluation is best, and when patience is exhausted."""

from __future__ import annotations

import json

import pytest

from submillion.fit.stopping import Scores, Stopping


def scores(accuracy: float, loss: float, macro_f1: float = 0.5) -> Scores:
    return {"accuracy": accuracy, "loss": loss, "macro_f1": macro_f1}


def after(stopping: Stopping, *evaluations: tuple[float, ...]) -> list[bool]:
    """Record (accuracy, loss[, macro F1]) one by one; return which were the best so far."""
    return [stopping.update(i, i, scores(*values)) for i, values in enumerate(evaluations, start=1)]


def test_highest_accuracy_is_best_whatever_its_loss() -> None:
    stopping = Stopping(patience=2)
    assert after(stopping, (0.8, 0.5), (0.9, 0.9), (0.85, 0.1)) == [True, True, False]
    assert (stopping.best_step, stopping.best_accuracy, stopping.best_loss) == (2, 0.9, 0.9)


def test_among_equal_accuracies_the_lower_loss_is_best_and_ties_change_nothing() -> None:
    stopping = Stopping(patience=5)
    assert after(stopping, (0.9, 0.5), (0.9, 0.4), (0.9, 0.4), (0.9, 0.45)) == [True, True, False, False]
    assert stopping.best_step == 2


def test_objective_macro_f1_ignores_accuracy() -> None:
    stopping = Stopping(patience=2, objective="macro_f1")
    assert after(stopping, (0.9, 0.5, 0.6), (0.8, 0.6, 0.7), (0.95, 0.55, 0.7), (0.99, 0.7, 0.65)) == [
        True,
        True,
        True,
        False,
    ]
    assert (stopping.best_step, stopping.best_accuracy, stopping.best_macro_f1) == (3, 0.95, 0.7)


def test_accuracy_that_cannot_rise_ends_no_training_whose_loss_falls() -> None:
    stopping = Stopping(patience=2)
    assert all(after(stopping, *[(1.0, 0.9**i) for i in range(1, 20)]))
    assert not stopping.exhausted and stopping.best_step == 19


def test_rows_that_were_right_by_chance_end_no_training_whose_loss_falls() -> None:
    stopping = Stopping(patience=2)
    assert after(stopping, (1.0, 1.1), (2 / 3, 1.0), (2 / 3, 0.9), (2 / 3, 0.8), (1.0, 0.4))[-1]
    assert not stopping.exhausted


def test_neither_a_better_score_nor_a_lower_loss_ends_a_training() -> None:
    stopping = Stopping(patience=2)
    after(
        stopping, (0.8, 1), (0.7, 1), (0.9, 1.2), (0.8, 1)
    )  # the loss of step 4 only repeats the lowest one
    assert not stopping.exhausted
    after(stopping, (0.9, 1.2))
    assert stopping.exhausted


@pytest.mark.parametrize("evaluations", [1, 20])
def test_patience_0_never_stops(evaluations: int) -> None:
    stopping = Stopping(patience=0)
    after(stopping, *[(0.5, 1.0)] * evaluations)
    assert not stopping.exhausted


def test_state_survives_json() -> None:
    stopping = Stopping(patience=2)
    after(stopping, (0.1 + 0.2, 1 / 3), (0.2, 0.4))
    restored = Stopping(**json.loads(json.dumps(stopping.state())))
    assert restored == stopping
    after(restored, (0.2, 0.35))
    assert restored.exhausted
