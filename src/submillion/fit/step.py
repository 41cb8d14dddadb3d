"""One optimizer step: forward and backward passes over its texts, then the update of the trained values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from submillion.data.batches import micro_batches
from submillion.fit.adalora import RankAllocation
from submillion.fit.batch_schedule import BatchSchedule, share
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.learning_rate import linear_factor, schedule_position, warmup_steps
from submillion.fit.loss import TrainingLoss
from submillion.fit.optimizer import FlatAdamW
from submillion.fit.weight_average import WeightAverage
from submillion.fit.workers import Workers
from submillion.model.protocol import Execution
from submillion.model.transfer import to_device
from submillion.recipe import TrainRecipe

PIECE_BITS = 16  # bits of a dropout seed that number the pieces of a step


@dataclass(frozen=True)
class StepResult:
    """Outcome of one step; the tensors are 0-dim, on the device, unread."""

    loss: torch.Tensor
    """Sum of the losses of the step's texts, over all processes."""
    norm: torch.Tensor
    """Norm of the gradient, before clipping."""
    texts: int
    tokens: int
    stop: bool
    """Whether a stop was requested in any process."""


class Stepper:
    """Runs the steps of a training; texts, learning rate and dropout of a step follow from its number alone."""

    def __init__(
        self, execution: Execution, train: LabelledTokens, recipe: TrainRecipe, seed: int, workers: Workers
    ) -> None:
        """Prepare optimizer and batches; the trained parameters move into one buffer.

        Args:
            execution: runs the classifier, which is on the device of `workers`.
            train: the training set.
            recipe: optimizer, batches and learning rate.
            seed: the recipe's seed, from which batches and dropout are drawn.
            workers: the processes that train together.
        """
        self.execution, self.workers = execution, workers
        self.train, self._recipe = train, recipe
        self._lengths = train.tokens.lengths
        self._labels = torch.from_numpy(train.labels)
        module = execution.classifier
        self.optimizer = FlatAdamW(module, recipe.weight_decay, recipe.max_grad_norm, recipe.lora_plus_ratio)
        self.batches = BatchSchedule(self._lengths, recipe, seed, workers.world)
        self._allocation = RankAllocation.of(module.module, self.batches.total_steps)
        self._warmup = warmup_steps(self.batches.total_steps, recipe.warmup_ratio)
        classes = len(execution.classifier.label_names)
        self._loss = TrainingLoss(train.labels, classes, recipe, workers.device)
        self.average: WeightAverage | None = None
        """Of the trained values over the last steps; None if the recipe has none."""
        if recipe.average_from is not None:
            start = recipe.average_from * self.batches.total_steps
            self.average = WeightAverage(self.optimizer.values, start)
        # Consecutive steps and processes take consecutive seeds; each recipe seed starts at another number.
        self._dropout_seed = int.from_bytes(hashlib.sha256(f"dropout {seed}".encode()).digest()[:4], "big")

    def step(self, number: int, interrupt: Interrupt, elapsed_s: float = 0.0) -> StepResult:
        """Run one optimizer step.

        Args:
            number: of the step, counted from 0; the values must be those that the step before it left.
            interrupt: whether this process was asked to stop, also during the step.
            elapsed_s: seconds of training before the step; used if the recipe limits them.
        """
        optimizer, workers = self.optimizer, self.workers
        batches = self.batches.batches_at(number)
        rows = np.concatenate(batches)
        seed = self._dropout_seed + number * workers.world + workers.rank
        self.seed_dropout(seed)
        optimizer.zero_gradients()
        # The last batch of an epoch may have fewer texts than there are processes; some shares are then empty.
        shares = [share(batch, workers.rank, workers.world) for batch in batches]
        parts = [
            part
            for batch in shares
            for part in micro_batches(batch, self._lengths * self._loss.passes, self.execution.step_tokens)
        ]
        for index, part in enumerate(parts):
            loss = self.loss_of(part, seed << PIECE_BITS | index)
            # Divided by the texts of the whole step. A mean over the means of parts or processes would weight
            # the texts of a small last part more than the others.
            torch.autograd.backward(loss / len(rows))
            optimizer.exchange[-2] += loss.detach()
        if self._allocation:  # each process adds its share, so that their sum has the penalty once
            torch.autograd.backward(self._allocation.penalty() / workers.world)
        optimizer.exchange[-1] = float(interrupt.stop_requested)
        workers.add_up(optimizer.exchange)
        norm = optimizer.step(self.learning_rate(number, elapsed_s))
        if self._allocation:
            self._allocation.after(number + 1)
        if self.average:
            self.average.after(self._position(number, elapsed_s))
        stop = self._is_stop_requested(number, interrupt)
        tokens = int(self._lengths[rows].sum())
        return StepResult(optimizer.exchange[-2].clone(), norm, len(rows), tokens, stop)

    def loss_of(self, rows: np.ndarray, seed: int) -> torch.Tensor:
        """Return the sum of the losses of the texts `rows`; the only place where training runs the model.

        Args:
            rows: indices into the training set.
            seed: of this pass's dropout, for executions that draw it themselves.
        """
        # With R-Drop one batch holds each text twice; its dropout differs, because it is drawn by place in the batch.
        repeated = np.tile(rows, self._loss.passes)
        logits = self.execution.logits(self.train.tokens, repeated, seed, self.train.prefix)
        return self._loss.sum(logits, to_device(self._labels[rows], self.workers.device))

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors that later steps depend on, by name: the live ones, not copies."""
        tensors = self.optimizer.state()
        for part in (self._allocation, self.average):
            tensors |= part.state() if part else {}
        return tensors

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore the tensors that `state` returned."""
        self.optimizer.load(tensors)
        if self._allocation:
            self._allocation.load(tensors)
        if self.average:
            self.average.load(tensors)

    def learning_rate(self, number: int, elapsed_s: float = 0.0) -> float:
        """Return the learning rate of a step, before which training took `elapsed_s` seconds."""
        position = self._position(number, elapsed_s)
        return self._recipe.learning_rate * linear_factor(position, self.batches.total_steps, self._warmup)

    def _position(self, number: int, elapsed_s: float) -> float:
        return schedule_position(number, self.batches.total_steps, elapsed_s, self._recipe.max_seconds)

    def _is_stop_requested(self, number: int, interrupt: Interrupt) -> bool:
        """Return whether any process was asked to stop, the same in all of them."""
        if self.workers.world == 1:
            return interrupt.stop_requested
        # All processes must stop at the same step, so all use the sum of their requests. Reading it makes an
        # accelerator wait, so there it is read only at the steps at which the losses are read too.
        is_cpu = self.workers.device.type == "cpu"
        may_read = is_cpu or (number + 1) % self._recipe.log_every == 0
        return may_read and bool(self.optimizer.exchange[-1].item() > 0)

    def seed_dropout(self, value: int) -> None:
        """Seed the generators that dropout draws from, so that a resumed run needs no saved generator state.

        `fit` restores the generators afterwards.
        """
        value %= 2**32
        torch.default_generator.manual_seed(value)  # 200 times as fast as torch.manual_seed
        if self.workers.device.type != "cpu":
            torch.get_device_module(self.workers.device).manual_seed(value)
