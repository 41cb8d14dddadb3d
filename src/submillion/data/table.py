"""A file as rows of named columns, read piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem


@dataclass(frozen=True)
class Malformed:
    """A row without the columns of the others."""

    found: str


RowStream = Iterator[tuple[int, list[Any] | Malformed]]
"""(place of the row, its values in the order of the wanted columns)"""


@dataclass(frozen=True)
class Table:
    """A file whose columns are known; its rows are read when they are wanted."""

    path: Path
    columns: list[str]
    rows: Callable[[Sequence[str]], RowStream]
    """Reads the file once, from the start, for the wanted columns."""
    unit: str = "line"
    """Unit of the places, which count from 1: lines of a text file, or rows."""
    class_names: dict[str, list[str]] = field(default_factory=dict)
    """Class names of a column's numbers, from 0, if the file has them."""


def unreadable(path: Path, form: str, error: Exception) -> BadInput:
    """Return the error for a file that the reader of its format rejects."""
    return BadInput(Problem(str(path), f"a readable {form} file", f"one that is not ({error})"))
