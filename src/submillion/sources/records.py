"""Lines of text files and records of delimited ones, with errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.sources.encoding import text_form

BOM = "\ufeff"
MAX_FIELD = 2**31 - 1  # csv refuses fields above 131,072 characters by default; texts may be longer
EXAMPLES = 5  # places named in a message
COMPARED = 100  # records that decide about the form of a file

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
    path: Path,
    delimiter: str,
    quoting: Any,
    encoding: str | None = None,
    skipped: int = 0,
    skip_blanks: bool = False,
) -> Iterator[Record]:
    """Yield the records of a delimited file; a quoted field may contain line breaks.

    Args:
        path: the file.
        delimiter: one character.
        quoting: one of the `csv.QUOTE_` constants.
        encoding: of the file; None finds it.
        skipped: lines before the first record.
        skip_blanks: blanks after a delimiter are no part of the field.

    Raises:
        BadInput: a line cannot be decoded, or a quoted field does not end.
    """
    csv.field_size_limit(MAX_FIELD)
    lines = islice(decoded_lines(path, encoding), skipped, None)
    reader = csv.reader(
        lines, delimiter=delimiter, quoting=quoting, skipinitialspace=skip_blanks, strict=True
    )
    while True:
        line = skipped + reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            broken = islice(decoded_lines(path, encoding), line - 1, skipped + reader.line_num)
            raise _broken_record(
                f"{path}, line {line}", error, any('\\"' in part for part in broken)
            ) from error
        yield line, record


def first_records(records: Iterator[Record], count: int = COMPARED) -> list[list[str]]:
    """Return the fields of the first records, up to a broken one: reading the file reports it."""
    found = []
    with suppress(BadInput):
        for _, record in islice(records, count):
            found.append(record)
    return found


class HeaderRepeats:
    """Finds and counts the records that repeat the header: files were joined by appending one to the other."""

    def __init__(self, header: Sequence[str]) -> None:
        """Know the header.

        Args:
            header: fields of the header as they are in the file.
        """
        self._names = [name.strip() for name in header]
        # A row of numbers below a header of numbers, and a text in a file of one column, may be what it says.
        self._found_at_all = not all(name.isdecimal() for name in self._names)
        self._needs_mark = len(self._names) == 1
        self._last = header[-1] if header else ""
        self._count = self._first = 0

    def rest_of(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records that do not repeat the header, and count the others."""
        last, alone = self._last, self._needs_mark
        if not self._found_at_all:
            yield from records
            return
        for numbered in records:
            record = numbered[1]
            # One comparison decides about nearly every record: files have millions.
            likely = bool(record) and (record[-1] == last or (alone and record[0][:1] == BOM))
            if not likely or not self._has(*numbered):
                yield numbered

    def _has(self, line: int, record: Sequence[str]) -> bool:
        """Return whether a record repeats the header; one that does is counted."""
        marked = record[0].startswith(BOM)
        if self._needs_mark and not marked:
            return False
        names = [name.strip() for name in record]
        if marked:  # so that its quotes do not begin the field
            names[0] = names[0].removeprefix(BOM).strip('"')
        if names != self._names:
            return False
        self._first = self._first or line
        self._count += 1
        return True

    @property
    def found(self) -> tuple[int, int]:
        """How many there were, and the line of the first."""
        return self._count, self._first


def announce_repeats(path: Path, count: int, first: int, unit: str = "line") -> None:
    """Report the records that repeat the header, if any.

    Args:
        path: the file.
        count: of these records.
        first: place of the first.
        unit: of the place.
    """
    if count:
        text = (
            f"{unit} {first} repeats the header and is"
            if count == 1
            else f"{count:,} {unit}s repeat the header and are"
        )
        where = "" if count == 1 else f"; {unit} {first} is the first"
        notices.emit("repeated_header", f"{path.name}: {text} left out{where}.", rows=count, first=first)


def _broken_record(where: str, error: csv.Error, has_backslash: bool) -> BadInput:
    if "new-line character" in str(error):
        remedy = "Remove it, or put the whole field in double quotes."
        return BadInput(Problem(where, "one row per line", "a carriage return inside the row", remedy))
    remedy = 'Double each quote inside a quoted field: "He said ""yes""."'
    if "unexpected end" in str(error):
        remedy = f"Close it, or delete a stray quote. {remedy}"
        return BadInput(Problem(where, "a quoted field that ends", "one that never ends", remedy))
    if "expected after" not in str(error):
        return BadInput(Problem(where, "a row that can be read as csv", str(error)))
    found = (
        r"\" inside a quoted field" if has_backslash else "further characters after a quote that ends a field"
    )
    return BadInput(Problem(where, "a quoted field whose inner quotes are doubled", found, remedy))


def places_of(places: Sequence[int], unit: str) -> str:
    """Return such as `line 3` or `lines 3, 5, 8, 9, 11 and 4 more`."""
    named = ", ".join(str(place) for place in places[:EXAMPLES])
    more = f" and {len(places) - EXAMPLES:,} more" if len(places) > EXAMPLES else ""
    plural = {"entry": "entries"}.get(unit, f"{unit}s")
    return f"{unit if len(places) == 1 else plural} {named}{more}"
