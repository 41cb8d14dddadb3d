"""Labelled rows in memory, and the values that a text and a label may have."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from submillion.data.columns import Columns
from submillion.data.label_values import float_text, tidy
from submillion.data.text_column import TextColumn, picked
from submillion.sources.records import EXAMPLES

LARGEST_INTEGER = 10**100  # Python takes long to write a number of thousands of digits, or refuses to

ClassValue = str | int | float | bool
"""A label as the caller of the Python API passed it."""


@dataclass
class LabelledRows:
    """N labelled texts, each with its place in the files it came from."""

    ids: TextColumn = field(default_factory=TextColumn)
    """The file's own ids, or the running number from 0."""
    texts: TextColumn = field(default_factory=TextColumn)
    labels: list[str] = field(default_factory=list)
    """As written in the file, or by the names that the file gives to its numbers."""
    classes: list[int] = field(default_factory=list)
    """Class index per row, once the class names are known."""
    file_of: array[int] = field(default_factory=lambda: array("i"))
    """Index into `files` per row."""
    places: array[int] = field(default_factory=lambda: array("q"))
    """Place in that file per row, from 1."""
    files: list[tuple[Path, str]] = field(default_factory=list)
    """(file, unit of its places: line or row)."""
    columns: list[Columns] = field(default_factory=list)
    """Chosen columns, file by file."""
    more: int = 0
    """How many of `files`, the last ones, are those of `data.more`."""
    extra: dict[str, list[str]] = field(default_factory=dict)
    """Values of further columns per row, by column; "" for an empty cell."""
    class_values: dict[str, ClassValue] = field(default_factory=dict)
    """The caller's own value of each label; empty for rows of files."""
    numbers_named: list[str] = field(default_factory=list)
    """Names that the files give to the numbers 0, 1, ... of the label column (`ClassLabel`), if they give any."""

    def __len__(self) -> int:
        return len(self.texts)

    def where(self, row: int) -> str:
        """Return a row's place, such as `train.csv, line 7`."""
        path, unit = self.files[self.file_of[row]]
        return f"{path.name}, {unit} {self.places[row]}"

    def examples(self, rows: Sequence[int]) -> list[str]:
        """Return the places of the first few of some rows."""
        return [self.where(row) for row in rows[:EXAMPLES]]

    def take(self, rows: Sequence[int] | np.ndarray) -> LabelledRows:
        """Return some rows, in the given order."""
        return replace(
            self,
            ids=self.ids.take(rows),
            texts=self.texts.take(rows),
            labels=[self.labels[row] for row in rows],
            classes=[self.classes[row] for row in rows] if self.classes else [],
            file_of=picked(self.file_of, rows),
            places=picked(self.places, rows),
            extra={name: [values[row] for row in rows] for name, values in self.extra.items()},
        )


def flaw_of_text(text: Any) -> tuple[str, str] | None:
    """Return (expected, found) for a value that no tokenizer accepts, None for a text."""
    if not isinstance(text, str):
        return "a text", shown(text)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return "text in unicode", f"half a surrogate pair (\\u{ord(text[error.start]):04x})"
    return None


def label_text(value: Any, names: Sequence[str] | None = None) -> str | None:
    """Return a label as text, in the form that is the same for every file format; None for a value that is no label.

    Args:
        value: as read or passed.
        names: names of the numbers 0, 1, ..., if the file has them.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        value = int(value) if value.is_integer() and names else float_text(value)
    if isinstance(value, int) and names:
        return names[value] if 0 <= value < len(names) else None
    if isinstance(value, str):
        return tidy(value) or None
    if isinstance(value, int) and abs(value) < LARGEST_INTEGER:
        return str(value)
    return None


def shown(value: Any) -> str:
    """Return a value as messages show it: at most 60 characters, `nothing` for a missing one."""
    if value is None or value == "":
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
