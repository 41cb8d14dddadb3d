"""The batch schedule: which texts each optimizer step takes, in batches shared among the processes."""

from __future__ import annotations

import math

import numpy as np

from submillion.data.batches import length_grouped, split_largest, token_grouped
from submillion.errors import SubmillionError
from submillion.recipe_training import MAX_TEXTS, TrainRecipe


class BatchSchedule:
    """The batches of a whole training, by the number of the optimizer step.

    A batch is `batch_size` texts, or as many as `batch_tokens` holds, for each process; a step takes
    `gradient_accumulation_steps` of them, the last step of an epoch the remaining ones. All processes draw the
    same batches, then each takes its share, so two processes train as one does with twice the batch. Everything
    follows from seed and step number.

    All epochs have the same number of steps. Batches by tokens vary in number from epoch to epoch: the epoch with
    the most batches decides, and the others split a few of theirs in half. `steps` may end the last epoch early.
    """

    def __init__(self, lengths: np.ndarray, recipe: TrainRecipe, seed: int, world: int = 1) -> None:
        """Plan the steps. Batches are drawn one epoch at a time; batches by tokens are also counted here.

        Args:
            lengths: tokens per text [N].
            recipe: batch size or tokens, accumulation, grouping, epochs or steps, and how often to evaluate.
            seed: the recipe's seed, from which the order of the texts is drawn.
            world: number of processes.
        """
        self._lengths = lengths
        self._grouped = recipe.group_by_length
        self._seed = seed
        self._batch_size = recipe.batch_size * world
        self._batch_tokens = None if recipe.batch_tokens is None else recipe.batch_tokens * world
        self._per_step = recipe.gradient_accumulation_steps
        limit = None if recipe.max_tokens is None else -(-recipe.max_tokens // int(lengths.sum()))
        self.steps_per_epoch, epochs = self._divided(recipe, limit)
        self.total_steps = self.steps_per_epoch * epochs if recipe.steps is None else recipe.steps
        self._epoch: int | None = None
        self._batches: list[np.ndarray] = []
        if recipe.max_tokens is not None and epochs:
            tokens_of_last = recipe.max_tokens - (epochs - 1) * int(lengths.sum())
            reached = self._step_reaching(tokens_of_last, epochs - 1)
            self.total_steps = reached if recipe.steps is None else min(reached, recipe.steps)
        self.evaluation_interval = self._interval(recipe)
        """Optimizer steps between two evaluations."""

    def batches_at(self, step: int) -> list[np.ndarray]:
        """Return the batches (rows of all processes) of optimizer step `step`, counted from 0."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._draw(epoch)
        return self._batches[within * self._per_step : (within + 1) * self._per_step]

    def epochs_after(self, step: int) -> float:
        """Return the number of epochs done after `step` steps; an int if it is whole."""
        epochs = step / self.steps_per_epoch
        return int(epochs) if epochs.is_integer() else round(epochs, 4)

    def _divided(self, recipe: TrainRecipe, most_epochs: int | None) -> tuple[int, int]:
        """Return the steps per epoch and the epochs begun, of which there are at most `most_epochs`."""

        def limited(epochs: int) -> int:
            return epochs if most_epochs is None else min(epochs, most_epochs)

        if recipe.steps is None:
            epochs = limited(recipe.epochs)
            return self._steps_of(range(epochs)), epochs
        per_epoch, epochs = self._steps_of(range(1)), 1
        # Further epochs may have more batches by tokens, and then fewer of them are needed.
        while self._batch_tokens is not None and epochs < limited(-(-recipe.steps // per_epoch)):
            per_epoch = max(per_epoch, self._steps_of(range(epochs, epochs + 1)))
            epochs += 1
        return per_epoch, limited(-(-recipe.steps // per_epoch))

    def _steps_of(self, epochs: range) -> int:
        """Return the steps of the longest of some epochs."""
        if self._batch_tokens is None:
            batches = -(-len(self._lengths) // self._batch_size)
        else:
            batches = max(len(self._group(epoch)) for epoch in epochs)
        return -(-batches // self._per_step)

    def _interval(self, recipe: TrainRecipe) -> int:
        if recipe.evaluation_share is not None:
            return max(1, math.ceil(self.total_steps * recipe.evaluation_share))
        return recipe.eval_every if isinstance(recipe.eval_every, int) else self.steps_per_epoch

    def _step_reaching(self, tokens: int, epoch: int) -> int:
        """Return the step, counted from 1, in which the last epoch reaches a number of its tokens."""
        first = epoch * self.steps_per_epoch
        sums = [
            int(self._lengths[np.concatenate(self.batches_at(first + step))].sum())
            for step in range(self.steps_per_epoch)
        ]
        reached = int(np.searchsorted(np.cumsum(sums), tokens)) + 1
        return first + min(reached, self.steps_per_epoch)

    def _draw(self, epoch: int) -> list[np.ndarray]:
        """Draw the batches of an epoch.

        Raises:
            SubmillionError: they do not hold every text exactly once (a bug).
        """
        batches = self._group(epoch)
        if self._batch_tokens is not None:
            # Enough batches that the epoch's last step is not empty.
            batches = split_largest(batches, (self.steps_per_epoch - 1) * self._per_step + 1)
        rows = sum(map(len, batches))
        if rows != len(self._lengths) or -(-len(batches) // self._per_step) != self.steps_per_epoch:
            raise SubmillionError(
                f"epoch {epoch}: expected every text once, found {rows} rows in {len(batches)} batches."
            )
        return batches

    def _group(self, epoch: int) -> list[np.ndarray]:
        lengths, seed = self._lengths, self._seed
        if self._batch_tokens is None:
            # Texts of equal length are only shuffled.
            compared = lengths if self._grouped else np.ones_like(lengths)
            return length_grouped(compared, self._batch_size, seed, epoch)
        max_texts = MAX_TEXTS * self._batch_size
        return token_grouped(lengths, self._batch_tokens, max_texts, seed, epoch, self._grouped)


def share(rows: np.ndarray, rank: int, world: int) -> np.ndarray:
    """Return one process's rows: every `world`-th, so that shares of rows sorted by length have similar lengths."""
    return rows[rank::world]
