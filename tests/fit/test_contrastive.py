"""Tests of the contrastive stage: its loss, its batches, and its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion.errors import BadInput
from submillion.fit import head_start
from submillion.fit.contrastive import BalancedBatches, ContrastiveStage, pair_loss
from submillion.fit.fit import fit
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.result import FitResult
from submillion.fit.step import Stepper
from submillion.fit.workers import Workers
from submillion.model.execution.reference import Reference
from submillion.recipe import ContrastiveRecipe
from submillion.rundir import RunDir
from support.fit_stub import (
    FLOAT32,
    Disturbed,
    StubClassifier,
    made_set,
    press_ctrl_c,
    same_tensors,
    train_recipe,
    without_timings,
)


def test_the_loss_is_the_formula_of_the_paper() -> None:
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    labels = [0, 1, 0, 1, 0, 2]
    z = (features / features.norm(dim=1, keepdim=True)).double().numpy()
    pairs = [(one, two) for one in range(6) for two in range(one)]
    together = [(1 - z[one] @ z[two]) ** 2 for one, two in pairs if labels[one] == labels[two]]
    apart = [(z[one] @ z[two]) ** 2 for one, two in pairs if labels[one] != labels[two]]
    loss = pair_loss(features, torch.tensor(labels))
    assert float(loss) == pytest.approx(np.mean(together) + np.mean(apart), rel=1e-5)


def test_a_batch_of_one_class_has_a_loss() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert float(pair_loss(features, torch.tensor([3, 3]))) == 1.0


def test_a_batch_has_as_many_texts_of_each_class() -> None:
    labels = np.array([0] * 50 + [1] * 9 + [2] * 3)
    batches = BalancedBatches(labels, batch_size=12, seed=5)
    for step in range(20):
        rows = batches.rows_at(step)
        assert len(set(rows.tolist())) == len(rows)
        assert np.bincount(labels[rows]).tolist() in ([4, 4, 3], [4, 3, 3], [4, 3, 2], [4, 4, 2])


def test_all_texts_of_a_class_are_seen_before_one_is_seen_again() -> None:
    batches = BalancedBatches(np.array([0] * 12 + [1] * 12), batch_size=8, seed=5)
    seen = np.concatenate([batches.rows_at(step) for step in range(3)])
    assert sorted(seen.tolist()) == list(range(24))
    assert batches.rows_at(3).tolist() != batches.rows_at(0).tolist()


def test_many_classes_take_turns_with_two_texts_each() -> None:
    batches = BalancedBatches(np.repeat(np.arange(10), 4), batch_size=8, seed=5)
    rows = [batches.rows_at(step) for step in range(5)]
    assert [len(batch) for batch in rows] == [8] * 5
    assert sorted(np.concatenate(rows).tolist()) == list(range(40))


def test_classes_of_one_text_each_have_nothing_to_be_close_to() -> None:
    with pytest.raises(BadInput, match="one text of each class"):
        BalancedBatches(np.arange(5), batch_size=8, seed=5)


class WithFeatures(Reference):
    """The reference execution of a stub, whose features are those before its output layer."""

    step_tokens: int | None = None

    def features(self, tokens: Any, rows: np.ndarray, seed: int = 0, prefix: Any = None) -> torch.Tensor:
        """Return the output layer's inputs [B, D]."""
        received: list[torch.Tensor] = []
        output = self.classifier.module.output
        handle = output.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
        self.logits(tokens, rows, seed, prefix)
        handle.remove()
        return received[0]


def after_steps(
    steps: int, step_tokens: int | None = None, dropout: float = 0.2
) -> tuple[StubClassifier, list[float]]:
    """Run steps of a stage on a stub; return it, and the losses."""
    classifier = StubClassifier(dropout)
    execution = WithFeatures(classifier, FLOAT32)
    execution.step_tokens = step_tokens
    recipe = ContrastiveRecipe(steps=20, batch_size=24, learning_rate=0.01)
    plan = TrainingPlan(train_recipe(), seed=7, head_start="probe", contrastive=recipe)
    stepper = Stepper(execution, made_set(60, seed=1), plan.train, 7, Workers.start())
    stage = ContrastiveStage(stepper, plan)
    classifier.train()
    return classifier, [float(stage.step(number).loss) for number in range(steps)]


def test_a_stage_lowers_its_loss() -> None:
    _, losses = after_steps(20)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_a_batch_in_several_passes_has_the_gradient_of_its_loss() -> None:
    one, losses = after_steps(3, dropout=0.0)
    several, in_parts = after_steps(3, step_tokens=40, dropout=0.0)
    assert in_parts == pytest.approx(losses, rel=1e-4)
    for name, value in one.tensors().items():
        torch.testing.assert_close(several.tensors()[name], value, atol=2e-4, rtol=1e-3)


def test_a_batch_in_several_passes_repeats_their_dropout() -> None:
    passes: list[torch.Tensor] = []

    class Recorded(WithFeatures):
        def features(self, *arguments: Any, **options: Any) -> torch.Tensor:
            passes.append(super().features(*arguments, **options))
            return passes[-1]

    execution = Recorded(StubClassifier(), FLOAT32)
    execution.step_tokens = 40
    plan = TrainingPlan(
        train_recipe(), seed=7, head_start="probe", contrastive=ContrastiveRecipe(steps=1, batch_size=24)
    )
    stepper = Stepper(execution, made_set(60, seed=1), plan.train, 7, Workers.start())
    execution.classifier.train()
    ContrastiveStage(stepper, plan).step(0)
    half = len(passes) // 2
    assert half > 1
    assert all(torch.equal(first, again) for first, again in zip(passes[:half], passes[half:], strict=True))


def staged(folder: Path, classifier: StubClassifier, resume: bool = False) -> tuple[FitResult, RunDir]:
    """Train a stub with a contrastive stage of 6 steps, a probe, and 4 steps."""
    folder.mkdir(exist_ok=True)
    recipe = ContrastiveRecipe(steps=6, batch_size=12, learning_rate=0.01)
    train = train_recipe(steps=4, log_every=2)
    plan = TrainingPlan(train, seed=7, head_start="probe", contrastive=recipe)
    result = fit(
        WithFeatures(classifier, FLOAT32),
        made_set(60, seed=1),
        made_set(30, seed=2),
        plan=plan,
        run=RunDir(folder),
        workers=Workers.start(),
        options=FitOptions(resume, progress=False),
    )
    return result, RunDir(folder)


@pytest.mark.parametrize("stop_at", [3, 8])
def test_a_stage_stopped_by_the_user_is_continued_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Passes: 6 steps of the stage, 1 for the probe, 1 evaluation of the start, then the steps."""
    monkeypatch.setattr(head_start, "output_layer", lambda classifier: classifier.module.output)
    undisturbed = StubClassifier()
    result, run = staged(tmp_path / "whole", undisturbed)
    stopped, _ = staged(tmp_path / "run", Disturbed(stop_at, press_ctrl_c))
    assert stopped.interrupted
    assert stopped.contrastive_steps == min(stop_at, 6)
    continued = StubClassifier()
    resumed, again = staged(tmp_path / "run", continued, resume=True)
    assert same_tensors(continued, undisturbed)
    assert without_timings(again.read_history()) == without_timings(run.read_history())
    assert resumed.head_start == result.head_start
    kinds = [(record["kind"], record["step"]) for record in run.read_history()]
    stage = [("contrastive", 2), ("contrastive", 4), ("contrastive", 6)]
    assert kinds[:4] == [*stage, ("eval", 0)]
