"""Tests of the running statistics between two history lines."""

from __future__ import annotations

import json

import pytest
import torch

from submillion.fit.running_stats import Diverged, Totals, Window


def filled(*losses: float) -> Window:
    window = Window()
    for step, loss in enumerate(losses, start=1):
        window.add(step, torch.tensor(loss), torch.tensor(2.0 * step), texts=4, tokens=30)
    return window


def test_history_line_averages_loss_over_texts_and_norm_over_steps() -> None:
    window, totals = filled(8.0, 4.0), Totals()
    window.read(totals)
    record = window.record(2, 0.5, 1e-3)
    assert (record["loss"], record["grad_norm"]) == (1.5, 3.0)
    assert record["tokens_per_s"] / record["samples_per_s"] == pytest.approx(60 / 8, rel=0.01)
    assert totals.train_seconds == window.seconds > 0


@pytest.mark.parametrize(
    ("bad", "text"), [(float("nan"), "step 2: loss nan"), (float("inf"), "step 2: loss inf")]
)
def test_first_step_with_a_non_finite_loss_is_named(bad: float, text: str) -> None:
    with pytest.raises(Diverged, match=text):
        filled(1.0, bad, float("nan")).read(Totals())


def test_non_finite_gradient_norm_is_named() -> None:
    window = filled(1.0)
    window.add(2, torch.tensor(1.0), torch.tensor(float("inf")), 4, 30)
    with pytest.raises(Diverged, match="step 2: gradient norm inf"):
        window.read(Totals())


def test_state_survives_json() -> None:
    window, whole, totals = filled(0.1, 1 / 3), filled(0.1, 1 / 3, 0.7), Totals()
    window.read(totals)
    resumed = Window.from_state(json.loads(json.dumps(window.state())))
    resumed.add(3, torch.tensor(0.7), torch.tensor(6.0), texts=4, tokens=30)
    for part in (resumed, whole):
        part.read(totals)
    lines = [part.record(3, 1, 0.1) for part in (resumed, whole)]
    assert lines[0]["loss"] == lines[1]["loss"]
    assert lines[0]["grad_norm"] == lines[1]["grad_norm"]
