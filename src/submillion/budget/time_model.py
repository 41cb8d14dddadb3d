"""Predicts the speed and the hours of any depth and targets from a few timed layers.

With L layers and the lowest adapted layer at index l, a step of B texts costs, in seconds:

    all layers run in every step    l frozen + lowest + (L - l - 2) between + last
    the lower ones are cached       lowest + (L - l - 2) between + last

`last` includes everything that happens once per step or per text except the embeddings: the last layer (of which a head
that pools the first token needs only that token), the head, the loss and the optimizer. If only the last layer is
adapted, `lowest` and `between` are absent. Layers above the lowest adapted one count as `between` even without an
adapter, because the gradient passes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from submillion.families.families import family_of
from submillion.recipe import LoraRecipe

DEFAULT_ROWS, DEFAULT_TOKENS, DEFAULT_EPOCHS = 108_000, 53.0, 5
"""AG News: 120,000 training texts less a tenth for validation, 53 tokens on average (truncated at 128), 5 epochs."""


@dataclass(frozen=True)
class Cost:
    """Seconds of some work on a batch, linear in the number of texts."""

    fixed: float
    """Seconds per batch."""
    per_text: float
    """Seconds per text."""

    @classmethod
    def through(cls, small: int, small_s: float, large: int, large_s: float) -> Cost:
        """Return the line through two measurements; with a negative slope or offset (noise), all time is per text."""
        per_text = (large_s - small_s) / (large - small) if large > small else 0.0
        fixed = small_s - small * per_text
        return cls(fixed, per_text) if per_text > 0 and fixed >= 0 else cls(0.0, large_s / large)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.fixed + other.fixed, self.per_text + other.per_text)

    def __sub__(self, other: Cost) -> Cost:
        """Return the difference, at least zero."""
        return Cost(max(0.0, self.fixed - other.fixed), max(0.0, self.per_text - other.per_text))

    def times(self, factor: float) -> Cost:
        """Return the cost of `factor` repetitions."""
        return Cost(factor * self.fixed, factor * self.per_text)

    def seconds(self, texts: float) -> float:
        """Return the seconds of one batch of `texts` texts."""
        return self.fixed + self.per_text * texts


@dataclass(frozen=True)
class AdaptedCost:
    """The cost of layers in a training step, forward and backward, with adapters on some targets."""

    width: int
    """Trainable parameters per unit of rank in one layer: sum of (in + out) over its adapted matrices."""
    lowest: Cost
    """The lowest adapted layer, below which no gradient is needed."""
    between: Cost
    """A layer between the lowest adapted one and the last one."""
    last: Cost
    """The last layer, with head, loss and optimizer."""

    def interpolated(self, other: AdaptedCost, share: float) -> AdaptedCost:
        """Return the linear interpolation to `other`: 0 gives this cost, 1 the other one."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("lowest", "between", "last"))
        costs = [mine.times(1 - share) + theirs.times(share) for mine, theirs in pairs]
        return AdaptedCost(round(self.width + share * (other.width - self.width)), *costs)


@dataclass(frozen=True)
class Measurement:
    """The layer costs that were measured on this machine, for one encoder and one text length."""

    frozen: Cost
    """One layer in inference: when the prefix cache is filled, and in evaluation."""
    closing: Cost
    """The last layer and the head in evaluation."""
    adapted: Sequence[AdaptedCost]
    """One or two target sets, the one with the smaller width first."""
    facts: Mapping[str, Any]
    """How it was measured: seconds, texts, tokens, threads, device, execution, precision."""

    def at(self, width: int) -> AdaptedCost:
        """Return the cost at a width, interpolated between the measured ones."""
        first, last = self.adapted[0], self.adapted[-1]
        if first.width == last.width:
            return first
        share = (width - first.width) / (last.width - first.width)
        return first.interpolated(last, min(1.0, max(0.0, share)))


@dataclass(frozen=True)
class Workload:
    """The texts that a training takes, and how often."""

    rows: int
    """Training texts."""
    validation_rows: int
    tokens: float
    """Mean tokens per text after truncation, special tokens included."""
    epochs: float
    batch_size: int
    eval_batch_size: int
    source: str
    """Where these numbers come from, in words."""
    evaluations: float | None = None
    """Evaluations on all validation texts; None for one an epoch."""
    passes: int = 1
    """Passes over each text of a training step: 2 with R-Drop."""
    max_seconds: float | None = None
    """Time limit of steps and evaluations together; None if there is none."""
    windows: float = 1.0
    """Mean windows per text, which the encoder reads one by one; 1 if every text is read at once."""

    def to_json(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)


@dataclass(frozen=True)
class Speed:
    """The predicted speed of a configuration on this machine, for all epochs."""

    samples_per_s: float
    """Texts per second in training steps."""
    hours: float
    """Filling the prefix cache, all epochs and their evaluations."""
    prefix_s: float
    """Seconds to fill the prefix cache; 0 without one."""

    def to_json(self) -> dict[str, float]:
        """Return its fields, unrounded."""
        return asdict(self)


def speed_of(
    measurement: Measurement, config: Mapping[str, Any], lora: LoraRecipe, work: Workload, cached: bool = True
) -> Speed:
    """Return the predicted speed of a configuration.

    Args:
        measurement: of this encoder on this machine, at the length of the windows of `work`.
        config: the encoder's config.json.
        lora: which matrices of which layers carry adapters.
        work: the texts.
        cached: whether the layers below the lowest adapter run once per text and not in every step.
    """
    family = family_of(config)
    n_layers = family.n_layers(config)
    matrices = family.inventory(config, num_labels=2).matrices
    adapted = measurement.at(sum(matrices[name].per_rank for name in family.expand(lora.targets)))
    lowest = lora.layer_indices(n_layers)[0]
    run = n_layers - lowest
    step, evaluation = adapted.last, measurement.closing
    if run > 1:
        step += adapted.lowest + adapted.between.times(run - 2)
        evaluation += measurement.frozen.times(run - 1)
    step, evaluation, below = (
        Cost(cost.fixed, work.windows * cost.per_text)
        for cost in (step, evaluation, measurement.frozen.times(lowest))
    )
    if not cached:
        step, evaluation = step + below, evaluation + below
    prefix_s = _passes(below, work.rows + work.validation_rows, work.eval_batch_size) if cached else 0.0
    step = Cost(step.fixed, work.passes * step.per_text)
    training_s = work.epochs * _passes(step, work.rows, work.batch_size)
    evaluations = work.epochs if work.evaluations is None else work.evaluations
    training_s += evaluations * _passes(evaluation, work.validation_rows, work.eval_batch_size)
    return Speed(
        samples_per_s=work.batch_size / step.seconds(work.batch_size),
        hours=(prefix_s + min(training_s, work.max_seconds or math.inf)) / 3600,
        prefix_s=prefix_s,
    )


def _passes(cost: Cost, texts: int, batch_size: int) -> float:
    """Return the seconds of one pass over all texts."""
    return -(-texts // batch_size) * cost.fixed + texts * cost.per_text
