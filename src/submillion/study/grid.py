"""A study file: one base recipe, the axes along which it is varied or the space searched, and the runs of it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from submillion import recipe_file
from submillion.budget.count import Count
from submillion.errors import BadInput, OverBudget, Problem
from submillion.recipe import Recipe, Section, find_recipe
from submillion.study.fill_rank import class_count, counted, filled
from submillion.study.space import Space, in_words
from submillion.study.space_file import read_space

STUDIES = Path(__file__).parent / "studies"
BASE = "base"
LONGEST = 100  # characters of a cell's name for files


class StudyFile(Section):
    """What a study varies, and how its runs are judged."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """Name of the study; its directory's default name."""
    base: str
    """The recipe that is varied: a shipped name, or a file (relative to the study's)."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Fields of the base recipe that are other than in its file, by dotted name."""
    axes: Annotated[dict[str, list[Any] | dict[str, dict[str, Any]]], Field(min_length=1)] | None = None
    """What is varied. Under a field of the recipe a list of its values; under any other name a mapping of
    levels, each {field: value}."""
    search: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    """Instead of axes: what is searched, field -> {choice: [...]} or {low, high, log, step}; whole numbers where
    both ends are. lora.r is drawn up to the largest rank that fits the budget with the other fields; lora.alpha
    follows at the base's alpha / r where it is not searched itself."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """How many recipes a search draws. Each is trained with the first seed, the best one with all."""
    pruner: Literal["median", "asha"] | None = None
    """Which trials of a search are ended early. median (also where nothing is said): those below the median of the
    complete ones at the same evaluation; asha: at the 1st, 3rd, 9th ... evaluation those that are not among the best
    third of all that came so far."""
    design: Literal["one-at-a-time", "grid"] = "one-at-a-time"
    """one-at-a-time: the base, and the base with one axis at another level; grid: every combination."""
    hold: Literal["nothing", "parameters"] = "nothing"
    """parameters: every run gets the largest rank whose trainable parameters are not more than the base's (in a
    search: than the budget), at the base's alpha / r; so that what is compared is where the parameters are, not how
    many. Training tokens are held by set: {train.max_tokens: N}, wall time by set: {train.max_seconds: N}."""
    seeds: Annotated[list[int], Field(min_length=1)] = Field(default=[1, 2, 3])
    """Every cell is trained once with each of them."""
    objective: Literal["accuracy", "macro_f1"] = "accuracy"
    """What cells are compared by, on the validation rows; test is looked at once, at the end, for two cells."""

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value):
            raise ValueError("seeds that differ from each other")
        return value


@dataclass(frozen=True)
class Cell:
    """One variant of the base recipe."""

    levels: dict[str, str]
    """Axis -> level; an axis on which the cell is as the base, though the axis has no such level, has "base"."""
    settings: dict[str, Any]
    """Fields in which it differs from the base, by dotted name."""
    recipe: Recipe
    """Complete but for the seed."""
    count: Count
    """What it trains."""

    @property
    def name(self) -> str:
        """How tables call it: the levels that are not the base's."""
        return ", ".join(self.labels) or BASE

    @property
    def labels(self) -> list[str]:
        """`axis=level` of each axis that is not as in the base."""
        return [f"{axis}={level}" for axis, level in self.levels.items() if level != BASE]

    @property
    def slug(self) -> str:
        """A name for files; a long one is cut, and told from others by a hash."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(self.labels)).strip("-") or BASE
        if len(name) <= LONGEST:
            return name
        return f"{name[: LONGEST - 11]}-{sha256(name.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class Trial:
    """One run of a study: a cell with a seed."""

    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """Name of its run directory."""
        return f"{self.cell.slug}-seed{self.seed}"

    @property
    def recipe(self) -> Recipe:
        """Its complete recipe."""
        return self.cell.recipe.model_copy(update={"seed": self.seed, "name": self.name})


@dataclass(frozen=True)
class Grid:
    """A study with its cells; the first one is the base."""

    study: StudyFile
    cells: list[Cell]
    base_levels: dict[str, str]
    """Axis -> what the base has there, in words; nothing in a search."""
    space: Space | None = None
    """What is searched."""
    chosen: Cell | None = None
    """The best cell of a search."""

    @property
    def judged(self) -> list[Cell]:
        """The cells that are trained with every seed: all of them, or the base and what a search chose."""
        if self.space is None:
            return self.cells
        return [cell for cell in self.cells if cell in (self.cells[0], self.chosen)]

    @property
    def trials(self) -> list[Trial]:
        """All runs of the judged cells, seed by seed, so that a study that was cut short has every cell."""
        return [Trial(cell, seed) for seed in self.study.seeds for cell in self.judged]


def study_names() -> list[str]:
    """Return the names of the shipped studies."""
    return recipe_file.shipped_names(STUDIES)


def read_study(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Grid:
    """Read a study by its shipped name or its file, and count every cell before anything is trained.

    Args:
        overrides: fields of the base recipe as `section.key=value`, over those that the study sets.

    Raises:
        BadInput: no such file, or fields, levels or recipes in it are wrong; all problems at once.
        OverBudget: cells that train more parameters than the recipe's budget allows, all of them; or a space in which
            nothing fits.
    """
    file = _find(str(name_or_path))
    values = recipe_file.read_yaml(file)
    values.setdefault("name", file.stem)
    try:
        study = StudyFile.model_validate(values)
    except ValidationError as error:
        raise BadInput(recipe_file.problems_of(StudyFile, error, file)) from None
    beside = file.parent / study.base
    base = beside if beside.is_file() else find_recipe(study.base)
    _one_of_two(study, file)
    first = _recipe(base, study.set, overrides)
    num_labels = class_count(first)
    if study.search is not None:
        return _searched(study, base, overrides, num_labels)
    given = study.axes or {}
    axes = {name: _levels(name, axis, first) for name, axis in given.items()}
    cells: dict[str, Cell] = {}
    over = []
    for levels in _chosen(study.design, axes):
        settings = {
            field: value
            for name, level in levels.items()
            for field, value in axes[name].get(level, {}).items()
        }
        # What an axis varies is not fixed by an override; it is the base that the override changes.
        recipe = _recipe(base, study.set, overrides, settings)
        if study.hold == "parameters":
            recipe = _held(recipe, first, settings, num_labels)
        cell = Cell(levels, settings, recipe, counted(recipe, num_labels))
        if not cell.count.fits:
            over.append(_over(cell))
        cells.setdefault(recipe.to_yaml(), cell)
    if over:
        raise OverBudget("over budget:\n" + "\n".join(over))
    return Grid(study, list(cells.values()), {name: _base_level(name, given[name], first) for name in axes})


def _one_of_two(study: StudyFile, file: Path) -> None:
    """Refuse a study that varies nothing, or in two ways."""
    place, searched, asked = file.name, study.search is not None, study.model_fields_set
    problems = []
    if searched == (study.axes is not None):
        problems.append(Problem(place, "either axes or search", "both" if searched else "neither"))
    elif searched and study.trials is None:
        problems.append(Problem(f"{place}: trials", "how many recipes the search draws", "nothing"))
    for name in ("design",) if searched else ("trials", "pruner"):
        if name in asked and getattr(study, name) is not None:
            other = "axes" if searched else "search"
            problems.append(Problem(f"{place}: {name}", f"{name} beside {other} alone", "it without"))
    if problems:
        raise BadInput(problems)


def _searched(study: StudyFile, base: Path, overrides: Sequence[str], num_labels: int) -> Grid:
    """Return a search with its base, before anything is drawn."""
    recipe = _recipe(base, study.set, overrides)
    values = recipe_file.read_yaml(base)
    values.setdefault("name", base.stem)
    for item in [*_items(study.set), *overrides]:
        recipe_file.override(Recipe, values, item)
    held = study.hold == "parameters"
    space = read_space(study.search or {}, values, recipe, held, num_labels)
    cell = Cell(dict.fromkeys(space.fields, BASE), {}, recipe, counted(recipe, num_labels))
    if not cell.count.fits:
        raise OverBudget(f"over budget:\n{_over(cell)}")
    return Grid(study, [cell], {}, space)


def _over(cell: Cell) -> str:
    return f"{cell.name}: {cell.count.trainable:,} trainable parameters, budget {cell.count.budget:,}"


def _levels(
    name: str, axis: Sequence[Any] | Mapping[str, dict[str, Any]], base: Recipe
) -> dict[str, dict[str, Any]]:
    """Return an axis' levels as {level: {field: value}}; the level that is the base's is called "base".

    A list is the values of the field that the axis is named after.
    """
    if isinstance(axis, Mapping):
        levels = {str(level): dict(settings) for level, settings in axis.items()}
    else:
        levels = {in_words(value): {name: value} for value in axis}
    has = recipe_file.flat(base.model_dump(mode="json"))
    found = {}
    for level, settings in levels.items():
        same = all(_same(has.get(field), value) for field, value in settings.items())
        found[BASE if same else level] = {} if same else settings
    return found


def _base_level(name: str, axis: Sequence[Any] | Mapping[str, dict[str, Any]], base: Recipe) -> str:
    """Return what the base has on an axis: its value, the level that is the same, or "base"."""
    has = recipe_file.flat(base.model_dump(mode="json"))
    if not isinstance(axis, Mapping):
        return in_words(has.get(name))
    same = (
        level
        for level, settings in axis.items()
        if all(_same(has.get(field), value) for field, value in settings.items())
    )
    return next(same, BASE)


def _same(has: Any, value: Any) -> bool:
    """Return whether a value is the one that the base recipe has, `query,value` and lists alike."""
    if isinstance(has, list) and isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    return bool(has == value)


def _chosen(design: str, axes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the level of every axis for each cell, the base's first."""
    base = dict.fromkeys(axes, BASE)
    if design == "grid":
        others = [
            dict(zip(axes, levels, strict=True))
            for levels in itertools.product(*(axis for axis in axes.values()))
        ]
    else:
        others = [base | {name: level} for name, axis in axes.items() for level in axis]
    return [base, *(levels for levels in others if levels != base)]


