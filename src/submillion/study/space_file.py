"""What a study file says is searched: read, checked, and refused where nothing of it fits the budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from submillion import notices
from submillion.errors import BadInput, OverBudget, Problem, did_you_mean
from submillion.recipe import Recipe, field_names
from submillion.study.fill_rank import counted
from submillion.study.space import RANKS, Dimension, Space, end, in_words, with_fields

KEYS = ("choice", "low", "high", "log", "step")
MOST_COMBINATIONS = 10_000
FIXED = (
    *("name", "seed", "budget", "track"),
    *(
        f"data.{name}"
        for name in ("train", "test", "validation", "validation_size", "label", "labels", "limit")
    ),
    "data.trust_pickle",
)
"""Trials are compared within one budget, on the same validation rows, drawn with the same seed."""


def read_space(
    search: Mapping[str, Any], values: Mapping[str, Any], base: Recipe, fill: bool, num_labels: int
) -> Space:
    """Check what a study file says is searched.

    Args:
        search: field -> {choice: [...]} or {low, high, log, step}.
        values: the base's keys, defaults left out.
        base: the same as a recipe.
        fill: each recipe gets the largest rank within the budget.
        num_labels: number of classes.

    Raises:
        BadInput: fields, ranges or values that cannot be searched; all problems at once.
        OverBudget: nothing of the space fits the budget.
    """
    problems: list[Problem] = []
    dimensions = []
    for name, given in search.items():
        found = _field_problem(name, fill)
        if found is None:
            dimension = _dimension(name, given)
            if isinstance(dimension, Dimension):
                dimensions.append(dimension)
                problems += _value_problems(dimension, values, num_labels)
                continue
            found = dimension
        problems.append(found)
    combinations = math.prod(len(one.choices) for one in dimensions if one.choices)
    if combinations > MOST_COMBINATIONS:
        problems.append(
            Problem("search", f"choices of at most {MOST_COMBINATIONS:,} combinations", f"{combinations:,}")
        )
    if problems:
        raise BadInput(problems)
    space = Space(dimensions, values, base, fill, num_labels)
    if not space.has({}):
        raise OverBudget(
            f"over budget: nothing of the space trains {base.budget:,} parameters or fewer, "
            "not even with the lowest rank."
        )
    for one in dimensions:
        for called, value in one.choices.items():
            if not space.has({one.field: value}):
                why = "nothing with it fits the budget and goes with the rest of the space"
                notices.emit("search_choice", f"{one.field} {called} is never drawn: {why}.")
    return space


def _field_problem(name: str, fill: bool) -> Problem | None:
    place = f"search: {name}"
    if name not in field_names():
        return Problem(place, "a field of the recipe", f"'{name}'", did_you_mean(name, field_names()))
    if name in FIXED:
        remedy = "Trials are compared on the same rows and within one budget."
        return Problem(place, "a field that leaves data and budget as they are", f"'{name}'", remedy)
    if fill and name in ("lora.r", "lora.alpha"):
        remedy = "Ranks are filled up to the budget then."
        return Problem(place, "no lora.r and no lora.alpha with hold: parameters", f"'{name}'", remedy)
    return None


def _dimension(name: str, given: Any) -> Dimension | Problem:
    place, forms = f"search: {name}", "{choice: [...]} or {low, high, log, step}"
    if not isinstance(given, dict):
        return Problem(place, forms, repr(given))
    for key in given:
        if key not in KEYS:
            return Problem(place, forms, f"'{key}'", did_you_mean(str(key), KEYS))
    if "choice" in given:
        choice = given["choice"]
        if len(given) > 1 or not isinstance(choice, list) or len(choice) < 2:
            return Problem(place, "a list of at least two values under choice, and nothing else", repr(given))
        choices = {in_words(value): value for value in choice}
        if len(choices) < len(choice):
            return Problem(place, "choices that differ from each other", repr(choice))
        return Dimension(name, choices)
    return _range(name, given)


def _range(name: str, given: Mapping[str, Any]) -> Dimension | Problem:
    place = f"search: {name}"
    low, high, log, step = (given.get(key) for key in ("low", "high", "log", "step"))
    numbers = [low, high] if step is None else [low, high, step]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return Problem(place, "numbers as low, high and step", repr(dict(given)))
    assert low is not None and high is not None
    if not low < high:
        return Problem(place, "a low end below the high one", f"{low} and {high}")
    if not (log is None or isinstance(log, bool)):
        return Problem(place, "log true or false", repr(log))
    if log and (low <= 0 or step is not None):
        return Problem(place, "a low end above 0 and no step where log is true", repr(dict(given)))
    whole = isinstance(low, int) and isinstance(high, int) and not isinstance(step, float)
    if name in RANKS and not whole:
        return Problem(place, "whole numbers", repr(dict(given)))
    if step is not None and not 0 < step <= high - low:
        return Problem(place, f"a step above 0 and not above {high - low}", str(step))
    return Dimension(name, {}, low, high, bool(log), step, whole)


def _value_problems(one: Dimension, values: Mapping[str, Any], num_labels: int) -> list[Problem]:
    """Try each value alone in the base recipe; what it does together with others is looked at when drawing."""
    problems: dict[str, Problem] = {}
    for value in one.choices.values() if one.choices else (end(one, False), end(one, True)):
        try:
            recipe = Recipe.model_validate(with_fields(values, {one.field: value}))
            if one.choices:  # the upper end of a range of ranks may be more than the encoder has
                counted(recipe, num_labels)
        except ValidationError as error:
            of_field = [
                details
                for details in error.errors()
                if ".".join(map(str, details["loc"])).startswith(one.field)
            ]
            if of_field:
                expected = (
                    str(of_field[0]["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
                )
                expected, _, culprit = expected.partition("|")
                place = f"search: {one.field}"
                problems.setdefault(
                    in_words(value),
                    Problem(place, expected, f"'{culprit}'" if culprit else repr(value)),
                )
        except BadInput as error:
            for problem in error.problems:
                if problem.where == one.field:
                    problems.setdefault(in_words(value), problem)
    return list(problems.values())
