"""One optimizer step: its texts through the model, their gradients added up, the values moved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from submillion.data.batches import pieces
from submillion.fit import schedule
from submillion.fit.adalora import RankAllocation
from submillion.fit.batch_schedule import Feed, Rows, share
from submillion.fit.interrupt import Interrupt
from submillion.fit.optimizer import FlatAdamW
from submillion.fit.workers import Workers
from submillion.model.execution.reference import Reference
from submillion.model.execution.transfer import moved
from submillion.recipe import TrainRecipe

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier
    from submillion.model.execution.reference import Execution
    from submillion.model.precision import Precision

PART_BITS = 16  # of a dropout seed: which part of its step


@dataclass(frozen=True)
class Done:
    """What one step did; the tensors are 0-dim, on the device, unread."""

    loss: torch.Tensor
    """Sum of the losses of the step's texts, over all processes."""
    norm: torch.Tensor
    """Norm of their gradient, before clipping."""
    texts: int
    tokens: int
    stop: bool
    """Whether any process was asked to stop."""


class Stepper:
    """Does the steps of a training; texts, rate and dropout of a step follow from its number alone."""

    def __init__(
        self,
        classifier: Classifier,
        rows: Rows,
        recipe: TrainRecipe,
        seed: int,
        precision: Precision,
        workers: Workers,
        execution: Execution | None = None,
    ) -> None:
        self._rows, self._recipe, self._workers = rows, recipe, workers
        self._execution = execution or Reference(classifier, precision)
        self._lengths = rows.tokens.lengths
        self._labels = torch.from_numpy(rows.labels)
        self.optimizer = FlatAdamW(
            classifier.module, recipe.weight_decay, recipe.max_grad_norm, recipe.lora_plus_ratio
        )
        self.feed = Feed(self._lengths, recipe, seed, workers.world)
        self._allocation = RankAllocation.of(classifier.module, self.feed.total_steps)
        self._warmup = schedule.warmup_steps(self.feed.total_steps, recipe.warmup_ratio)
        # Consecutive steps, and processes, take consecutive seeds from a start of the recipe's seed's own.
        self._dropout_seed = int.from_bytes(hashlib.sha256(f"dropout {seed}".encode()).digest()[:4], "big")

    def do(self, step: int, interrupt: Interrupt, spent: float = 0.0) -> Done:
        """Do optimizer step `step`, counted from 0.

        Args:
            step: its number; the values must be those that the step before it left.
            interrupt: whether this process was asked to stop, also while the step is under way.
            spent: seconds of training before it, where the recipe limits them.
        """
        optimizer, workers = self.optimizer, self._workers
        batches = self.feed.at(step)
        rows = np.concatenate(batches)
        seed = self._dropout_seed + step * workers.world + workers.rank
        self._seed_dropout(seed)
        optimizer.zero_gradients()
        # The last batch of an epoch may have fewer texts than there are processes: then some have no piece.
        mine = [share(batch, workers.rank, workers.world) for batch in batches]
        parts = [part for batch in mine for part in pieces(batch, self._lengths, self._execution.step_tokens)]
        for number, part in enumerate(parts):
            loss = self.loss_of(part, seed << PART_BITS | number)
            # Divided by the texts of the whole step. A mean of the means of parts or processes would give the
            # texts of a small last one more weight than others have.
            (loss / len(rows)).backward()
            optimizer.exchange[-2] += loss.detach()
        if self._allocation:  # each process adds its share, so that their sum has it once
            (self._allocation.penalty() / workers.world).backward()
        optimizer.exchange[-1] = float(interrupt.wished)
        workers.add_up(optimizer.exchange)
        norm = optimizer.step(self.learning_rate(step, spent))
        if self._allocation:
            self._allocation.after(step + 1)
        if workers.world == 1:
            stop = interrupt.wished
        else:
            # All processes must stop at the same step, so all go by the sum of their wishes. Reading it makes
            # an accelerator wait; there it is read only where the losses are read too.
            may_read = workers.device.type == "cpu" or (step + 1) % self._recipe.log_every == 0
            stop = may_read and bool(optimizer.exchange[-1].item() > 0)
        tokens = int(self._lengths[rows].sum())
        return Done(optimizer.exchange[-2].clone(), norm, len(rows), tokens, stop)

    def loss_of(self, rows: np.ndarray, seed: int) -> torch.Tensor:
        """Return the sum of the losses of the texts `rows`; the one place where training runs the model.

        Args:
            seed: what this batch's dropout is drawn from, where the execution draws it.
        """
        logits = self._execution.logits(self._rows.tokens, rows, seed, self._rows.prefix)
        return functional.cross_entropy(
            logits,
            moved(self._labels[rows], self._workers.device),
            reduction="sum",
            label_smoothing=self._recipe.label_smoothing,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """Return what the steps to come depend on, by name; the tensors are the live ones, not copies."""
        return self.optimizer.state() | (self._allocation.state() if self._allocation else {})

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` returned."""
        self.optimizer.load(tensors)
        if self._allocation:
            self._allocation.load(tensors)

    def learning_rate(self, step: int, spent: float = 0.0) -> float:
        """Return the learning rate of step `step`, before which training took `spent` seconds."""
        total = self.feed.total_steps
        position = schedule.position(step, total, spent, self._recipe.max_seconds)
        return self._recipe.learning_rate * schedule.linear(position, total, self._warmup)

    def _seed_dropout(self, value: int) -> None:
        """Seed what dropout draws from, so that no generator's state need be kept for a resumed run."""
        value %= 2**32
        torch.default_generator.manual_seed(value)  # torch.manual_seed does this too, in 200 times the time
        if self._workers.device.type != "cpu":
            torch.get_device_module(self._workers.device).manual_seed(value)
