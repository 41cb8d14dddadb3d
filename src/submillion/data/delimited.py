"""Rows of csv, tab-separated and plain text files, counted by line whatever is quoted in them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data.table import Malformed, Table, decoded_lines
from submillion.errors import BadInput, Problem

OFFICIAL = ["Class Index", "Title", "Description"]  # the header that AG News' own files leave out
ORANGE_TYPES = {"", "c", "continuous", "d", "discrete", "s", "string", "t", "time", "m", "meta"}
MAX_FIELD = 2**31 - 1  # csv refuses fields above 131,072 characters unless told; texts may be longer
SNIFFED = 1000  # records that decide whether quotes in a tab-separated file quote

Records = Iterator[tuple[int, list[str]]]


def text_lines(path: Path) -> Table:
    """Open a plain text file: each line is a text, an empty line an empty text."""

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[Any] | Malformed]]:
        for number, line in enumerate(decoded_lines(path), start=1):
            yield number, [line.rstrip("\r\n")] * len(wanted)

    return Table(path, ["text"], rows)


def comma_separated(path: Path) -> Table:
    """Open a csv file with a header, or in the official form of AG News, which has none."""
    lines = decoded_lines(path)
    delimiter = _delimiter(next(lines, ""))
    if delimiter != ",":
        notices.emit("delimiter", f"{path.name}: the columns are separated by {delimiter!r}, not by commas.")
    records = partial(_records, path, delimiter, csv.QUOTE_MINIMAL)
    header = _header(path, records())
    if len(header) == 3 and header[0].isdecimal() and not header[1].isdecimal():
        return Table(path, OFFICIAL, partial(_rows, records, OFFICIAL, 0), official=True)
    official = [name.lower() for name in header] == [name.lower() for name in OFFICIAL]
    return Table(path, header, partial(_rows, records, header, 1), official=official)


def tab_separated(path: Path) -> Table:
    """Open a tab-separated file with a header; quotes count as quotes only where they fit as such."""
    if _is_orange(path):
        return orange(path)
    records = partial(_records, path, "\t", _tab_quoting(path))
    header = _header(path, records())
    return Table(path, header, partial(_rows, records, header, 1))


def orange(path: Path) -> Table:
    """Open a tab file of Orange: three header lines (names, types, roles), never quoted."""
    records = partial(_records, path, "\t", csv.QUOTE_NONE)
    header = _header(path, records())
    return Table(path, header, partial(_rows, records, header, 3))


def _rows(
    records: Any, columns: Sequence[str], skipped: int, wanted: Sequence[str]
) -> Iterator[tuple[int, list[Any] | Malformed]]:
    places = [columns.index(name) for name in wanted]
    for line, record in islice(records(), skipped, None):
        if not record and len(columns) == 1:
            record = [""]  # where there is one column, an empty line is an empty text
        if len(record) == len(columns):
            yield line, [record[place] for place in places]
        elif record:
            yield line, Malformed(f"{len(record)} fields instead of {len(columns)}")


def _records(path: Path, delimiter: str, quoting: Any) -> Records:
    """Give (line where the record starts, its fields); a quoted field may hold line breaks."""
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


def _header(path: Path, records: Records) -> list[str]:
    _, header = next(records, (1, []))
    if not header:
        raise BadInput(Problem(f"{path}, line 1", "a header that names the columns", "an empty line"))
    return [name.strip() for name in header]


def _delimiter(first_line: str) -> str:
    """Return the separator of a csv file: a comma if the header has one, else the one that divides it."""
    for delimiter in (",", ";", "\t", "|"):
        if delimiter in first_line:
            return delimiter
    return ","


def _tab_quoting(path: Path) -> Any:
    """Tell whether quotes quote: by IANA's definition they never do, as spreadsheets write they do."""
    plain = {line.count("\t") for line in islice(decoded_lines(path), SNIFFED)}
    try:
        quoted = {len(record) for _, record in islice(_records(path, "\t", csv.QUOTE_MINIMAL), SNIFFED)}
    except BadInput:
        quoted = set()
    if len(quoted) != 1 and len(plain) == 1:
        notices.emit("quotes", f"{path.name}: quotes are read as characters of the text.")
        return csv.QUOTE_NONE
    return csv.QUOTE_MINIMAL


def _is_orange(path: Path) -> bool:
    second = [line.rstrip("\r\n") for line in islice(decoded_lines(path), 1, 2)]
    return path.suffix.lower() == ".tab" and bool(second) and set(second[0].split("\t")) <= ORANGE_TYPES
