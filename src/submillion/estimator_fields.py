"""The recipe fields that the parameters of `SubmillionClassifier` set."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.recipe_data import CROSS_VALIDATION, NO_TEST
from submillion.recipe_file import field_names, flat

SEPARATOR = "__"
"""Joins section and field in parameter names, as scikit-learn's nested parameters: `lora__r`."""
ARGUMENTS = {"encoder.source": "encoder", "budget": "budget", "seed": "random_state"}
"""The fields that have an argument of their own."""


def parameter_names() -> dict[str, str]:
    """Return field -> parameter for every field of a section but `data.train`, in whose place `fit` has its texts."""
    return {
        name: name.replace(".", SEPARATOR)
        for name in field_names(Recipe)
        if "." in name and name != "data.train"
    }


def merged(fields: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with those that have an argument of their own.

    Args:
        fields: recipe fields by dotted name.
        arguments: field -> value of its argument; None if that is not given.

    Raises:
        BadInput: a field and its argument have different values; all problems at once.
    """
    problems = []
    values = dict(fields)
    for name, value in arguments.items():
        if value is None:
            continue
        if name in values and _as_yaml(name, values[name]) != _as_yaml(name, value):
            argument = ARGUMENTS[name]
            found = f"{_as_yaml(name, value)}, and {_as_yaml(name, values[name])} as the recipe field {name}"
            problems.append(Problem(f"@{{{argument}}}", "one value", found, "Leave out one of them."))
        values[name] = value
    if problems:
        raise BadInput(problems)
    return values


def without_own_data(fields: Mapping[str, Any], recipe: Recipe | None) -> dict[str, Any]:
    """Return fields with those that keep a recipe from adding its own rows to the texts of `fit`.

    The caller holds out test rows, if any, or names them in the fields.

    Args:
        fields: by dotted name; what they say about the data holds.
        recipe: with its own data; None if `auto` decides it.
    """
    data = None if recipe is None else recipe.data
    unused: dict[str, Any] = {}
    if fields.get("data.test_size", data and data.test_size) is None:
        unused["data.test"] = NO_TEST
    elif data is not None and data.test is not None:
        unused["data.test"] = None
    if data is not None:
        if data.validation not in (None, CROSS_VALIDATION):
            unused["data.validation"] = None
        unused |= {
            f"data.{name}": None
            for name in ("more", "corrections", "split")
            if getattr(data, name) is not None
        }
        if data.slice_columns:
            unused["data.slice_columns"] = []
    return unused | dict(fields)


def values_of(recipe: Recipe) -> dict[str, Any]:
    """Return the values of all fields of a recipe by dotted name."""
    return flat(recipe.model_dump(mode="json"))


def overrides_of(fields: Mapping[str, Any]) -> list[str]:
    """Return fields as overrides of a recipe.

    Raises:
        BadInput: a value is of a type that no recipe holds.
    """
    return [f"{name}={_as_yaml(name, value)}" for name, value in fields.items()]


def _as_yaml(name: str, value: Any) -> str:
    """Return the value of a field as the right side of an override; JSON is YAML."""
    try:
        return json.dumps(value, default=_plain)
    except TypeError:
        found = f"one {type(value).__name__}"
        raise BadInput(Problem(f"@{{{name}}}", "text, a number, a boolean, None or a list", found)) from None


def _plain(value: Any) -> Any:
    """Return a path as text, and numbers and arrays of numpy as those of Python."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError
