"""Which texts each optimizer step takes: the batches of each epoch, in steps, shared among processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from submillion.data.batches import length_grouped, split_up, token_grouped
from submillion.errors import SubmillionError
from submillion.recipe import TrainRecipe

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.prefix import PrefixCache

MOST_TEXTS = 8  # times batch_size: what a batch of `batch_tokens` holds at most, however short its texts


@dataclass
class Rows:
    """Labelled texts as the loop takes them."""

    tokens: Tokens
    labels: np.ndarray
    """Class index per text, int64 [N]."""
    prefix: PrefixCache | None = None
    """The output of the layers below the lowest adapter, where it is cached."""


class Feed:
    """The batches of a whole training, by the number of the optimizer step.

    A batch is `batch_size` texts, or as many as `batch_tokens` holds, for each process; a step takes
    `gradient_accumulation_steps` of them, the last step of an epoch what is left. All processes draw the same
    batches, then each takes its share, so two processes train as one does with twice the batch. Everything
    follows from seed and step number.

    All epochs have equally many steps. Batches by tokens come out a few more or fewer from epoch to epoch:
    the epoch with the most decides, and the others halve a few of theirs.
    """

    def __init__(self, lengths: np.ndarray, recipe: TrainRecipe, seed: int, world: int = 1) -> None:
        """Prepare; batches are drawn one epoch at a time, and by tokens also counted here, epoch by epoch.

        Args:
            lengths: tokens per text [N].
            recipe: batch size or tokens, accumulation, grouping and epochs.
            world: number of processes.
        """
        self._lengths = lengths
        self._grouped = recipe.group_by_length
        self._seed = seed
        self._batch_size = recipe.batch_size * world
        self._batch_tokens = None if recipe.batch_tokens is None else recipe.batch_tokens * world
        self._per_step = recipe.gradient_accumulation_steps
        epochs = recipe.epochs
        if recipe.max_tokens is not None:
            epochs = min(epochs, -(-recipe.max_tokens // int(lengths.sum())))
        if self._batch_tokens is None:
            batches = -(-len(lengths) // self._batch_size)
        else:
            batches = max(len(self._arranged(epoch)) for epoch in range(epochs))
        self.steps_per_epoch = -(-batches // self._per_step)
        self.total_steps = self.steps_per_epoch * epochs
        self._epoch: int | None = None
        self._batches: list[np.ndarray] = []
        if recipe.max_tokens is not None:
            self.total_steps = self._steps_of(
                recipe.max_tokens - (epochs - 1) * int(lengths.sum()), epochs - 1
            )

    def at(self, step: int) -> list[np.ndarray]:
        """Return the batches (rows of all processes) of optimizer step `step`, counted from 0."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._draw(epoch)
        return self._batches[within * self._per_step : (within + 1) * self._per_step]

    def epochs(self, step: int) -> float:
        """Return how many epochs are done after `step` steps; whole ones as int."""
        done = step / self.steps_per_epoch
        return int(done) if done.is_integer() else round(done, 4)

    def _steps_of(self, tokens: int, epoch: int) -> int:
        """Return the step, counted from 1, in which this epoch, the last one, reaches a number of its tokens."""
        first = epoch * self.steps_per_epoch
        sums = [
            int(self._lengths[np.concatenate(self.at(first + step))].sum())
            for step in range(self.steps_per_epoch)
        ]
        reached = int(np.searchsorted(np.cumsum(sums), tokens)) + 1
        return first + min(reached, self.steps_per_epoch)

    def _draw(self, epoch: int) -> list[np.ndarray]:
        batches = self._arranged(epoch)
        if self._batch_tokens is not None:
            # So many that the last step of the epoch has one at least.
            batches = split_up(batches, (self.steps_per_epoch - 1) * self._per_step + 1)
        rows = sum(map(len, batches))
        if rows != len(self._lengths) or -(-len(batches) // self._per_step) != self.steps_per_epoch:
            raise SubmillionError(
                f"epoch {epoch}: {rows} rows in {len(batches)} batches, not every text once"
            )
        return batches

    def _arranged(self, epoch: int) -> list[np.ndarray]:
        lengths, seed = self._lengths, self._seed
        if self._batch_tokens is None:
            # Texts that all count as equally long are only shuffled.
            counted = lengths if self._grouped else np.ones_like(lengths)
            return length_grouped(counted, self._batch_size, seed, epoch)
        most = MOST_TEXTS * self._batch_size
        return token_grouped(lengths, self._batch_tokens, most, seed, epoch, self._grouped)


def share(rows: np.ndarray, rank: int, world: int) -> np.ndarray:
    """Return one process's rows; dealt in turn, so that shares of rows sorted by length are alike."""
    return rows[rank::world]
