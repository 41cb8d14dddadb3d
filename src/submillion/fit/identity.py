"""The identity of a training: everything its steps depend on; a saved state continues only the same training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from submillion.fit.labelled_tokens import LabelledTokens
from submillion.recipe import TrainRecipe

# Defaults for recipe fields that a checkpoint written by an older version does not record.
DEFAULTS = {f"train.{name}": value for name, value in TrainRecipe().model_dump(mode="json").items()}


def training_identity(
    texts: Iterable[LabelledTokens],
    layout: list[tuple[str, list[int]]],
    recipe: TrainRecipe,
    seed: int,
    processes: int,
) -> dict[str, Any]:
    """Return everything that the steps of a training depend on, as JSON values.

    Args:
        texts: training set and validation set.
        layout: names and shapes of the trained parameters, in the optimizer's order.
        recipe: how to train.
        seed: the recipe's seed.
        processes: number of processes.
    """
    hashed = hashlib.sha256()
    for labelled in texts:
        for array in (labelled.tokens.ids, labelled.tokens.offsets, labelled.labels):
            hashed.update(np.ascontiguousarray(array).data)
    # The number of threads changes the last bits at most, so a run may continue with another one.
    fields = recipe.model_dump(mode="json", exclude={"threads"})
    return {
        **{f"train.{name}": value for name, value in fields.items()},
        "seed": seed,
        "number of processes": processes,
        "texts and labels": hashed.hexdigest(),
        "trainable parameters": layout,
    }
