"""Reads and checks the search section of a study file, and refuses one in which nothing fits the budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from pydantic import ValidationError

from submillion import notices
from submillion.errors import BadInput, OverBudget, Problem, did_you_mean
from submillion.recipe import Recipe
from submillion.recipe_file import field_names, message_of
from submillion.study.cells import file_name, level_name
from submillion.study.fill_rank import count_recipe
from submillion.study.space import RANKS, Dimension, Space, with_fields
from submillion.study.study_file import SET_BY_STUDY

KEYS = ("choice", "low", "high", "log", "step")
FORMS = "{choice: [...]} or {low, high, log, step}"
MAX_COMBINATIONS = 10_000
FIXED = (
    *(*SET_BY_STUDY, "budget", "track"),
    *(
        f"data.{name}"
        for name in (
            *("train", "test", "test_size", "validation", "validation_size"),
            *("encoding", "label", "labels", "limit"),
        )
    ),
)
"""Fields that are never searched: trials share one budget, the same validation rows and the same seed."""


def read_space(
    search: Mapping[str, Any], values: Mapping[str, Any], base: Recipe, fill: bool, num_labels: int
) -> Space:
    """Check the search section of a study file and return its space.

    Args:
        search: field -> {choice: [...]} or {low, high, log, step}.
        values: the keys of the base recipe, without defaults.
        base: the same as a recipe.
        fill: each recipe gets the largest rank within the budget.
        num_labels: number of classes.

    Raises:
        BadInput: fields, ranges or values that cannot be searched; all problems at once.
        OverBudget: nothing in the space fits the budget.
    """
    problems: list[Problem] = []
    dimensions = []
    for name, values_or_range in search.items():
        dimension = _field_problem(name, fill) or _dimension(name, values_or_range)
        if isinstance(dimension, Problem):
            problems.append(dimension)
        else:
            dimensions.append(dimension)
            problems += _value_problems(dimension, values, num_labels)
    combinations = math.prod(len(dimension.choices) for dimension in dimensions if dimension.choices)
    if combinations > MAX_COMBINATIONS:
        expected = f"at most {MAX_COMBINATIONS:,} combinations of choices"
        problems.append(Problem("search", expected, f"{combinations:,}"))
    if problems:
        raise BadInput(problems)
    space = Space(dimensions, values, base, fill, num_labels)
    if not space.is_feasible({}):
        raise OverBudget(
            f"over budget: no recipe in the search space trains at most {base.budget:,} parameters, "
            "even with the lowest rank."
        )
    for dimension in dimensions:
        for choice, value in dimension.choices.items():
            if not space.is_feasible({dimension.field: value}):
                notices.emit(
                    "search_choice",
                    f"{dimension.field} {choice} is never drawn: with it, no recipe in the search space is valid and "
                    "within the budget.",
                )
    return space


def _field_problem(name: str, fill: bool) -> Problem | None:
    where = f"search: {name}"
    if name not in field_names(Recipe):
        return Problem(where, "a field of the recipe", f"'{name}'", did_you_mean(name, field_names(Recipe)))
    if name in FIXED:
        remedy = "All trials are compared on the same rows and within one budget."
        return Problem(where, "a field that changes neither the data nor the budget", f"'{name}'", remedy)
    if fill and name in ("lora.r", "lora.alpha"):
        remedy = "`hold: parameters` sets the rank of every trial; remove the field from the search."
        return Problem(where, "a field other than lora.r and lora.alpha", f"'{name}'", remedy)
    return None


def _dimension(name: str, values_or_range: Any) -> Dimension | Problem:
    where = f"search: {name}"
    if not isinstance(values_or_range, dict):
        return Problem(where, FORMS, repr(values_or_range))
    for key in values_or_range:
        if key not in KEYS:
            return Problem(where, FORMS, f"'{key}'", did_you_mean(str(key), KEYS))
    if "choice" not in values_or_range:
        return _range(name, values_or_range)
    choice = values_or_range["choice"]
    if len(values_or_range) > 1 or not isinstance(choice, list) or len(choice) < 2:
        expected = "a list of at least two values under `choice`, and no other key"
        return Problem(where, expected, repr(values_or_range))
    choices = {level_name(value): value for value in choice}
    if len(choices) < len(choice):
        return Problem(where, "choices that differ from each other", repr(choice))
    if len({file_name(level).casefold() for level in choices}) < len(choices):
        expected = "choices that differ in Latin letters, digits, `.`, `_` or `-`: they name the runs"
        return Problem(where, expected, repr(choice))
    return Dimension(name, choices)


def _range(name: str, values: Mapping[str, Any]) -> Dimension | Problem:
    where = f"search: {name}"
    low, high, log, step = (values.get(key) for key in ("low", "high", "log", "step"))
    if not (_is_number(low) and _is_number(high) and (step is None or _is_number(step))):
        return Problem(where, "numbers as low, high and step", repr(dict(values)))
    if not low < high:
        return Problem(where, "low below high", f"low {low} and high {high}")
    if not (log is None or isinstance(log, bool)):
        return Problem(where, "true or false as log", repr(log))
    if log and (low <= 0 or step is not None):
        return Problem(where, "low above 0 and no step if log is true", repr(dict(values)))
    integer = isinstance(low, int) and isinstance(high, int) and not isinstance(step, float)
    if name in RANKS and not integer:
        return Problem(where, "integers", repr(dict(values)))
    if step is not None and not 0 < step <= high - low:
        return Problem(where, f"a step above 0 and at most {high - low}", str(step))
    return Dimension(name, {}, low, high, bool(log), step, integer)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value_problems(dimension: Dimension, values: Mapping[str, Any], num_labels: int) -> list[Problem]:
    """Return the problems of each value alone in the base recipe; drawing checks the values together."""
    field, where = dimension.field, f"search: {dimension.field}"
    candidates = dimension.choices.values() or (dimension.end(top=False), dimension.end(top=True))
    problems: dict[str, Problem] = {}
    for value in candidates:
        try:
            recipe = Recipe.model_validate(with_fields(values, {field: value}))
            if dimension.choices:  # the upper end of a range of ranks may be more than the encoder allows
                count_recipe(recipe, num_labels)
        except ValidationError as error:
            details = next(
                (part for part in error.errors() if ".".join(map(str, part["loc"])).startswith(field)), None
            )
            if details is not None:
                message = message_of(details)
                expected, _, culprit = message.partition("|")
                problem = Problem(where, expected, f"'{culprit}'" if culprit else repr(value))
                problems.setdefault(level_name(value), problem)
        except BadInput as error:
            for problem in error.problems:
                if problem.where == field:
                    problems.setdefault(level_name(value), problem)
    return list(problems.values())
