"""Rows of csv, tab-separated and plain text files; places are line numbers of the file."""

from __future__ import annotations

import csv
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data import fasttext_form
from submillion.data.column_values import SAMPLE
from submillion.data.columns import is_usual_name
from submillion.data.headerless import names_without_header
from submillion.data.quotes import OPENS_AFTER_BLANK, QuoteCheck, has_single_quotes
from submillion.data.table import LABEL, TEXT, Malformed, RowStream, Table
from submillion.data.title_lines import lines_above_header
from submillion.errors import BadInput, Problem
from submillion.sources.records import (
    COMPARED,
    HeaderRepeats,
    Record,
    announce_repeats,
    csv_records,
    decoded_lines,
    first_records,
)
from submillion.wording import plural

SNIFFED = 1000  # records that decide whether quotes in a tab-separated file quote
MOST_COLUMNS = 1_000_000
DELIMITERS = (",", ";", "\t", "|")
# The first line that Excel reads, and writes, to name the delimiter.
SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*\s*', re.IGNORECASE)


@dataclass(frozen=True)
class _Header:
    """The header of a delimited file."""

    columns: list[str]
    """Names of the columns, without empty ones at the end."""
    width: int
    """Fields of the header, empty ones at the end included."""
    fields: Sequence[str] = ()
    """The header as it is in the file; nothing if it has none."""


def text_file(path: Path, encoding: str | None = None) -> Table:
    """Open a plain text file: lines of fastText's form, a table of tab-separated columns, or else lines of text.

    Excel saves "Text (Tab delimited)" and "Unicode Text" with the suffix .txt.
    """
    first = next(decoded_lines(path, encoding), "")
    if first.startswith(fasttext_form.PREFIX):
        notices.emit("fasttext_form", f"{path.name}: read as fastText's form, `__label__CLASS text`.")
        return fasttext_form.fasttext(path, encoding)
    header = [name.strip().strip('"') for name in first.split("\t")]
    if len(header) > 1 and (any(map(is_usual_name, header)) or _names(_tab_records(path, encoding))):
        notices.emit("delimiter", f"{path.name}: a table whose columns are separated by '\\t'.")
        return tab_separated(path, encoding)
    return _text_lines(path, encoding)


def _text_lines(path: Path, encoding: str | None) -> Table:
    """Return a table of lines: each is a text, an empty one an empty text."""

    def rows(wanted: Sequence[str]) -> RowStream:
        for number, line in enumerate(decoded_lines(path, encoding), start=1):
            yield number, [line.rstrip("\r\n")] * len(wanted)

    return Table(path, [TEXT], rows, is_plain=True)


def comma_separated(path: Path, encoding: str | None = None) -> Table:
    """Open a csv file with a header, delimited by commas, semicolons, tabs or bars."""
    first = next(decoded_lines(path, encoding), "")
    if sep := SEP_LINE.fullmatch(first):
        notices.emit(
            "sep_line", f"{path.name}: line 1 names the delimiter, {sep[1]!r}; the header is line 2."
        )
        return _delimited(path, _quoted_records(path, sep[1], encoding, 1), sep[1], 1)
    delimiter = _delimiter(path, encoding)
    if delimiter != ",":
        notices.emit("delimiter", f"{path.name}: the columns are separated by {delimiter!r}, not by commas.")
    return _delimited(path, _quoted_records(path, delimiter, encoding), delimiter)


def _quoted_records(
    path: Path, delimiter: str, encoding: str | None, skipped: int = 0
) -> Callable[[], Iterator[Record]]:
    """Return what reads the records of a csv file; where quotes follow blanks, the blanks are no part of the fields."""
    plain = partial(csv_records, path, delimiter, csv.QUOTE_MINIMAL, encoding, skipped)
    records = first_records(plain())
    if not any(OPENS_AFTER_BLANK.match(field) for record in records for field in record):
        return plain
    without = partial(plain, skip_blanks=True)
    try:
        others = [record for _, record in islice(without(), COMPARED)]
    except BadInput:  # such a quote belongs to a text
        return plain
    if _fit(others) < _fit(records):
        return plain
    notices.emit(
        "blank_before_quote", f"{path.name}: blanks after {delimiter!r} are ignored: quotes follow them."
    )
    return without


