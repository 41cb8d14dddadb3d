"""Lines of text files and records of delimited ones, with errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.sources.encoding import text_form

BOM = "\ufeff"
MAX_FIELD = 2**31 - 1  # csv refuses fields above 131,072 characters by default; texts may be longer
EXAMPLES = 5  # places named in a message

Record = tuple[int, list[str]]
"""(line where the record starts, its fields)"""


def decoded_lines(path: Path, encoding: str | None = None) -> Iterator[str]:
    """Yield a file's lines with their ends, one at a time, without the byte order mark.

    Args:
        path: the file.
        encoding: of the file; None finds it (`encoding.text_form`).

    Raises:
        BadInput: a line cannot be decoded; the line and the byte are named.
    """
    form = text_form(path, encoding)
    with path.open(encoding=form.encoding, newline=form.newline) as file:
        yield file.readline().removeprefix(BOM)
        yield from file


def csv_records(
    path: Path, delimiter: str, quoting: Any, encoding: str | None = None, skipped: int = 0
) -> Iterator[Record]:
    """Yield the records of a delimited file; a quoted field may contain line breaks.

    Args:
        path: the file.
        delimiter: one character.
        quoting: one of the `csv.QUOTE_` constants.
        encoding: of the file; None finds it.
        skipped: lines before the first record.

    Raises:
        BadInput: a line cannot be decoded, or a quoted field does not end.
    """
    csv.field_size_limit(MAX_FIELD)
    lines = islice(decoded_lines(path, encoding), skipped, None)
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        line = skipped + reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _broken_record(path, line, error) from error
        yield line, record


def _broken_record(path: Path, line: int, error: csv.Error) -> BadInput:
    if "new-line character" in str(error):
        remedy = "Remove it, or put the whole field in double quotes."
        return BadInput(
            Problem(f"{path}, line {line}", "one row per line", "a carriage return inside the row", remedy)
        )
    return BadInput(
        Problem(
            f"{path}, line {line}",
            "a row whose quoted fields end, with quotes inside them doubled",
            f"{error}",
            'A text with quotes is written "He said ""yes""."',
        )
    )


def places_of(places: Sequence[int], unit: str) -> str:
    """Return such as `line 3` or `lines 3, 5, 8, 9, 11 and 4 more`."""
    named = ", ".join(str(place) for place in places[:EXAMPLES])
    more = f" and {len(places) - EXAMPLES:,} more" if len(places) > EXAMPLES else ""
    plural = {"entry": "entries"}.get(unit, f"{unit}s")
    return f"{unit if len(places) == 1 else plural} {named}{more}"
