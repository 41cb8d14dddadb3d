"""The contrastive stage: adapters are trained so that texts of one class are close and those of others are not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from submillion.data.batches import micro_batches, permutation
from submillion.errors import BadInput, Problem
from submillion.fit.learning_rate import linear_factor, warmup_steps
from submillion.fit.plan import TrainingPlan
from submillion.fit.step import PIECE_BITS, Stepper

PER_CLASS = 2
"""Texts of each class in a batch that has not the place for more: every one has another one to be close to."""


@dataclass(frozen=True)
class ContrastiveStep:
    """Outcome of one step; the tensors are 0-dim and unread."""

    loss: torch.Tensor
    """See `pair_loss`."""
    norm: torch.Tensor
    """Norm of the gradient, before clipping."""
    rows: np.ndarray
    """The batch."""


class ContrastiveStage:
    """Runs the steps of the stage; texts, learning rate and dropout of a step follow from its number alone."""

    def __init__(self, stepper: Stepper, plan: TrainingPlan) -> None:
        """Prepare.

        Args:
            stepper: its classifier, texts and optimizer are used.
            plan: learning rate and batches.

        Raises:
            BadInput: no class has two texts.
        """
        self._stepper, self._plan = stepper, plan
        self._labels = torch.from_numpy(stepper.train.labels)
        self._batches = BalancedBatches(stepper.train.labels, plan.contrastive.batch_size, plan.seed)
        digest = hashlib.sha256(f"contrastive dropout {plan.seed}".encode()).digest()
        self._dropout_seed = int.from_bytes(digest[:4], "big")

    def learning_rate(self, number: int) -> float:
        """Return the learning rate of a step, counted from 0: warm-up and decay as in `TrainRecipe`."""
        recipe, ratio = self._plan.contrastive, self._plan.train.warmup_ratio
        return recipe.learning_rate * linear_factor(number, recipe.steps, warmup_steps(recipe.steps, ratio))

    def step(self, number: int) -> ContrastiveStep:
        """Run one optimizer step, counted from 0; the values must be those that the step before it left."""
        optimizer = self._stepper.optimizer
        rows = self._batches.rows_at(number)
        optimizer.zero_gradients()
        loss = self._backward(rows, self._dropout_seed + number)
        norm = optimizer.step(self.learning_rate(number))
        return ContrastiveStep(loss, norm, rows)

    def _backward(self, rows: np.ndarray, seed: int) -> torch.Tensor:
        """Add the gradient of a batch's loss, and return the loss.

        A batch that is more than one forward pass takes two rounds: the first computes all features and the gradient
        of the loss in them; the second repeats each pass, with the same dropout, and continues the gradient into the
        adapters (Gao et al. 2021, arXiv:2101.06983, section 3.2).
        """
        execution = self._stepper.execution
        lengths = self._stepper.train.tokens.lengths
        parts = micro_batches(rows, lengths, execution.step_tokens)
        labels = self._labels[rows]
        if len(parts) == 1:
            loss = pair_loss(self._features(rows, seed, 0), labels)
            torch.autograd.backward(loss)
            return loss.detach()
        with torch.no_grad():
            features = torch.cat([self._features(part, seed, place) for place, part in enumerate(parts)])
        features.requires_grad_()
        loss = pair_loss(features, labels)
        (gradient,) = torch.autograd.grad(loss, features)
        begin = 0
        for place, part in enumerate(parts):
            own = gradient[begin : begin + len(part)]
            begin += len(part)
            torch.autograd.backward(self._features(part, seed, place), own)
        return loss.detach()

    def _features(self, rows: np.ndarray, seed: int, place: int) -> torch.Tensor:
        """Return the features of one forward pass of a step, [rows, D]; equal arguments draw equal dropout."""
        piece = seed << PIECE_BITS | place
        self._stepper.seed_dropout(piece)
        train = self._stepper.train
        return self._stepper.execution.features(train.tokens, rows, piece, train.prefix)


class BalancedBatches:
    """Batches with equally many texts of each class, by the number of the step.

    Classes are dealt from one random order after another, and so are the texts of a class, so that all are seen
    equally often within their class. A class with fewer texts than its share of a batch is there with all of them.
    """

    def __init__(self, labels: np.ndarray, batch_size: int, seed: int) -> None:
        """Prepare.

        Args:
            labels: class index per text, int [N].
            batch_size: texts of a batch, at most.
            seed: the recipe's seed.

        Raises:
            BadInput: no class has two texts.
        """
        self._seed = seed
        self._rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if max(map(len, self._rows)) < PER_CLASS:
            raise BadInput(
                Problem(
                    "@{contrastive.steps}",
                    "0, or a class with two texts",
                    "one text of each class",
                    "The stage moves texts of one class together; add texts.",
                )
            )
        self._classes = min(len(self._rows), batch_size // PER_CLASS)
        """Classes in a batch."""
        self._share = batch_size // self._classes
        """Texts of a class in a batch."""

    def rows_at(self, step: int) -> np.ndarray:
        """Return the rows of a step's batch, counted from 0; int64, ascending, each once."""
        rows = []
        for slot in range(step * self._classes, (step + 1) * self._classes):
            cycle, place = divmod(slot, len(self._rows))
            number = permutation(len(self._rows), self._seed, 0, stream=cycle)[place]
            rows.append(self._of_class(int(number), cycle))
        return np.unique(np.concatenate(rows))

    def _of_class(self, number: int, cycle: int) -> np.ndarray:
        """Return the texts of a class in the `cycle`-th batch that it is in."""
        own = self._rows[number]
        share = min(self._share, len(own))
        places = [divmod(place, len(own)) for place in range(cycle * share, (cycle + 1) * share)]
        return own[
            [permutation(len(own), self._seed, 1 + number, stream=turn)[place] for turn, place in places]
        ]


def pair_loss(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of all pairs of texts in a batch, 0-dim.

    The mean of (1 - cosine)^2 over pairs of one class, plus the mean of cosine^2 over pairs of two: the loss of SetFit
    (Tunstall et al. 2022, arXiv:2209.11055, section 3), which draws as many pairs of either kind, over all pairs.

    Args:
        features: [B, D].
        labels: class index per text, int64 [B].
    """
    directions = functional.normalize(features, dim=1)
    cosines = directions @ directions.T
    labels = labels.to(features.device)
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=features.device)
    together, apart = cosines[same & ~itself], cosines[~same]
    # A batch may lack a kind: its sum is 0.
    return (1 - together).square().sum() / max(1, len(together)) + apart.square().sum() / max(1, len(apart))
