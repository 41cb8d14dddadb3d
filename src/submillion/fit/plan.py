"""The plan of a training: those parts of a recipe that its steps depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from submillion.recipe import ContrastiveRecipe, Recipe, TrainRecipe


@dataclass(frozen=True)
class TrainingPlan:
    """The sections and fields of a recipe that `fit` follows."""

    train: TrainRecipe
    seed: int
    """The recipe's seed."""
    head_start: str = "random"
    """The recipe's `head.start`."""
    head_finish: str = "trained"
    """The recipe's `head.finish`."""
    contrastive: ContrastiveRecipe = field(default_factory=ContrastiveRecipe)
    classifier: Mapping[str, Any] = field(default_factory=dict)
    """By dotted name, the fields that the classifier is built from; `fit` receives it and only records them."""

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Return the plan of a recipe."""
        head = recipe.head
        parts = {
            "encoder": recipe.encoder.model_dump(mode="json", exclude={"source", "revision"}),
            "lora": recipe.lora.model_dump(mode="json"),
            "head": head.model_dump(mode="json", exclude={"start", "finish"}),
        }
        classifier = {
            f"{section}.{name}": value for section, part in parts.items() for name, value in part.items()
        }
        return cls(recipe.train, recipe.seed, head.start, head.finish, recipe.contrastive, classifier)

    def to_json(self) -> dict[str, Any]:
        """Return everything that changes the trained values, by the recipe's names.

        The number of threads changes the last bits at most, so a training may continue with another one.
        """
        train = self.train.model_dump(mode="json", exclude={"threads"})
        contrastive = self.contrastive.model_dump(mode="json")
        return {
            **{f"train.{name}": value for name, value in train.items()},
            **{f"contrastive.{name}": value for name, value in contrastive.items()},
            "head.start": self.head_start,
            "head.finish": self.head_finish,
            "seed": self.seed,
            **self.classifier,
        }
