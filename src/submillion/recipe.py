"""The recipe: everything that decides a run, read from YAML, with overrides, validated at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from submillion import recipe_file
from submillion.errors import BadInput, Problem
from submillion.recipe_sections import (
    ALL_LINEAR,
    DataRecipe,
    EncoderRecipe,
    HeadRecipe,
    LoraRecipe,
    Section,
    TrainRecipe,
)

RECIPES = Path(__file__).parent / "recipes"


class Recipe(Section):
    """The complete description of a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """Name of the recipe, and default name of the run directory."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of the validation split, the initial adapters, the order of the texts and dropout."""
    budget: Annotated[int, Field(ge=1)] = 1_000_000
    """Maximum number of trainable parameters."""
    track: list[Literal["wandb", "tensorboard", "mlflow", "trackio"]] = Field(default_factory=list)
    """Experiment trackers to log to: wandb, tensorboard, mlflow, trackio."""
    encoder: EncoderRecipe
    data: DataRecipe
    lora: LoraRecipe = LoraRecipe()
    head: HeadRecipe = HeadRecipe()
    train: TrainRecipe = TrainRecipe()

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        has_b = self.lora.variant not in ("vera", "bitfit") or self.head.kind == "lora"
        if self.train.lora_plus_ratio != 1 and not has_b:
            found = f"{self.train.lora_plus_ratio:g}, and no matrix B is trained with lora.variant={self.lora.variant}"
            raise BadInput(Problem("train.lora_plus_ratio", "1", found))
        if self.lora.variant == "adalora" and self.train.max_seconds is not None:
            remedy = "AdaLoRA's schedule needs the number of steps; limit it with @{train.max_tokens}."
            raise BadInput(
                Problem(
                    "train.max_seconds",
                    "no limit with lora.variant=adalora",
                    f"{self.train.max_seconds:g}",
                    remedy,
                )
            )
        return self

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe by its shipped name or its file, then apply overrides.

        Args:
            name_or_path: such as `quickstart`, or a YAML file.
            overrides: fields to change, such as `["lora.r=8", "train.epochs=2"]`; values are YAML.

        Raises:
            BadInput: the file is missing or unreadable, or a key or value is wrong; all problems at once.

        Example:
            >>> Recipe.load("quickstart", ["lora.r=8"]).lora.r
            8
        """
        file = find_recipe(str(name_or_path))
        values = recipe_file.read_yaml(file)
        values.setdefault("name", file.stem)
        return cls._overridden(values, overrides, file)

    def with_overrides(self, overrides: Sequence[str]) -> Recipe:
        """Return a copy with fields changed, as `load` changes them.

        Raises:
            BadInput: a key or value is wrong; all problems at once.
        """
        return self._overridden(self.model_dump(mode="json"), overrides, Path(self.name))

    @classmethod
    def _overridden(cls, values: dict[str, Any], overrides: Sequence[str], file: Path) -> Recipe:
        problems = [problem for item in overrides if (problem := recipe_file.override(cls, values, item))]
        try:
            recipe = cls.model_validate(values)
        except ValidationError as error:
            raise BadInput(problems + recipe_file.problems_of(cls, error, file)) from None
        if problems:
            raise BadInput(problems)
        return recipe

    def with_data(self, **fields: Any) -> Recipe:
        """Return a copy with other fields of the `data` section."""
        return self.model_copy(update={"data": self.data.model_copy(update=fields)})

    def with_absolute_paths(self) -> Recipe:
        """Return a copy whose existing paths are absolute: a run may be resumed and used from another directory."""

        def absolute(source: str | None) -> str | None:
            return str(Path(source).resolve()) if source and Path(source).exists() else source

        encoder = self.encoder.model_copy(update={"source": absolute(self.encoder.source)})
        paths = {name: absolute(getattr(self.data, name)) for name in ("train", "validation", "test")}
        return self.with_data(**paths).model_copy(update={"encoder": encoder})

    def to_yaml(self) -> str:
        """Return the complete recipe, defaults included, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return recipe_file.shipped_names(RECIPES)


def find_recipe(name_or_path: str) -> Path:
    """Return the file of a shipped recipe or of a path.

    Raises:
        BadInput: there is no such recipe or file; the message names the nearest recipe.
    """
    expected = f"one of {', '.join(recipe_names())}, or a YAML file"
    return recipe_file.find(name_or_path, RECIPES, "recipe", expected)


__all__ = [
    "ALL_LINEAR",
    "DataRecipe",
    "EncoderRecipe",
    "HeadRecipe",
    "LoraRecipe",
    "Recipe",
    "Section",
    "TrainRecipe",
    "find_recipe",
    "recipe_names",
]
