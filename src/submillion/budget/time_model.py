"""From what a few batches took on this machine to the speed and the hours of any depth and targets.

L layers, the lowest adapted one with index l; what a step of B texts costs, in seconds:

    all layers run in every step    l frozen + lowest + (L - l - 2) between + last
    the lower ones are cached       lowest + (L - l - 2) between + last

`last` holds all that happens once per step or per text: embeddings aside, the last layer (whose first token alone is
wanted), the head, the loss and the optimizer. Where the last layer is the only adapted one, `lowest` and `between`
are absent. Layers above the lowest that carry no adapter count as `between`: a gradient passes them all the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from submillion.families.families import family_of
from submillion.recipe import LoraRecipe

DEFAULT_ROWS, DEFAULT_TOKENS, DEFAULT_EPOCHS = 108_000, 53.0, 5
"""AG News: 120,000 training texts less a tenth for validation, of 53 tokens in the mean (cut at 128), 5 epochs."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a piece of work on a batch, as a line through two batch sizes."""

    fixed: float
    per_text: float

    @classmethod
    def through(cls, small: int, small_s: float, large: int, large_s: float) -> Cost:
        """Return the line through two measurements; where noise turns it round, all of it is per text."""
        per_text = (large_s - small_s) / (large - small) if large > small else 0.0
        fixed = small_s - small * per_text
        return cls(fixed, per_text) if per_text > 0 and fixed >= 0 else cls(0.0, large_s / large)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.fixed + other.fixed, self.per_text + other.per_text)

    def __sub__(self, other: Cost) -> Cost:
        """Return what is left; nothing takes less than no time."""
        return Cost(max(0.0, self.fixed - other.fixed), max(0.0, self.per_text - other.per_text))

    def times(self, factor: float) -> Cost:
        """Return the cost of doing it so often."""
        return Cost(factor * self.fixed, factor * self.per_text)

    def seconds(self, texts: float) -> float:
        """Return the seconds of one batch of so many texts."""
        return self.fixed + self.per_text * texts


@dataclass(frozen=True)
class Adapted:
    """What layers cost in a training step, forward and backward, with adapters on some targets."""

    width: int
    """Inputs and outputs of the adapted matrices of a layer together, what one unit of rank has parameters."""
    lowest: Cost
    """The lowest adapted layer: nothing below it wants a gradient."""
    between: Cost
    last: Cost
    """The last layer with head, loss and optimizer."""

    def mixed(self, other: Adapted, share: float) -> Adapted:
        """Return what lies between the two, `share` of the way to the other (0 is this one)."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("lowest", "between", "last"))
        costs = [mine.times(1 - share) + its.times(share) for mine, its in pairs]
        return Adapted(round(self.width + share * (other.width - self.width)), *costs)


@dataclass(frozen=True)
class Measured:
    """What was measured on this machine, for one encoder at one length of texts."""

    frozen: Cost
    """One layer forward, nothing kept: the pass that fills the prefix cache, and evaluation."""
    closing: Cost
    """Last layer and head in evaluation."""
    adapted: Sequence[Adapted]
    """One or two, the narrower first."""
    facts: Mapping[str, Any]
    """How it was measured: seconds, texts, tokens, threads, execution, precision."""

    def at(self, width: int) -> Adapted:
        """Return the cost at a width, on the line between the two that were measured."""
        first, last = self.adapted[0], self.adapted[-1]
        if first.width == last.width:
            return first
        share = (width - first.width) / (last.width - first.width)
        return first.mixed(last, min(1.0, max(0.0, share)))


@dataclass(frozen=True)
class Workload:
    """What there is to train on."""

    rows: int
    validation_rows: int
    tokens: float
    """Mean tokens per text, special ones included, after cutting."""
    epochs: float
    batch_size: int
    eval_batch_size: int
    source: str
    """Where these figures come from, in words."""
    max_seconds: float | None = None
    """What steps and evaluations may take together."""

    def to_json(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)


@dataclass(frozen=True)
class Speed:
    """What a configuration takes on this machine, all epochs run."""

    samples_per_s: float
    """Texts per second in training steps."""
    hours: float
    """Prefix pass, all epochs and their evaluations."""
    prefix_s: float
    """Seconds for the layers below the lowest adapter, once; 0 where there are none, or nothing is cached."""

    def to_json(self) -> dict[str, float]:
        """Return its fields, unrounded."""
        return asdict(self)


def speed_of(
    measured: Measured, config: Mapping[str, Any], lora: LoraRecipe, work: Workload, cached: bool = True
) -> Speed:
    """Return the speed of a configuration.

    Args:
        measured: on this machine, for this encoder and this length of texts.
        config: the encoder's config.json.
        lora: which matrices of which layers carry adapters.
        work: the texts.
        cached: the layers below the lowest adapter run once per text, not in every step.
    """
    family = family_of(config)
    n_layers = family.n_layers(config)
    matrices = family.inventory(config, num_labels=2).matrices
    adapted = measured.at(sum(matrices[name].per_rank for name in family.expand(lora.targets)))
    lowest = lora.layer_indices(n_layers)[0]
    run = n_layers - lowest
    step, evaluation = adapted.last, measured.closing
    if run > 1:
        step += adapted.lowest + adapted.between.times(run - 2)
        evaluation += measured.frozen.times(run - 1)
    below = measured.frozen.times(lowest)
    if not cached:
        step, evaluation = step + below, evaluation + below
    prefix_s = _passes(below, work.rows + work.validation_rows, work.eval_batch_size) if cached else 0.0
    epoch = _passes(step, work.rows, work.batch_size)
    epoch += _passes(evaluation, work.validation_rows, work.eval_batch_size)
    return Speed(
        samples_per_s=work.batch_size / step.seconds(work.batch_size),
        hours=(prefix_s + min(work.epochs * epoch, work.max_seconds or math.inf)) / 3600,
        prefix_s=prefix_s,
    )


def _passes(cost: Cost, texts: int, batch_size: int) -> float:
    """Return the seconds of going through all texts once."""
    return -(-texts // batch_size) * cost.fixed + texts * cost.per_text
