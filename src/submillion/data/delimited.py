"""Rows of csv, tab-separated and plain text files; places are line numbers of the file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data.table import Malformed, RowStream, Table
from submillion.errors import BadInput, Problem
from submillion.sources.records import Record, csv_records, decoded_lines

SNIFFED = 1000  # records that decide whether quotes in a tab-separated file quote


def text_lines(path: Path) -> Table:
    """Open a plain text file: each line is a text, an empty line an empty text."""

    def rows(wanted: Sequence[str]) -> RowStream:
        for number, line in enumerate(decoded_lines(path), start=1):
            yield number, [line.rstrip("\r\n")] * len(wanted)

    return Table(path, ["text"], rows)


def comma_separated(path: Path) -> Table:
    """Open a csv file with a header."""
    delimiter = _delimiter(next(decoded_lines(path), ""))
    if delimiter != ",":
        notices.emit("delimiter", f"{path.name}: the columns are separated by {delimiter!r}, not by commas.")
    return _delimited(path, delimiter, csv.QUOTE_MINIMAL)


def tab_separated(path: Path) -> Table:
    """Open a tab-separated file with a header; quotes quote only if every row has the same columns that way."""
    return _delimited(path, "\t", _tab_quoting(path))


def _delimited(path: Path, delimiter: str, quoting: Any) -> Table:
    records = partial(csv_records, path, delimiter, quoting)
    header = _header(path, records())
    return Table(path, header, partial(_rows, records, header))


def _rows(
    records: Callable[[], Iterator[Record]], columns: Sequence[str], wanted: Sequence[str]
) -> RowStream:
    places = [columns.index(name) for name in wanted]
    for line, record in islice(records(), 1, None):
        if not record and len(columns) == 1:
            record = [""]  # in a file of one column, an empty line is an empty text
        if len(record) == len(columns):
            yield line, [record[place] for place in places]
        elif record:
            yield line, Malformed(f"{len(record)} fields instead of {len(columns)}")


def _header(path: Path, records: Iterator[Record]) -> list[str]:
    _, header = next(records, (1, []))
    if not header:
        raise BadInput(Problem(f"{path}, line 1", "a header that names the columns", "an empty line"))
    return [name.strip() for name in header]


def _delimiter(first_line: str) -> str:
    """Return the separator of a csv file: a comma if the header has one, else the first other one in it."""
    for delimiter in (",", ";", "\t", "|"):
        if delimiter in first_line:
            return delimiter
    return ","


def _tab_quoting(path: Path) -> Any:
    """Return whether quotes quote: by IANA's definition they never do, in files of spreadsheets they do."""
    plain = {line.count("\t") for line in islice(decoded_lines(path), SNIFFED)}
    try:
        quoted = {len(record) for _, record in islice(csv_records(path, "\t", csv.QUOTE_MINIMAL), SNIFFED)}
    except BadInput:
        quoted = set()
    if len(quoted) != 1 and len(plain) == 1:
        notices.emit("quotes", f"{path.name}: quotes are read as characters of the text.")
        return csv.QUOTE_NONE
    return csv.QUOTE_MINIMAL
