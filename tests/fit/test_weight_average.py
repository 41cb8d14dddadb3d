"""Tests of the average of the trained values: exact sums, selection by validation, resuming."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from submillion.fit import checkpoint
from submillion.fit.fit import fit
from submillion.fit.plan import TrainingPlan
from submillion.fit.stopping import Stopping, scores_of
from submillion.fit.weight_average import WeightAverage
from submillion.fit.workers import Workers
from submillion.model.execution.reference import Reference
from submillion.recipe import TrainRecipe
from submillion.rundir import RunDir
from support.fit_stub import (
    FLOAT32,
    Disturbed,
    StubClassifier,
    fit_stub,
    made_set,
    press_ctrl_c,
    same_tensors,
    train_recipe,
    without_timings,
)

# 13 steps an epoch; the average begins after step 13, within the third evaluation interval.
RECIPE = train_recipe(
    epochs=2,
    average_from=0.5,
    eval_every=5,
    learning_rate=0.05,
    r_drop=1.0,
    class_weights="balanced",
    objective="macro_f1",
)


def test_sum_of_many_steps_does_not_drift() -> None:
    values = torch.tensor([0.1, 1 / 3, -1e-3, 1e4])
    average = WeightAverage(values, start=0)
    for step in range(20_000):
        average.after(step)
    assert torch.equal(average.mean(), values)
    assert average.steps == 20_000


@pytest.mark.parametrize(("start", "steps"), [(0.0, 10), (4.5, 6), (5.0, 5), (9.9, 1)])
def test_steps_past_the_start_are_averaged(start: float, steps: int) -> None:
    values = torch.zeros(1)
    average = WeightAverage(values, start)
    for step in range(10):
        values.fill_(step + 1)
        average.after(step)
    assert average.steps == steps == 10 - math.floor(start)
    assert average.mean().item() == pytest.approx(np.mean(range(11 - steps, 11)))


def without_validation(folder: Path, recipe: TrainRecipe) -> tuple[StubClassifier, RunDir]:
    classifier, run = StubClassifier(), RunDir(folder)
    folder.mkdir()
    plan, execution = TrainingPlan(recipe, 7), Reference(classifier, FLOAT32)  # type: ignore[arg-type]
    result = fit(execution, made_set(100, seed=1), None, plan=plan, run=run, workers=Workers.start())
    assert (result.averaged_steps, result.best_step) == (3, None)
    return classifier, run


def test_without_validation_the_average_is_left(tmp_path: Path) -> None:
    classifier, run = without_validation(tmp_path / "run", train_recipe(steps=30, average_from=0.9))
    state = checkpoint.load(run, {})
    assert state is not None
    # The same training, stopped after each of the last three steps, has the values that are averaged.
    each = []
    for passes in (28, 29, 30):
        shortened = fit_stub(
            tmp_path / str(passes),
            Disturbed(passes, press_ctrl_c),
            recipe=train_recipe(steps=30, eval_every=1000),
        )
        each.append(shortened[0].tensors())
        assert shortened[1].steps == passes
    for name, value in classifier.tensors().items():
        expected = torch.stack([tensors[name].double() for tensors in each]).mean(dim=0).float()
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    return fit_stub(tmp_path_factory.mktemp("undisturbed"), recipe=RECIPE)


def test_evaluations_score_the_average_too_and_keep_the_better_one(undisturbed: tuple) -> None:
    _, result, run = undisturbed
    evaluations = [record for record in run.read_history() if record["kind"] == "eval"]
    assert [record["step"] for record in evaluations] == [5, 10, 15, 20, 25, 26]
    assert ["other" in record for record in evaluations] == [False, False, True, True, True, True]
    rule = Stopping(0, "macro_f1")
    for record in evaluations[2:]:
        if record["averaged_steps"]:
            assert record["averaged_steps"] == record["step"] - 13
            assert rule.is_better(scores_of(record), record["other"])
        else:
            assert not rule.is_better(record["other"], scores_of(record))
    assert {record["averaged_steps"] > 0 for record in evaluations[2:]} == {True, False}
    best = next(record for record in evaluations if record["step"] == result.best_step)
    assert result.averaged_steps == best.get("averaged_steps", 0)
    assert result.objective == "macro_f1"


def test_training_stopped_every_few_steps_has_the_same_bits(tmp_path: Path, undisturbed: tuple) -> None:
    resumed = fit_stub(tmp_path, Disturbed(4, press_ctrl_c), recipe=RECIPE)
    while resumed[1].interrupted:
        resumed = fit_stub(tmp_path, Disturbed(4, press_ctrl_c), recipe=RECIPE, resume=True)
    assert same_tensors(undisturbed[0], resumed[0])
    histories = [without_timings(run.read_history()) for _, _, run in (undisturbed, resumed)]
    assert histories[0] == histories[1]
    assert np.array_equal(undisturbed[1].best_logits, resumed[1].best_logits)
    states = [checkpoint.load(run, {}) for _, _, run in (undisturbed, resumed)]
    for name in ("average.sum", "average.lost", "average.steps", "values"):
        assert torch.equal(*(state[0][name] for state in states if state is not None))
