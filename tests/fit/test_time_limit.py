"""Tests of `train.max_seconds`: where training ends, the learning rates of its steps, and resuming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from submillion.errors import BadInput
from submillion.fit.loop import TrainingLoop
from submillion.fit.workers import Workers
from submillion.recipe import Recipe
from support.fit_stub import (
    Disturbed,
    StubClassifier,
    fit_stub,
    press_ctrl_c,
    same_tensors,
    train_recipe,
    without_timings,
)

RECIPE = train_recipe(epochs=4, max_seconds=31.0, warmup_ratio=0.1)  # 52 steps without the limit


@pytest.fixture
def two_seconds_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingLoop, "elapsed_s", property(lambda loop: 2.0 * loop.state.step))


@pytest.mark.usefixtures("two_seconds_a_step")
def test_training_ends_at_the_step_that_reaches_the_limit_and_evaluates_it(tmp_path: Path) -> None:
    _, result, run = fit_stub(tmp_path, recipe=RECIPE)
    assert (result.steps, result.planned_steps) == (16, 52)
    assert not result.stopped_early and not result.interrupted
    assert [record["step"] for record in run.read_history() if record["kind"] == "eval"] == [13, 16]


@pytest.mark.usefixtures("two_seconds_a_step")
def test_learning_rate_falls_with_the_remaining_time(tmp_path: Path) -> None:
    _, _, run = fit_stub(tmp_path, recipe=RECIPE)
    lines = [record for record in run.read_history() if record["kind"] == "train"]
    assert [line["spent_before_s"] for line in lines] == [4, 10, 16, 22, 28, 30]
    # 6 of 52 steps are warm-up; step 3 started after 4 of 31 seconds, the equivalent of 6.7 steps.
    expected = [0.01 * (52 - 52 * line["spent_before_s"] / 31) / 46 for line in lines]
    assert [line["learning_rate"] for line in lines] == pytest.approx(expected)


@pytest.mark.usefixtures("two_seconds_a_step")
@pytest.mark.parametrize("passes", [3, 13, 16, 17])
def test_resumed_training_counts_the_time_before_the_interruption(tmp_path: Path, passes: int) -> None:
    whole, _, run = fit_stub(tmp_path / "whole", recipe=RECIPE)
    fit_stub(tmp_path / "cut", Disturbed(passes, press_ctrl_c), recipe=RECIPE)
    resumed, result, other = fit_stub(tmp_path / "cut", recipe=RECIPE, resume=True)
    assert result.steps == 16 and same_tensors(whole, resumed)
    assert without_timings(other.read_history()) == without_timings(run.read_history())


def test_limit_that_is_never_reached_changes_nothing(tmp_path: Path) -> None:
    one, result, _ = fit_stub(tmp_path / "one", recipe=train_recipe())
    other, same, _ = fit_stub(tmp_path / "other", recipe=train_recipe(max_seconds=1e9))
    assert same_tensors(one, other) and result.steps == same.steps == 52


def test_elapsed_time_is_that_of_steps_and_evaluations(tmp_path: Path) -> None:
    _, result, _ = fit_stub(tmp_path, StubClassifier(), recipe=train_recipe(max_seconds=1e-9))
    assert result.steps == 1  # at least one
    _, result, run = fit_stub(tmp_path, recipe=train_recipe(max_seconds=1e9, epochs=1))
    (line,) = [record for record in run.read_history() if record["step"] == 12]
    assert 0 < line["spent_before_s"] <= result.wall_seconds + 0.05


def test_several_processes_and_adalora_refuse_a_time_limit(tmp_path: Path) -> None:
    workers = Workers(torch.device("cpu"), rank=0, world=2)
    with pytest.raises(
        BadInput,
        match=r"`train\.max_seconds`: expected None, found 31 with 2 processes, whose clocks differ\.",
    ):
        fit_stub(tmp_path, recipe=RECIPE, workers=workers)
    with pytest.raises(BadInput, match="needs the number of steps"):
        Recipe.load("r8", ["lora.variant=adalora", "train.max_seconds=60"])
