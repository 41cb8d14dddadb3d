"""A file as rows of named columns, read piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ID, TEXT, LABEL = "id", "text", "label"
"""Columns of files that have none of their own, such as folders, chats and tables without a header."""


@dataclass(frozen=True)
class Malformed:
    """A row without the columns of the others."""

    found: str
    remedy: str = ""
    expected: str = ""
    """What the others have; empty if `found` says what this one lacks."""


@dataclass(frozen=True)
class Unlabelled:
    """The label of a row that an annotation tool left without a class; the row does not train."""

    reason: str
    """Completes the sentence `3 rows ...`."""


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
    nested: frozenset[str] = frozenset()
    """Columns of objects inside a row, such as `item.text`."""
    text: str | None = None
    """Text column, if the form of the file says which it is."""
    label: str | None = None
    """Label column, if the form of the file says which it is."""
    has_header: bool = False
    """Whether its columns are named by a line of the file, which may have been taken for one."""
    is_plain: bool = False
    """Whether it has no columns whose names somebody chose: lines, or a folder of texts."""
