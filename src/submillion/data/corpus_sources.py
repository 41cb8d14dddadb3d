"""The sources of a corpus: fetched, read, and described in its report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data.evaluated_rows import announce_unlabelled
from submillion.data.in_memory import stored_columns
from submillion.data.readers import read_rows
from submillion.data.row_problems import NoLabels
from submillion.data.rows import LabelledRows
from submillion.data.split_column import announce, by_split
from submillion.errors import BadInput, Problem
from submillion.recipe import DataRecipe, Recipe
from submillion.recipe_data import CROSS_VALIDATION, NO_TEST
from submillion.sources.fetch import FetchedData, fetch_data
from submillion.wording import listed

VALIDATION_ONLY = "this run is scored on its validation rows only"
FOLDS_ONLY = "this run is scored by its cross-validation only"
MORE = "more"
"""The source of further training rows, `data.more`; its rows are in the split `train`."""
MEMORY = "memory"
"""Stands in `data.train` for training rows that the caller passes."""


def with_rows_from_memory(recipe: Recipe, overrides: Collection[str]) -> Recipe:
    """Return a copy of a recipe that trains on rows from memory in place of `data.train`.

    Test and validation rows stay those of the recipe, if they have sources of their own.

    Args:
        recipe: with the caller's fields.
        overrides: those fields, such as `lora.r=8`.

    Raises:
        BadInput: `data.train` is among them, or the rows cannot be stored in columns of the recipe's names.
    """
    for name, _, source in (item.partition("=") for item in overrides):
        if name == "data.train":
            found = f"{source}, and texts from memory"
            raise BadInput(
                Problem("train", "@{data.train} or @{texts}, not both", found, "Omit one of them.")
            )
    stored_columns(recipe.data.text, recipe.data.label)
    return recipe.with_data(train=MEMORY)


def fetch_sources(data: DataRecipe, progress: bool, from_memory: bool) -> dict[str, FetchedData]:
    """Return the source of each split: its own, or the training source if that has a split of this name.

    Raises:
        BadInput: a source cannot be found, reached or read, or there are further rows for rows from memory.
    """
    sources = {"train": FetchedData(MEMORY, {}, {}, MEMORY) if from_memory else _train_source(data, progress)}
    if data.more is not None:
        if from_memory:
            found = f"{data.more}, and texts from memory"
            raise BadInput(
                Problem("@{data.more}", "none", found, "Pass its texts and labels with the others.")
            )
        sources[MORE] = fetch_data(data.more, progress, data.encoding)
    if data.validation == CROSS_VALIDATION:
        pass
    elif data.validation is not None:
        sources["validation"] = fetch_data(data.validation, progress, data.encoding)
    if data.test_size is not None or wants_no_test(data):
        pass
    elif data.test is not None:
        sources["test"] = fetch_data(data.test, progress, data.encoding)
    elif "test" in sources["train"].files and not _only_split(sources["train"]):
        sources["test"] = sources["train"]
    return sources


def _only_split(source: FetchedData) -> str | None:
    """Return the name of the only split of a source that lacks one named train, and so is trained on; else None."""
    return None if "train" in source.files or len(source.files) != 1 else next(iter(source.files))


def announce_splits(data: DataRecipe, train: FetchedData, test: Mapping[str, Any]) -> None:
    """Emit notices about rows of the training source that are not used, and about a test split that is missing.

    Args:
        data: the recipe's section.
        train: the training source.
        test: where the test rows are from, as in the manifest.
    """
    only = _only_split(train)
    if only is not None:
        notices.emit("only_split", f"{data.train} has {only} rows alone, which are trained on.", split=only)
    elif data.validation in (None, CROSS_VALIDATION) and "validation" in train.files:
        scored = "validation rows are taken from the training rows"
        if data.validation == CROSS_VALIDATION:
            scored = "the cross-validation predicts the training rows"
        notices.emit(
            "validation_unused",
            f"{data.train} has validation rows of its own, which are not used: {scored}. To use its own, set "
            f"data.validation to {data.train}.",
        )
    if data.test_size is not None and "test" in train.files and only is None:
        notices.emit(
            "test_unused",
            f"{data.train} has test rows of its own, which are not used: data.test_size takes the test rows from "
            "the training rows.",
        )
    if test["from"] is None and "unlabelled" not in test and not wants_no_test(data):
        scored = FOLDS_ONLY if data.validation == CROSS_VALIDATION else VALIDATION_ONLY
        notices.emit("no_test", f"the data has no test split: {scored}.")


def wants_no_test(data: DataRecipe) -> bool:
    """Return whether the recipe asks for a training without a test split."""
    return data.test is not None and data.test.lower() == NO_TEST


def _train_source(data: DataRecipe, progress: bool) -> FetchedData:
    if data.train == MEMORY and not Path(MEMORY).exists():
        raise BadInput(
            Problem(
                "@{data.train}",
                "a source that can be read again",
                "training rows that were passed from memory",
                "Pass the same rows again with @{texts} and @{labels}.",
            )
        )
    return fetch_data(data.train, progress, data.encoding)


def source_names(
    data: DataRecipe, sources: Mapping[str, FetchedData], train: LabelledRows
) -> list[str] | None:
    """Return the class names that a source or a file has for the numbers of the label column, None if it has none.

    Those of other splits than `train` count only if they fit its labels, those of a file only if it has rows of each.
    """
    for name, source in sources.items():
        if source.labels and data.label in (None, source.label):
            known = set(source.labels)
            if name == "train" or all(label in known or label.isdecimal() for label in set(train.labels)):
                return source.labels
    return train.numbers_named if set(train.numbers_named) == set(train.labels) else None


def read_splits(
    data: DataRecipe, sources: dict[str, FetchedData], train_rows: LabelledRows | None
) -> dict[str, LabelledRows]:
    """Read the rows of every split; test rows without labels are left out, with a notice.

    Args:
        data: the recipe's section.
        sources: by split; `test` is added if the training file has such rows and no other source does.
        train_rows: training rows from memory; None reads them.

    Raises:
        BadInput: a source lacks a split, its files cannot be read, or training or validation rows have no labels.
    """
    splits: dict[str, LabelledRows] = {}
    for name, source in list(sources.items()):
        if name == MORE or name in splits:
            continue
        if name == "train" and train_rows is not None:
            splits[name] = train_rows
            continue
        try:
            splits[name] = read_split(data, name, source, sources.get(MORE) if name == "train" else None)
        except NoLabels:
            if name != "test":
                raise
            announce_unlabelled(_file_names(source, name))
        if name == "train" and data.split:
            splits = _of_one_file(data, splits["train"], data.split, sources)
    return splits


def _of_one_file(
    data: DataRecipe, rows: LabelledRows, column: str, sources: dict[str, FetchedData]
) -> dict[str, LabelledRows]:
    """Return those splits of the training file that are used: train, and what no other source has.

    Args:
        data: the recipe's section.
        rows: all of the file, and the further training rows.
        column: names the split of each row.
        sources: by split; `test` is added.
    """
    splits = by_split(rows, column, keep=column in data.slice_columns)
    train = sources["train"]
    if "test" in splits and "test" not in sources and data.test_size is None and not wants_no_test(data):
        sources["test"] = train
    used = [name for name, source in sources.items() if source.origin == train.origin]
    for name in used:
        if name not in splits:
            found = f"{train.name}, whose column '{column}' names only {listed(list(splits))}"
            raise BadInput(Problem(f"@{{data.{name}}}", f"a source with rows of the split {name}", found))
    announce(rows, column, splits, used, data.train)
    return {name: splits[name] for name in used}


def read_split(
    data: DataRecipe, split: str, source: FetchedData, more: FetchedData | None = None
) -> LabelledRows:
    """Read the labelled rows of one split.

    Args:
        data: the recipe's section.
        split: train, validation or test.
        source: of this split; a source with a single file is read whatever the file's split is.
        more: of further rows of this split.

    Raises:
        BadInput: the source has several splits but not this one, or its files cannot be read.
    """
    files = _files_of(source, split, split)
    further = _files_of(more, split, MORE) if more else []
    text, label = data.text or source.text, data.label or source.label
    skip = split != "train" or data.skip_unlabelled
    columns = dict.fromkeys(data.slice_columns, "data.slice_columns")
    if data.split and split == "train":
        columns.setdefault(data.split, "data.split")
    return read_rows(files, text, label, columns, data.encoding, skip_unlabelled=skip, more=further)


def _files_of(source: FetchedData, split: str, field: str) -> list[Path]:
    """Return the files of a split, or of the only one; `field` is that of the section which names the source."""
    if split in source.files:
        return source.files[split]
    if len(source.files) == 1:
        return next(iter(source.files.values()))
    raise BadInput(
        Problem(
            f"@{{data.{field}}}",
            f"a source with a split '{split}'",
            f"{source.name}, which has {', '.join(sorted(source.files)) or 'none'}",
            f"Name the file with @{{data.{field}}}.",
        )
    )


def _file_names(source: FetchedData, split: str) -> str:
    files = source.files.get(split) or next(iter(source.files.values()))
    return ", ".join(file.name for file in files[:3])


def origin(source: FetchedData) -> dict[str, Any]:
    """Return the entries of the report about the training source."""
    return {
        "name": source.name,
        "source": source.name,
        "origin": source.origin,
        "licence": source.licence,
    }


def source_reports(
    sources: Mapping[str, FetchedData], splits: Mapping[str, LabelledRows]
) -> dict[str, dict[str, Any]]:
    """Return the entries of the report about the sources, by split, and about the further training rows."""
    reports = {}
    for name, source in sources.items():
        rows = splits.get("train" if name == MORE else name)
        if rows is not None:
            first = len(rows.files) - rows.more
            files = slice(first, None) if name == MORE else slice(first)
            part = replace(rows, files=rows.files[files], columns=rows.columns[files])
            reports[name] = source_report(source, part)
    return reports


def source_report(source: FetchedData, rows: LabelledRows) -> dict[str, Any]:
    """Return the entry of the report about one source and the rows of its files."""
    return {
        "name": source.name,
        "origin": source.origin,
        "licence": source.licence,
        "files": [path.name for path, _ in rows.files],
        "columns": _distinct({"text": chosen.text, "label": chosen.label} for chosen in rows.columns),
        "sha256": source.sha256,
    }


def _distinct(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    distinct: list[dict[str, Any]] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    return distinct