def _recipe(
    base: Path, set_: Mapping[str, Any], overrides: Sequence[str], settings: Mapping[str, Any] | None = None
) -> Recipe:
    """Return the base recipe with the study's fields, then the user's, then the cell's."""
    return Recipe.load(base, [*_items(set_), *overrides, *_items(settings or {})])


def _items(settings: Mapping[str, Any]) -> list[str]:
    return [f"{field}={json.dumps(value)}" for field, value in settings.items()]


def _held(recipe: Recipe, base: Recipe, settings: Mapping[str, Any], num_labels: int) -> Recipe:
    """Return the recipe with the largest rank that trains no more parameters than the base."""
    if "lora.r" in settings or "lora.alpha" in settings:
        raise BadInput(
            Problem(
                "hold: parameters",
                "axes without lora.r and lora.alpha",
                "one of them",
                "Ranks are chosen then.",
            )
        )
    allowed = counted(base, num_labels).trainable
    best = filled(recipe, allowed, base.lora.alpha / base.lora.r, num_labels)
    if best is None:
        raise BadInput(
            Problem("hold: parameters", f"cells that fit into the base's {allowed:,}", "one that does not")
        )
    return best


def _find(name_or_path: str) -> Path:
    expected = f"a yaml file, or one of {', '.join(study_names())}"
    return recipe_file.find(name_or_path, STUDIES, "study", expected)
