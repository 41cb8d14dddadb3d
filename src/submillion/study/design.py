"""The design of a study: its cells, read from the study file and counted before anything is trained."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submillion import notices, recipe_file
from submillion.errors import BadInput, OverBudget, Problem
from submillion.recipe import Recipe, find_recipe
from submillion.study.cells import BASE, Cell, CellRun, level_name, with_unique_slugs
from submillion.study.fill_rank import count_recipe, fill_rank, number_of_classes
from submillion.study.space import Space
from submillion.study.space_file import read_space
from submillion.study.study_file import StudyFile, fixed_field, read_study_file

Axis = Sequence[Any] | Mapping[str, dict[str, Any]]
"""An axis as the study file has it: the values of a field, or named levels, each {field: value}."""


@dataclass(frozen=True)
class StudyDesign:
    """A study with its cells; the first one is the base."""

    study: StudyFile
    cells: list[Cell]
    base_levels: dict[str, str]
    """Axis -> name of the base's level; empty for a search."""
    space: Space | None = None
    """The space of a search."""
    best: Cell | None = None
    """The best cell of a search."""

    @property
    def compared(self) -> list[Cell]:
        """The cells that are trained with every seed: all of them, or the base and the best one of a search."""
        if self.space is None:
            return self.cells
        return [cell for cell in self.cells if cell in (self.cells[0], self.best)]

    @property
    def runs(self) -> list[CellRun]:
        """All runs of the compared cells, seed by seed, so that an interrupted study has runs of every cell."""
        return [CellRun(cell, seed) for seed in self.study.seeds for cell in self.compared]


def read_study(name_or_path: str | Path, overrides: Sequence[str] = ()) -> StudyDesign:
    """Read a study by its shipped name or its file, and count every cell before anything is trained.

    Args:
        name_or_path: name of a shipped study, or a study file.
        overrides: fields of the base recipe as `section.key=value`; they take precedence over the study's `set`.

    Raises:
        BadInput: no such file, or fields, levels or recipes in it are wrong; all problems at once.
        OverBudget: cells that train more parameters than the recipe's budget, all of them; or a search space in which
            nothing fits.
    """
    study, file = read_study_file(str(name_or_path))
    overrides = recipe_file.checked_overrides(overrides)
    named = ((item, item.partition("=")[0]) for item in overrides)
    if problems := [problem for item, name in named if (problem := fixed_field(item, name))]:
        raise BadInput(problems)
    beside = file.parent / study.base
    base_file = beside if beside.is_file() else find_recipe(study.base)
    base = _recipe(base_file, study.set, overrides)
    num_labels = number_of_classes(base)
    if study.search is not None:
        return _search_design(study, base_file, overrides, num_labels)
    study_axes = study.axes or {}
    axes = {name: _levels(name, axis, base) for name, axis in study_axes.items()}
    cells: dict[str, Cell] = {}
    over_budget = []
    for levels in _combinations(study.design, axes):
        settings = {
            field: value
            for name, level in levels.items()
            for field, value in axes[name].get(level, {}).items()
        }
        # An override changes the base; an axis still varies the field.
        recipe = _recipe(base_file, study.set, overrides, settings)
        if study.hold == "parameters":
            recipe = _hold_parameters(recipe, base, settings, num_labels)
        cell = Cell(levels, settings, recipe, count_recipe(recipe, num_labels))
        if not cell.count.fits:
            over_budget.append(_excess(cell))
        _add(cells, cell)
    if over_budget:
        raise OverBudget("over budget:\n" + "\n".join(over_budget))
    base_levels = {name: _base_level(name, axis, base) for name, axis in study_axes.items()}
    return StudyDesign(study, with_unique_slugs(list(cells.values())), base_levels)


def _search_design(
    study: StudyFile, base_file: Path, overrides: Sequence[str], num_labels: int
) -> StudyDesign:
    """Return the design of a search: its space, and the base as the only cell so far."""
    base = _recipe(base_file, study.set, overrides)
    values = recipe_file.read_yaml(base_file, Recipe)
    values.setdefault("name", base_file.stem)
    for item in [*_assignments(study.set), *overrides]:
        recipe_file.override(Recipe, values, item)
    space = read_space(study.search or {}, values, base, study.hold == "parameters", num_labels)
    cell = Cell(dict.fromkeys(space.fields, BASE), {}, base, count_recipe(base, num_labels))
    if not cell.count.fits:
        raise OverBudget(f"over budget:\n{_excess(cell)}")
    return StudyDesign(study, [cell], {}, space)


