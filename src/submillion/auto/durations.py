"""The seconds that a run takes, by part: from a measurement of this machine, or from the class of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from submillion.auto.facts import Facts, Machine
from submillion.budget.cost import operations_per_token
from submillion.budget.time_model import Measurement, Workload, speed_of
from submillion.estimate.workload import evaluations_of, fold_trainings, steps_per_epoch
from submillion.families.families import family_of
from submillion.recipe import Recipe
from submillion.recipe_data import CROSS_VALIDATION

RATES = {"amx": 9e11, "bfloat16": 1.8e11, "float32": 7e10}
"""Operations per second and core in training steps, by arithmetic: 2 cores train 124, 21 and 8 texts/s of AG News in
all layers of roberta-base (docs/speed.md)."""
ACCELERATOR_RATE = 3e13
START_S = 10.0
"""Importing the libraries, loading and packing the encoder."""
REPORT_S = 12.0
"""Figures, card and page."""
BASELINE_S_PER_WORD = 6e-6
"""The linear models on the words of the training texts, all strengths and folds together, for each class."""


class Speed(Protocol):
    """Predicts how fast an encoder is trained."""

    def passes(self, recipe: Recipe, facts: Facts, work: Workload) -> tuple[float, float]:
        """Return the seconds to fill the prefix cache, and those of all steps with their evaluations."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return where the speed is known from."""
        ...


@dataclass(frozen=True)
class MeasuredSpeed:
    """The speed of one encoder, timed on this machine."""

    measurement: Measurement

    def passes(self, recipe: Recipe, facts: Facts, work: Workload) -> tuple[float, float]:
        """Return the seconds to fill the prefix cache, and those of all steps with their evaluations."""
        speed = speed_of(self.measurement, facts.config, recipe.lora, work)
        return speed.prefix_s, 3600 * speed.hours - speed.prefix_s

    def to_json(self) -> dict[str, Any]:
        """Return how it was measured."""
        return {"from": "a measurement of this machine", **self.measurement.facts}


@dataclass(frozen=True)
class NominalSpeed:
    """The speed of a class of machines: the same on every machine of the class, so that the decision is too."""

    machine: Machine

    def passes(self, recipe: Recipe, facts: Facts, work: Workload) -> tuple[float, float]:
        """Return the seconds to fill the prefix cache, and those of all steps with their evaluations."""
        family = family_of(facts.config)
        inventory = family.inventory(facts.config, facts.texts.classes)
        layer = sum(2 * matrix.inputs * matrix.outputs for matrix in inventory.matrices.values())
        lowest = recipe.lora.layer_indices(len(inventory.layers))[0]
        step = operations_per_token(family, inventory, recipe.lora, cached=True)
        upper = (len(inventory.layers) - lowest) * layer
        evaluations = work.epochs if work.evaluations is None else work.evaluations
        trained = work.epochs * work.rows * step + evaluations * work.validation_rows * upper
        below = (work.rows + work.validation_rows) * lowest * layer
        rate = (
            ACCELERATOR_RATE
            if self.machine.accelerator
            else RATES[self.machine.arithmetic] * self.machine.cores
        )
        return below * work.tokens / rate, trained * work.tokens / rate

    def to_json(self) -> dict[str, Any]:
        """Return the class of the machine."""
        return {"from": "the class of the machine"}


def durations(recipe: Recipe, facts: Facts, speed: Speed) -> dict[str, float]:
    """Return the seconds of a run by part: start, prefix, probe, training, cross_validation, scoring, report.

    Args:
        recipe: complete.
        facts: of its data and encoder.
        speed: of its encoder.
    """
    texts, data, train = facts.texts, recipe.data, recipe.train
    test = texts.test_rows or round((data.test_size or 0) * texts.rows)
    rows = texts.rows - (0 if texts.test_rows else test)
    crossed = data.validation == CROSS_VALIDATION
    validation = texts.validation_rows or (0 if crossed else round(data.validation_size * rows))
    if not texts.validation_rows:
        rows -= validation
    tokens, windows = facts.tokens.read(data), facts.tokens.windows(data)
    batch = train.batch_size * train.gradient_accumulation_steps
    per_epoch = steps_per_epoch(train, rows, tokens)
    epochs: float = train.epochs if train.steps is None else train.steps / per_epoch
    evaluations = evaluations_of(train, epochs, per_epoch)
    epochs += recipe.contrastive.steps * recipe.contrastive.batch_size / rows
    work = Workload(
        rows,
        validation,
        tokens,
        epochs,
        batch,
        train.eval_batch_size,
        "auto",
        evaluations=evaluations,
        windows=windows,
    )
    prefix, training = speed.passes(recipe, facts, work)

    def read(count: int, by: Speed = speed) -> tuple[float, float]:
        """Return the seconds in which the layers below the adapters, and those above, read some texts once."""
        once = replace(work, rows=1, validation_rows=count, epochs=0, evaluations=1)
        return by.passes(recipe, facts, once)

    # A busy machine takes longer for everything. Reading tells by how much; steps have costs of their own.
    slower = max(1.0, sum(read(rows)) / sum(read(rows, NominalSpeed(facts.machine))))

    probes = (recipe.head.start == "probe") + (recipe.head.finish == "probe")
    trainings = 1 + crossed * data.folds * data.repeats
    baselines = REPORT_S + BASELINE_S_PER_WORD * rows * texts.words * min(texts.classes, 20)
    parts = {
        "start": slower * START_S,
        "prefix": prefix,
        "probe": probes * trainings * read(rows)[1],
        "training": training,
        "cross_validation": training * fold_trainings(recipe),
        "scoring": sum(read(test)) + crossed * read(rows)[1],
        # One of the simpler models is a probe; the states below the adapters are cached, except those of test rows.
        "report": slower * baselines + read(rows + validation)[1] + sum(read(test)),
    }
    return {name: round(seconds, 1) for name, seconds in parts.items()}


def total(parts: Mapping[str, float]) -> float:
    """Return the seconds of all parts together."""
    return sum(parts.values())