def tab_separated(path: Path, encoding: str | None = None) -> Table:
    """Open a tab-separated file with a header; quotes quote only if every row has the same columns that way."""
    quoting = _tab_quoting(path, encoding)
    if quoting == csv.QUOTE_NONE:
        notices.emit("quotes", f"{path.name}: quotes are read as characters of the text.")
    return _delimited(path, partial(csv_records, path, "\t", quoting, encoding), "\t")


def _tab_records(path: Path, encoding: str | None) -> Iterator[Record]:
    return csv_records(path, "\t", _tab_quoting(path, encoding), encoding)


def _delimited(
    path: Path, records: Callable[[], Iterator[Record]], delimiter: str, skipped: int = 0
) -> Table:
    def check(width: int, before: int) -> QuoteCheck:
        return QuoteCheck(path, delimiter, width, islice(records(), before, None))

    if has_single_quotes(first_records(records())):
        found, remedy = (
            "single quotes around them",
            "Replace them with double quotes, and double those in a text.",
        )
        raise BadInput(Problem(str(path), "fields in double quotes, or without quotes", found, remedy))
    return record_table(path, records, check, first=skipped + 1)


def record_table(
    path: Path,
    records: Callable[[], Iterator[Record]],
    check: Callable[[int, int], QuoteCheck] | None = None,
    unit: str = "line",
    first: int = 1,
) -> Table:
    """Return records as a table: lines of a title, the header, and rows; texts and labels may lack a header.

    Rows without any value at the end, and columns without a name or value at the end, are left out with a notice.

    Args:
        path: the file, for messages.
        records: yields all records, from the header on.
        check: returns the check of the rows, for the number of columns and of the records before the first row.
        unit: of the records' places.
        first: place of the header.
    """
    names, before = _names(records()), 0
    if names:
        header = _Header(names, len(names))
        notices.emit(
            "no_header",
            f"{path.name}: no header; column {names.index(TEXT) + 1} is read as the text, column "
            f"{names.index(LABEL) + 1} as the label.",
        )
    else:
        above = lines_above_header(first_records(records()))
        if above:
            notices.emit(
                "title_lines",
                f"{path.name}: {plural(above, unit)} above the header {'is' if above == 1 else 'are'} ignored.",
                lines=above,
            )
        header = _header(path, islice(records(), above, None), f"{unit} {first}")
        before = above + 1

    def rows(wanted: Sequence[str]) -> RowStream:
        checked = check(header.width, before) if check else None
        repeats = HeaderRepeats(header.fields)
        kept = repeats.rest_of(islice(records(), before, None))
        yield from _rows(path, kept, header, checked, wanted)
        announce_repeats(path, *repeats.found, unit)

    return Table(path, header.columns, rows, unit=unit, has_header=not names)


def _names(records: Iterator[Record]) -> list[str] | None:
    """Return the names of the columns if the records have no header."""
    return names_without_header(first_records(records, SAMPLE))


def _rows(
    path: Path, records: Iterator[Record], header: _Header, check: QuoteCheck | None, wanted: Sequence[str]
) -> RowStream:
    places = [header.columns.index(name) for name in wanted]
    columns = len(header.columns)
    empty = array("q")  # lines of rows without any value, which are rows only if another one follows
    cut = 0
    for line, record in records:
        if not record and columns == 1:
            record = [""]  # in a file of one column, an empty line is an empty text
        if columns > 1 and record and not record[0].strip() and not any(map(str.strip, record)):
            empty.append(line)
            continue
        for place in empty:
            yield place, [""] * len(wanted)
        del empty[:]
        if len(record) > header.width >= len(_stripped(record)):
            record = record[: header.width]
            cut += 1
        if check:
            check.check(line, record)
        if columns <= len(record) <= header.width:
            yield line, [record[place] for place in places]
        elif record:
            delimiter = check.delimiter if check and len(record) > columns else ""
            yield line, _malformed(record, header, delimiter)
    _announce_empty(path, len(empty), cut)


