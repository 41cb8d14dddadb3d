"""Tests of the training loss against its formulas in plain torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from submillion.errors import BadInput
from submillion.fit.loss import TrainingLoss, check_r_drop, symmetric_divergence
from submillion.recipe import TrainRecipe
from support.fit_stub import train_recipe

CLASSES = 4
LABELS = np.repeat([0, 1, 2], [10, 5, 1])  # no text of class 3
TARGETS = torch.tensor([0, 2, 1, 0, 1])


def logits(rows: int = 5) -> torch.Tensor:
    return torch.randn(rows, CLASSES, generator=torch.Generator().manual_seed(rows)) * 3


def loss(given: torch.Tensor, **fields: Any) -> torch.Tensor:
    recipe = train_recipe(**fields)
    return TrainingLoss(LABELS, CLASSES, recipe, torch.device("cpu")).sum(given, TARGETS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_options_it_is_the_cross_entropy(smoothing: float) -> None:
    expected = functional.cross_entropy(logits(), TARGETS, reduction="sum", label_smoothing=smoothing)
    assert torch.equal(loss(logits(), label_smoothing=smoothing), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_balanced_weights_and_adjustment_compose_with_smoothing(smoothing: float) -> None:
    fields = {"class_weights": "balanced", "logit_adjustment": 1.5, "label_smoothing": smoothing}
    shares = torch.tensor([10, 5, 1, 1]) / 16  # the absent class counts as if it had one text
    log_p = (logits() + 1.5 * shares.log()).log_softmax(dim=1)
    smooth = torch.nn.functional.one_hot(TARGETS, CLASSES) * (1 - smoothing) + smoothing / CLASSES
    weights = 16 / (3 * torch.tensor([10.0, 5.0, 1.0, 1.0]))
    expected = -(weights[TARGETS] * (smooth * log_p).sum(dim=1)).sum()
    torch.testing.assert_close(loss(logits(), **fields), expected)


def test_balanced_weights_of_the_training_texts_have_the_mean_1() -> None:
    whole = TrainingLoss(LABELS, CLASSES, train_recipe(class_weights="balanced"), torch.device("cpu"))
    even = torch.zeros(len(LABELS), CLASSES)  # every text has the loss log 4
    assert whole.sum(even, torch.tensor(LABELS)).item() == pytest.approx(len(LABELS) * np.log(4), rel=1e-6)


def test_zero_adjustment_of_equal_classes_leaves_the_gradient() -> None:
    even = TrainingLoss(np.arange(CLASSES), CLASSES, train_recipe(logit_adjustment=1), torch.device("cpu"))
    plain = functional.cross_entropy(logits(), TARGETS, reduction="sum")
    torch.testing.assert_close(even.sum(logits(), TARGETS), plain)  # a constant added to all logits


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_r_drop_adds_the_symmetric_divergence_of_two_passes(weights: str) -> None:
    first, second = logits(), logits(10)[5:]
    given = torch.cat([first, second])
    both = [functional.cross_entropy(half, TARGETS, reduction="none") for half in (first, second)]
    p, q = first.softmax(dim=1), second.softmax(dim=1)
    kl = functional.kl_div
    divergence = kl(q.log(), p, reduction="none").sum(1) + kl(p.log(), q, reduction="none").sum(1)
    each = (both[0] + both[1]) / 2 + 3.0 * divergence / 2
    if weights == "balanced":
        each = each * (16 / (3 * torch.tensor([10.0, 5.0, 1.0, 1.0])))[TARGETS]
    torch.testing.assert_close(loss(given, r_drop=3.0, class_weights=weights), each.sum())


def test_divergence_of_equal_or_extreme_predictions_is_finite() -> None:
    assert symmetric_divergence(logits(), logits()).abs().max() == 0
    assert torch.isfinite(symmetric_divergence(1e4 * logits(), -1e4 * logits())).all()


def test_r_drop_needs_something_that_is_dropped() -> None:
    with pytest.raises(BadInput, match="expected a dropout above 0 beside it, found none"):
        check_r_drop(TrainRecipe(r_drop=1.0), torch.nn.Sequential(torch.nn.Dropout(0.0)))
    check_r_drop(TrainRecipe(r_drop=1.0), torch.nn.Sequential(torch.nn.Dropout(0.0), torch.nn.Dropout(0.1)))
    check_r_drop(TrainRecipe(), torch.nn.Sequential())
