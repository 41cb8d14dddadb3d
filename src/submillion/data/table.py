"""A file as rows of named columns, read piece by piece; its text as lines of utf-8, or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Malformed:
    """A row that has not the columns of the others."""

    found: str


@dataclass(frozen=True)
class Table:
    """A file whose beginning has been read: what its columns are, and how to go through its rows."""

    path: Path
    columns: list[str]
    rows: Callable[[Sequence[str]], Iterator[tuple[int, list[Any] | Malformed]]]
    """Goes through the file once: for wanted columns, (place of the row, its values in their order)."""
    unit: str = "line"
    """What a place counts, from 1: lines of a text file, or rows."""
    class_names: dict[str, list[str]] = field(default_factory=dict)
    """Names that the file itself gives to the numbers of a column, from 0."""
    official: bool = False
    """Class number from 1, title and description: the form in which AG News was published."""


def decoded_lines(path: Path) -> Iterator[str]:
    """Give a file's lines with their ends, one at a time, without the byte order mark.

    Raises:
        BadInput: a line is not utf-8; the line and the byte are named.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line.startswith(BOM):
                line = line[len(BOM) :]
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BadInput(
                    Problem(
                        f"{path}, line {number}",
                        "text in utf-8",
                        f"byte 0x{line[error.start]:02x} at position {error.start + 1} of the line",
                        "Save the file as utf-8; if it is in latin-1: iconv -f latin1 -t utf-8 FILE > NEW.",
                    )
                ) from error


def unreadable(path: Path, form: str, error: Exception) -> BadInput:
    """Return the error for a file that its format's own reader refuses."""
    return BadInput(Problem(str(path), f"a readable {form} file", f"one that is not ({error})"))