def _malformed(record: Sequence[str], header: _Header, delimiter: str) -> Malformed:
    """Return the problem with a record of more or fewer fields; the delimiter is empty if a text can have none."""
    remedy = ""
    if delimiter and any(map(OPENS_AFTER_BLANK.match, record)):
        remedy = f"Remove the blanks between {delimiter!r} and the double quotes after it."
    elif delimiter:
        remedy = f"A text with {delimiter!r} in it needs double quotes around it."
    like = "the header" if header.fields else "the first row"
    expected = f"{plural(len(header.columns), 'field')}, as in {like}"
    return Malformed(str(len(record)), remedy, expected)


def _announce_empty(path: Path, rows: int, cut: int) -> None:
    if rows:
        verb = "is" if rows == 1 else "are"
        notices.emit(
            "empty_rows",
            f"{path.name}: {plural(rows, 'row')} without any value at the end of the file {verb} ignored.",
            rows=rows,
        )
    if cut:
        notices.emit(
            "empty_fields",
            f"{path.name}: empty fields after the last column are ignored in {plural(cut, 'row')}.",
            rows=cut,
        )


def _stripped(record: Sequence[str]) -> list[str]:
    """Return a record without the empty fields at its end."""
    end = len(record)
    while end and not record[end - 1].strip():
        end -= 1
    return list(record[:end])


def _header(path: Path, records: Iterator[Record], place: str) -> _Header:
    _, header = next(records, (0, []))
    if not header:
        raise BadInput(Problem(f"{path}, {place}", "a header that names the columns", "an empty line"))
    if len(header) > MOST_COLUMNS:
        found = f"{len(header):,} columns"
        raise BadInput(Problem(f"{path}, {place}", f"a header of at most {MOST_COLUMNS:,} columns", found))
    columns = _stripped(header) or list(header)
    if unnamed := len(header) - len(columns):
        notices.emit(
            "empty_columns",
            f"{path.name}: {plural(unnamed, 'column')} without a name at the end "
            f"{'is' if unnamed == 1 else 'are'} ignored.",
            columns=unnamed,
        )
    return _Header([name.strip() for name in columns], len(header), header)


def _delimiter(path: Path, encoding: str | None) -> str:
    """Return the delimiter of a csv file: the one that splits the most rows into as many fields as the header."""

    fits = {
        delimiter: _fit(first_records(csv_records(path, delimiter, csv.QUOTE_MINIMAL, encoding)))
        for delimiter in DELIMITERS
    }
    return max(DELIMITERS, key=lambda delimiter: fits[delimiter])


def _fit(records: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Return the share of rows that are as wide as the header, and its width; zeros for a single column."""
    widths = [len(record) for record in records[lines_above_header(records) :] if record]
    if not widths or widths[0] == 1:
        return 0.0, 0
    return Counter(widths)[widths[0]] / len(widths), widths[0]


def _tab_quoting(path: Path, encoding: str | None) -> Any:
    """Return whether quotes quote: by IANA's definition they never do, in files of spreadsheets they do."""
    lines = list(islice(decoded_lines(path, encoding), SNIFFED))
    plain = {line.count("\t") for line in lines if line.strip()}
    try:
        records = list(islice(csv_records(path, "\t", csv.QUOTE_MINIMAL, encoding), SNIFFED))
    except BadInput:
        records = []
    quoted = {len(record) for _, record in records if record}
    merged = plain != {0} and any("\n" in field for _, record in records for field in record)
    if len(plain) == 1 and (len(quoted) != 1 or merged):
        return csv.QUOTE_NONE
    return csv.QUOTE_MINIMAL
