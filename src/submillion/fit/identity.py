"""The identity of a training: everything its steps depend on; a saved state continues only the same training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.plan import TrainingPlan
from submillion.recipe import TrainRecipe

CLASSIFIER = ("encoder.", "lora.", "head.")
"""Beginnings of the names of recipe fields that the classifier is built from."""
DEFAULTS = TrainingPlan(TrainRecipe(), seed=0).to_json()
"""Values of recipe fields that a checkpoint written by an older version does not record."""


def training_identity(
    texts: Iterable[LabelledTokens],
    layout: list[tuple[str, list[int]]],
    plan: TrainingPlan,
    processes: int,
) -> dict[str, Any]:
    """Return everything that the steps of a training depend on, as JSON values.

    Args:
        texts: training set and validation set.
        layout: names and shapes of the trained parameters, in the optimizer's order.
        plan: how to train.
        processes: number of processes.
    """
    hashed = hashlib.sha256()
    for labelled in texts:
        for array in (labelled.tokens.ids, labelled.tokens.offsets, labelled.labels):
            hashed.update(np.ascontiguousarray(array).data)
    return {
        **plan.to_json(),
        "number of processes": processes,
        "texts and labels": hashed.hexdigest(),
        "trainable parameters": layout,
    }
