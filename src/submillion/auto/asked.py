"""The caller's own fields of a recipe that `auto` decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from submillion import notices, recipe_file
from submillion.auto.rules import AT_THE_END, NO_FOLDS, SMALL_ENCODER
from submillion.auto.subject import AUTO, run_name
from submillion.data.columns_by_content import columns_by_content
from submillion.data.corpus_sources import MEMORY, with_rows_from_memory
from submillion.data.rows import LabelledRows
from submillion.data.split_column import split_column
from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.recipe_data import CROSS_VALIDATION


def check_one_source(data: str | Path | None, overrides: Sequence[str], rows: LabelledRows | None) -> None:
    """Check that the training texts are named once; arguments as of `asked_recipe`.

    Raises:
        BadInput: they are named several times, or not at all.
    """
    named = [item.partition("=")[2] for item in overrides if item.startswith("data.train=")]
    if data is None and rows is None and not named:
        remedy = "Name a file of labelled texts, or @{data.train}; in Python, pass `texts` and `labels`."
        raise BadInput(Problem("train", "labelled texts for the recipe auto", "none", remedy))
    if data is not None and rows is not None:
        found = f"{data}, and texts from memory"
        raise BadInput(Problem("train", "a source or @{texts}, not both", found, "Omit one of them."))
    if data is not None and named and named[-1] != str(data):
        found = f"{data} and {named[-1]}"
        raise BadInput(
            Problem("@{data.train}", "one source of the training texts", found, "Omit one of them.")
        )


def asked_recipe(
    data: str | Path | None, overrides: Sequence[str], rows: LabelledRows | None
) -> tuple[Recipe, frozenset[str]]:
    """Return a recipe with the caller's fields, and their dotted names.

    Args:
        data: file, folder or data set; None if `data.train` is among the overrides, or the rows are in memory.
        overrides: recipe fields, such as `["lora.r=8"]`.
        rows: labelled texts from memory.

    Raises:
        BadInput: no data are named, or two sources of them, or a field is wrong.
    """
    check_one_source(data, overrides, rows)
    fixed = frozenset(item.partition("=")[0] for item in overrides)
    values: dict[str, Any] = {
        "name": AUTO if data is None else run_name(data),
        "encoder": {"source": SMALL_ENCODER},
        **_defaults(_given(overrides)),
    }
    values["data"]["train"] = MEMORY if data is None else str(data)
    asked = Recipe.model_validate(values).with_overrides(overrides)
    return (asked if rows is None else with_rows_from_memory(asked, overrides)), fixed


def with_columns(asked: Recipe, fixed: Collection[str]) -> Recipe:
    """Return the recipe with columns of its training file: that of the splits, and those that only their values tell.

    Args:
        asked: the recipe with the caller's fields.
        fixed: their dotted names.
    """
    data, file = asked.data, Path(asked.with_absolute_paths().data.train)
    if not recipe_file.is_file(file):
        return asked
    if "data.split" not in fixed and (split := split_column(file, data.encoding)) is not None:
        asked = asked.with_data(split=split)
        data = asked.data
    found = columns_by_content(file, data.text, data.label, data.encoding, data.split)
    if found is None:
        return asked
    text, label = found
    notices.emit(
        "columns_by_content",
        f"{file.name}: by their values, column '{text}' has the texts and column '{label}' the labels. "
        "If that is wrong, name them with data.text and data.label.",
    )
    return asked.model_copy(update={"data": data.model_copy(update={"text": text, "label": label})})


def _given(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the caller's fields by dotted name; those that cannot be read are left to the recipe to refuse."""
    values: dict[str, Any] = {}
    for item in overrides:
        recipe_file.override(Recipe, values, item)
    return recipe_file.flat(values)


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections of a recipe that agree with everything a caller may set; the rules choose the other values."""
    sections: dict[str, Any] = {"data": {}, "head": {}, "train": {"patience": 0}}
    if given.get("head.kind", "linear") == "linear":
        sections["head"] = {"kind": "linear", "start": "probe"}
        if given.get("head.normalize"):
            sections["head"]["pooling"] = "mean"
    if any(given.get(field) not in NO_FOLDS for field in AT_THE_END):
        sections["data"]["validation"] = CROSS_VALIDATION
    return sections