def _add(cells: dict[str, Cell], cell: Cell) -> None:
    """Add a cell under its recipe; one whose recipe another cell has is left out, and named."""
    taken = cells.setdefault(cell.recipe.to_yaml(), cell)
    if taken is not cell:
        notices.emit(
            "same_cell", f"{cell.name} is the same recipe as {taken.name}; it is trained once, as the latter."
        )


def _excess(cell: Cell) -> str:
    return f"{cell.name}: {cell.count.trainable:,} trainable parameters, budget {cell.count.budget:,}"


def _levels(name: str, axis: Axis, base: Recipe) -> dict[str, dict[str, Any]]:
    """Return the levels of an axis as {level: {field: value}}; a level equal to the base's is called "base".

    Raises:
        BadInput: the axis has no levels, two of one name, or one that is called "base" and is not.
    """
    where = f"axes: {name}"
    if not axis:
        raise BadInput(Problem(where, "at least one level", "none"))
    if isinstance(axis, Mapping):
        levels = {str(level): dict(settings) for level, settings in axis.items()}
    else:
        levels = {level_name(value): {name: value} for value in axis}
    if len(levels) < len(axis):
        remedy = "Name them: a mapping of levels, each {field: value}, under a name of your own."
        raise BadInput(Problem(where, "levels whose names differ", json.dumps(axis, default=str), remedy))
    base_fields = recipe_file.flat(base.model_dump(mode="json"))
    named = {}
    for level, settings in levels.items():
        same = _holds(base_fields, settings)
        if level == BASE and not same:
            found = f"'{BASE}' with {json.dumps(settings)}"
            raise BadInput(Problem(where, f"'{BASE}' only as the name of the base's level", found))
        named[BASE if same else level] = {} if same else settings
    return named


def _base_level(name: str, axis: Axis, base: Recipe) -> str:
    """Return the name of the base's level on an axis: the field's value, or the equal level, or "base"."""
    base_fields = recipe_file.flat(base.model_dump(mode="json"))
    if not isinstance(axis, Mapping):
        return level_name(base_fields.get(name))
    return next((level for level, settings in axis.items() if _holds(base_fields, settings)), BASE)


def _holds(fields: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Return whether the fields of a recipe have all these values."""
    return all(_same(fields.get(field), value) for field, value in settings.items())


def _same(current: Any, value: Any) -> bool:
    """Return whether a value equals that of a recipe; `query,value` equals the list of both."""
    if isinstance(current, list) and isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    return bool(current == value)


def _combinations(design: str, axes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the level of every axis for each cell, the base first."""
    base = dict.fromkeys(axes, BASE)
    if design == "grid":
        others = [dict(zip(axes, levels, strict=True)) for levels in itertools.product(*axes.values())]
    else:
        others = [base | {name: level} for name, axis in axes.items() for level in axis]
    return [base, *(levels for levels in others if levels != base)]


def _recipe(
    base_file: Path,
    study_set: Mapping[str, Any],
    overrides: Sequence[str],
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """Return the base recipe with the study's fields, then the user's, then the cell's."""
    return Recipe.load(base_file, [*_assignments(study_set), *overrides, *_assignments(settings or {})])


def _assignments(settings: Mapping[str, Any]) -> list[str]:
    return [f"{field}={json.dumps(value)}" for field, value in settings.items()]


def _hold_parameters(recipe: Recipe, base: Recipe, settings: Mapping[str, Any], num_labels: int) -> Recipe:
    """Return the recipe with the largest rank that trains no more parameters than the base."""
    where = "hold: parameters"
    for name in ("lora.r", "lora.alpha"):
        if name in settings:
            remedy = "`hold: parameters` sets the rank of every cell; remove the field from the axes."
            raise BadInput(Problem(where, "axes without lora.r and lora.alpha", name, remedy))
    allowed = count_recipe(base, num_labels).trainable
    filled = fill_rank(recipe, allowed, base.lora.alpha / base.lora.r, num_labels)
    if filled is None:
        levels = ", ".join(f"{field}={value}" for field, value in settings.items())
        expected = f"cells that fit into the {allowed:,} trainable parameters of the base"
        raise BadInput(Problem(where, expected, f"one that does not at any rank: {levels}"))
    return filled
