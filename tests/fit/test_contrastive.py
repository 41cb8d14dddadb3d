"""Tests of the contrastive stage: its loss, its batches, and its steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from submillion.errors import BadInput
from submillion.fit.contrastive import BalancedBatches, ContrastiveStage, supervised_contrastive
from submillion.fit.plan import TrainingPlan
from submillion.fit.step import Stepper
from submillion.fit.workers import Workers
from submillion.model.execution.reference import Reference
from submillion.recipe import ContrastiveRecipe
from support.fit_stub import FLOAT32, StubClassifier, made_set, train_recipe


def test_the_loss_is_the_formula_of_the_paper() -> None:
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    labels = [0, 1, 0, 1, 0, 2]
    z = (features / features.norm(dim=1, keepdim=True)).double().numpy()
    losses = []
    for anchor in range(6):
        positives = [other for other in range(6) if other != anchor and labels[other] == labels[anchor]]
        if not positives:
            continue  # the only text of class 2
        everything = sum(np.exp(z[anchor] @ z[other] / 0.5) for other in range(6) if other != anchor)
        shares = [np.exp(z[anchor] @ z[other] / 0.5) / everything for other in positives]
        losses.append(-np.mean(np.log(shares)))
    loss = supervised_contrastive(features, torch.tensor(labels), temperature=0.5)
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)


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
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1


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
