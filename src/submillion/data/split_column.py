"""Divides the rows of a file among training, validation and test by a column that names the split of each row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from submillion import notices
from submillion.data.column_values import sampled_values
from submillion.data.formats import open_table
from submillion.data.rows import LabelledRows, shown
from submillion.errors import BadInput, Problem
from submillion.sources.data_folder import SPLIT_WORDS
from submillion.wording import listed

NAMES = ("split", "set", "subset", "partition", "data_split", "dataset_split", "split_name")
"""Usual names of such a column, in lower case."""
PURPOSES = {"train": "training", "validation": "validation", "test": "testing"}
ALL_ROWS = "use all rows for training with @{data.split}=null."
_SPLITS = {word: split for split, words in SPLIT_WORDS.items() for word in words}


def split_column(file: Path, encoding: str | None) -> str | None:
    """Return the column of a file that has a usual name and names a split in each of the first rows; None without one.

    Args:
        file: in the formats that `formats.open_table` reads.
        encoding: of the file; None finds it.
    """
    with notices.suppressed():  # reading the file gives them
        try:
            table = open_table(file, encoding)
        except BadInput:
            return None
        named = [name for name in table.columns if name.lower().replace(" ", "_") in NAMES]
        if len(named) != 1:
            return None
        (values,) = sampled_values(table, named, empty=True)
    return named[0] if values and all(value.lower() in _SPLITS for value in values) else None


def by_split(rows: LabelledRows, column: str, keep: bool = False) -> dict[str, LabelledRows]:
    """Return the rows of each split that a column names; rows of `data.more` are training rows.

    Args:
        rows: with the column among `extra`.
        column: the column.
        keep: leave it among `extra`.

    Raises:
        BadInput: a row names no split, or none is for training.
    """
    first_more = len(rows.files) - rows.more
    places: dict[str, list[int]] = {}
    wrong: list[int] = []
    values = rows.extra[column]
    for row, value in enumerate(values):
        split = "train" if rows.file_of[row] >= first_more else _SPLITS.get(value.lower())
        if split is None:
            wrong.append(row)
        else:
            places.setdefault(split, []).append(row)
    if wrong:
        found = f"{shown(values[wrong[0]])} ({', '.join(rows.examples(wrong))})"
        expected = "train, validation or test in every row"
        raise BadInput(Problem(f"column '{column}'", expected, found, f"Correct these rows, or {ALL_ROWS}"))
    if "train" not in places:
        found = f"rows for {listed(sorted(places))} alone"
        raise BadInput(
            Problem(f"column '{column}'", "rows for training", found, f"To train on them, {ALL_ROWS}")
        )
    if not keep:
        rows = replace(rows, extra={name: of for name, of in rows.extra.items() if name != column})
    return {split: rows.take(places[split]) for split in SPLIT_WORDS if split in places}


def announce(
    rows: LabelledRows, column: str, splits: Mapping[str, LabelledRows], used: Collection[str], train: str
) -> None:
    """Emit a notice about the splits of a file.

    Args:
        rows: all of the file.
        column: names the split of each row.
        splits: the rows by split.
        used: names of those that are used.
        train: the source, as the user named it.
    """
    counts = listed([f"{len(part):,} for {PURPOSES[split]}" for split, part in splits.items()])
    message = f"{rows.files[0][0].name}: column '{column}' divides the rows: {counts}."
    if unused := [split for split in splits if split not in used]:
        message += f" Not used: those for {listed([PURPOSES[split] for split in unused])}."
    if "validation" in unused:
        message += f" To use the rows for validation, set data.validation to {train}."
    notices.emit("split_column", message, column=column)
