"""Converts data files to plain csv, once per content: AG News' headerless csv, Orange's .tab, bare tab-separated."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.cache import cache_root, sha256_of
from submillion.errors import BadInput, Problem
from submillion.files.csv_rows import csv_writer
from submillion.sources import store
from submillion.sources.archive import unpacked
from submillion.sources.catalog import DATASETS
from submillion.sources.encoding import announce, text_form
from submillion.sources.records import (
    HeaderRepeats,
    Record,
    announce_repeats,
    csv_records,
    decoded_lines,
    first_records,
    places_of,
)

# Classes 1 to 4 of the published files (Zhang, Zhao, LeCun 2015, arXiv:1509.01626; their classes.txt).
AGNEWS_CLASSES = DATASETS["ag_news"].labels
AGNEWS_HEADER = ["class index", "title", "description"]  # in copies of the files that have a header
ORANGE_TYPES = {"", "c", "continuous", "d", "discrete", "s", "string", "t", "time", "m", "meta"}
NUMBERS_KEPT = len(AGNEWS_CLASSES) + 1
MOST_CLASSES = 14  # of the data sets published in AG News' form: DBpedia's
REVISION = 4  # of the copies: those of an earlier one are not used any more


@dataclass(frozen=True)
class Converted:
    """A data file in a form that the general readers know."""

    file: Path
    """The file itself if it needs no conversion, else its copy in the cache."""
    is_agnews: bool = False
    """Whether it has AG News' form, and no class number outside 1 to 4."""


def converted(file: Path, encoding: str | None = None, columns: Sequence[str] = ()) -> Converted:
    """Return a data file in a form that the general readers know; archives are unpacked, some forms are converted.

    AG News' form is a csv file of class number, title and description, without a header or with the header
    `Class Index,Title,Description`; other data sets have it too. Its copy has the columns text (title and description,
    joined with a space), label (the number), title and description. Orange's form is a .tab file with three header
    lines (names, types, roles) and without quoting; its copy has the columns that the first line names, without rows of
    empty cells.

    Args:
        file: an existing file.
        encoding: of the file; None finds it.
        columns: names of the columns of a tab-separated file without a header and without quoting, which its copy
            gets; empty for other files.

    Raises:
        BadInput: a row has more or fewer fields than the others.
        SubmillionError: the cache cannot be written.
    """
    file = unpacked(file)
    suffix = file.suffix.lower()
    try:
        fill: Callable[[Path, str | None, Callable[[list[str]], object]], dict[str, Any]]
        if columns:
            fill = partial(_from_bare, columns)
        elif suffix == ".csv" and _is_agnews(file, encoding):
            fill = _from_agnews
        elif suffix == ".tab" and _is_orange(file, encoding):
            fill = _from_orange
        else:
            return Converted(file)
    except BadInput:
        return Converted(file)  # its reader gives the same error, with the rows around it
    form = text_form(file, encoding)
    announce(file, form)
    encoded = "" if form.encoding == "utf-8" else f"-{form.encoding}"
    target = cache_root() / "converted" / f"{sha256_of(file)[:32]}{encoded}-{REVISION}-{file.stem}"
    copy = f"{file.stem}.csv"

    def convert(folder: Path) -> dict[str, Any]:
        with (folder / copy).open("w", encoding="utf-8", newline="") as out:
            return fill(file, encoding, csv_writer(out).writerow)

    facts = store.cached_folder(target, convert)["facts"]
    if fill is not _from_agnews:
        return Converted(target / copy)
    notices.emit("agnews_form", f"{file.name}: read as class number, title and description (AG News' form).")
    announce_repeats(file, *facts["repeats"])
    known = {str(number) for number in range(1, len(AGNEWS_CLASSES) + 1)}
    return Converted(target / copy, set(facts["numbers"]) <= known)


def _is_agnews(file: Path, encoding: str | None) -> bool:
    records = first_records(csv_records(file, ",", csv.QUOTE_MINIMAL, encoding))
    first = records[0] if records else []
    if _is_agnews_header(first):
        return True
    if len(first) != 3 or first[1].strip().isdecimal():
        return False
    rows = [[field.strip() for field in record] for record in records if len(record) == 3]
    return all(map(_is_class_number, (row[0] for row in rows))) and not _end_in_labels(rows)


def _is_class_number(field: str) -> bool:
    return field.isdecimal() and len(field) <= 2 and int(field) <= MOST_CLASSES


def _end_in_labels(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the last column has classes: few values, or short ones beside texts of several words."""
    last = [row[-1] for row in rows]
    if len(last) > 3 and 2 <= len(set(last)) <= len(last) / 2:
        return True
    texts = sum(len(row[1].split()) > 2 for row in rows)
    short = sum(len(field.split()) <= 2 for field in last)
    return 2 * texts > len(rows) and 2 * short > len(rows)


def _is_agnews_header(record: list[str]) -> bool:
    return [name.strip().lower() for name in record] == AGNEWS_HEADER


def _is_orange(file: Path, encoding: str | None) -> bool:
    second = [line.rstrip("\r\n") for line in islice(decoded_lines(file, encoding), 1, 2)]
    return bool(second) and set(second[0].split("\t")) <= ORANGE_TYPES


def _from_agnews(file: Path, encoding: str | None, write: Callable[[list[str]], object]) -> dict[str, Any]:
    """Write the rows; return the class numbers, of many only the first few, and how often the header is repeated."""
    numbers: set[str] = set()
    write(["text", "label", "title", "description"])
    records = csv_records(file, ",", csv.QUOTE_MINIMAL, encoding)
    first = next(records)
    repeats = HeaderRepeats(first[1] if _is_agnews_header(first[1]) else [])
    if not _is_agnews_header(first[1]):
        records = chain([first], records)
    for number, title, description in _rows(file, repeats.rest_of(records), 3):
        write([" ".join(part for part in (title, description) if part), number, title, description])
        if len(numbers) < NUMBERS_KEPT:
            numbers.add(number.strip())
    return {"numbers": sorted(numbers), "repeats": repeats.found}


def _from_orange(file: Path, encoding: str | None, write: Callable[[list[str]], object]) -> dict[str, Any]:
    records = csv_records(file, "\t", csv.QUOTE_NONE, encoding)
    _, header = next(records)
    write([name.strip() for name in header])
    for row in _rows(file, islice(records, 2, None), len(header)):
        if len(row) == 1 or any(row):
            write(row)
    return {}


def _from_bare(
    columns: Sequence[str], file: Path, encoding: str | None, write: Callable[[list[str]], object]
) -> dict[str, Any]:
    write(list(columns))
    for row in _rows(file, csv_records(file, "\t", csv.QUOTE_NONE, encoding), len(columns)):
        write(row)
    return {}


def _rows(file: Path, records: Iterator[Record], count: int) -> Iterator[list[str]]:
    """Yield the records of `count` fields; in the end raise an error that names all others but empty lines."""
    malformed: dict[int, list[int]] = {}
    for line, record in records:
        if len(record) == count:
            yield record
        elif record:
            malformed.setdefault(len(record), []).append(line)
        elif count == 1:
            yield [""]  # in a file of one column, an empty line is an empty text
    if malformed:
        raise BadInput(
            [
                Problem(
                    f"{file}, {places_of(lines, 'line')}",
                    f"{count} fields, as in other rows",
                    str(found),
                )
                for found, lines in malformed.items()
            ]
        )
