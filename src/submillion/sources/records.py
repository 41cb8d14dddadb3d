"""Lines of text files and records of delimited ones, with errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem

BOM = b"\xef\xbb\xbf"
MAX_FIELD = 2**31 - 1  # csv refuses fields above 131,072 characters by default; texts may be longer
EXAMPLES = 5  # places named in a message

Record = tuple[int, list[str]]
"""(line where the record starts, its fields)"""


def decoded_lines(path: Path) -> Iterator[str]:
    """Yield a file's lines with their ends, one at a time, without the byte order mark.

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


def csv_records(path: Path, delimiter: str, quoting: Any) -> Iterator[Record]:
    """Yield the records of a delimited file; a quoted field may contain line breaks.

    Args:
        path: the file, in utf-8.
        delimiter: one character.
        quoting: one of the `csv.QUOTE_` constants.

    Raises:
        BadInput: a line is not utf-8, or a quoted field does not end.
    """
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(decoded_lines(path), delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadInput(
                Problem(
                    f"{path}, line {line}",
                    "a row whose quoted fields end, with quotes inside them doubled",
                    f"{error}",
                    'A text with quotes is written "He said ""yes""."',
                )
            ) from error
        yield line, record


def places_of(places: Sequence[int], unit: str) -> str:
    """Return such as `line 3` or `lines 3, 5, 8, 9, 11 and 4 more`."""
    named = ", ".join(str(place) for place in places[:EXAMPLES])
    more = f" and {len(places) - EXAMPLES:,} more" if len(places) > EXAMPLES else ""
    plural = {"entry": "entries"}.get(unit, f"{unit}s")
    return f"{unit if len(places) == 1 else plural} {named}{more}"
