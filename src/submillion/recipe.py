"""The recipe: everything that decides a run, read from YAML, with overrides, validated at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from submillion import recipe_file
from submillion.errors import BadInput, Problem
from submillion.files import strict_yaml
from submillion.recipe_classifier import (
    ALL_LINEAR,
    EncoderRecipe,
    HeadRecipe,
    LoraRecipe,
    settle_bias,
    variant_of,
)
from submillion.recipe_data import CROSS_VALIDATION, NO_TEST, DataRecipe
from submillion.recipe_fields import Name, Section, Seed
from submillion.recipe_training import ContrastiveRecipe, TrainRecipe
from submillion.run_layout import MANIFEST, RECIPE
from submillion.run_paths import located

RECIPES = Path(__file__).parent / "recipes"
SOURCES = {"encoder": ("source",), "data": ("train", "more", "validation", "test", "corrections")}
"""The fields that may name a path, by section."""
NO_SOURCES = (None, NO_TEST, CROSS_VALIDATION)
"""Values of these fields that name no source."""
INTERPOLATED: dict[str, Any] = {
    "lora.variant": "lora",
    "head.start": "probe",
    "head.finish": "trained",
    "contrastive.steps": 0,
    "data.validation": CROSS_VALIDATION,
}
"""The fields that `train.wise_ft` depends on: the training has a beginning and an end to lie between."""


class Recipe(Section):
    """The complete description of a run."""

    name: Name
    """Recipe name, and default name of the run directory."""
    seed: Seed = 42
    """Seed of the validation split, the initial adapters, the text order and dropout."""
    budget: Annotated[int, Field(ge=1)] = 1_000_000
    """Maximum number of trainable parameters."""
    track: list[Literal["wandb", "tensorboard", "mlflow", "trackio"]] = Field(default_factory=list)
    """Experiment trackers: wandb, tensorboard, mlflow, trackio."""
    encoder: EncoderRecipe
    data: DataRecipe
    lora: LoraRecipe = LoraRecipe()
    head: HeadRecipe = HeadRecipe()
    contrastive: ContrastiveRecipe = ContrastiveRecipe()
    train: TrainRecipe = TrainRecipe()

    @field_validator("track", mode="before")
    @classmethod
    def _list_of_trackers(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _variant_allows_training(self) -> Recipe:
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
        if self.lora.variant == "adalora" and self.train.average_from is not None:
            remedy = "An average would undo the pruning of ranks."
            found = f"{self.train.average_from:g}"
            raise BadInput(Problem("train.average_from", "none with lora.variant=adalora", found, remedy))
        if self.lora.variant == "dora" and self.train.frozen_precision == "int8":
            remedy = "DoRA reads the frozen matrices in float: leave @{train.frozen_precision} at float."
            raise BadInput(Problem("train.frozen_precision", "float with lora.variant=dora", "int8", remedy))
        if self.contrastive.steps and self.lora.variant == "adalora":
            raise BadInput(
                Problem("contrastive.steps", "0 with lora.variant=adalora", f"{self.contrastive.steps}")
            )
        return self

    @model_validator(mode="after")
    def _head_agrees(self) -> Recipe:
        if self.train.steps == 0 and self.head.start != "probe":
            remedy = "Nothing would be trained: use @{head.start=probe}, or more steps."
            raise BadInput(Problem("train.steps", "at least 1 without head.start=probe", "0", remedy))
        if self.head.start == "probe" and self.head.kind != "linear":
            raise BadInput(
                Problem(
                    "head.start",
                    "random with head.kind=" + self.head.kind,
                    "probe",
                    "Use @{head.kind=linear}.",
                )
            )
        if self.head.finish == "probe" and (
            self.head.kind != "linear" or self.data.validation != CROSS_VALIDATION
        ):
            # A best evaluation would have selected other values than those that are left at the end.
            expected = "trained without head.kind=linear and data.validation=cross-validation"
            raise BadInput(Problem("head.finish", expected, "probe"))
        if self.head.label_names and "probe" not in (self.head.start, self.head.finish):
            remedy = "The names of the labels are part of a probe: use @{head.start=probe}."
            raise BadInput(Problem("head.label_names", "false without head.start=probe", "true", remedy))
        if self.contrastive.steps and self.head.start != "probe":
            remedy = "The stage trains no head: use @{head.start=probe}."
            raise BadInput(
                Problem(
                    "contrastive.steps", "0 without head.start=probe", f"{self.contrastive.steps}", remedy
                )
            )
        return self

    @model_validator(mode="after")
    def _interpolation_has_ends(self) -> Recipe:
        if self.train.wise_ft is None:
            return self
        # Evaluations during the training would score other values than those that are left at the end.
        missing = [
            f"{field}={wanted}" for field, wanted in INTERPOLATED.items() if attrgetter(field)(self) != wanted
        ]
        if missing:
            text = f"none without {', '.join(missing)}"
            raise BadInput(Problem("train.wise_ft", text, f"{self.train.wise_ft:g}"))
        return self

    @model_validator(mode="after")
    def _early_stopping_has_rows(self) -> Recipe:
        if self.data.validation == CROSS_VALIDATION and self.train.patience:
            raise BadInput(
                Problem(
                    "train.patience",
                    "0 with data.validation=cross-validation",
                    f"{self.train.patience}",
                    "No row is left to stop early by: use @{train.patience=0}.",
                )
            )
        return self

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe by its shipped name or its file, then apply overrides.

        Args:
            name_or_path: such as `quickstart`, or a YAML file. Paths in it are relative to the current directory, or to
                the file if there is nothing of that name in the current directory.
            overrides: fields to change, such as `["lora.r=8", "train.epochs=2"]`; values are YAML.

        Raises:
            BadInput: the file is missing or unreadable, or a key or value is wrong; all problems at once.

        Example:
            >>> Recipe.load("quickstart", ["lora.r=8"]).lora.r
            8
        """
        file = find_recipe(str(name_or_path))
        values = recipe_file.read_yaml(file, cls)
        values.setdefault("name", file.stem)
        if file.name == RECIPE and (file.parent / MANIFEST).is_file():
            _locate_sources(values, lambda source: located(source, file.parent))
        else:
            _locate_sources(values, lambda source: recipe_file.beside(source, file))
        return cls._overridden(values, overrides, file)

    def with_overrides(self, overrides: Sequence[str]) -> Recipe:
        """Return a copy with fields changed, as `load` changes them.

        Raises:
            BadInput: a key or value is wrong; all problems at once.
        """
        return self._overridden(self.model_dump(mode="json"), overrides, Path(self.name))

    @classmethod
    def _overridden(cls, values: dict[str, Any], overrides: Sequence[str], file: Path) -> Recipe:
        overrides = recipe_file.checked_overrides(overrides)
        before = variant_of(values)
        problems = [problem for item in overrides if (problem := recipe_file.override(cls, values, item))]
        settle_bias(values, before, [item.partition("=")[0] for item in overrides])
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

        def absolute(source: str) -> str:
            path = Path(os.path.expanduser(source))  # noqa: PTH111  # Path.expanduser raises for ~nobody
            return str(path.resolve()) if recipe_file.exists(path) else source

        return self.with_sources(absolute)

    def with_sources(self, change: Callable[[str], str]) -> Recipe:
        """Return a copy in which a function has changed the sources of encoder and data."""
        changed = {}
        for section, names in SOURCES.items():
            part = getattr(self, section)
            named = {name: source for name in names if (source := getattr(part, name)) not in NO_SOURCES}
            changed[section] = part.model_copy(
                update={name: change(source) for name, source in named.items()}
            )
        return self.model_copy(update=changed)

    def absolute_sources(self) -> list[str]:
        """Return those sources of encoder and data that are absolute paths."""
        found = [
            source
            for section, names in SOURCES.items()
            for name in names
            if (source := getattr(getattr(self, section), name)) is not None
        ]
        return [source for source in dict.fromkeys(found) if Path(source).is_absolute()]

    def needed_sources(self) -> list[str]:
        """Return the absolute paths that a run needs where they are; it has a copy of its corrections."""
        return [source for source in self.absolute_sources() if source != self.data.corrections]

    def to_yaml(self) -> str:
        """Return the complete recipe, defaults included, as YAML."""
        return strict_yaml.dump(self.model_dump(mode="json"))


def _locate_sources(values: dict[str, Any], locate: Callable[[str], str]) -> None:
    """Replace the sources in the values of a recipe by those that a function returns."""
    for section, names in SOURCES.items():
        part = values.get(section)
        if isinstance(part, dict):
            named = [
                name for name in names if isinstance(part.get(name), str) and part[name] not in NO_SOURCES
            ]
            part |= {name: locate(part[name]) for name in named}


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
    "ContrastiveRecipe",
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
