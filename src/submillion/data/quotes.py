"""Detects rows that a stray quote has merged into one quoted field."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from submillion.data.column_values import FEWEST
from submillion.data.columns import is_usual_name
from submillion.errors import BadInput, Problem
from submillion.sources.records import Record

LEARNT = 5_000  # records from which the usual values of the columns are learnt
FEW = 100  # different values of a column of classes, at most
REPEATED = 3  # times that a class occurs on average, at least
MOST_COLUMNS = 1000  # of a file that is checked
BREAK = re.compile(r"\r\n|\r|\n")
SHOWN = 60  # characters of a line in the message
OPENS_AFTER_BLANK = re.compile(r'[ ]+"')
"""Beginning of a field with a quote that does not quote, because a blank precedes it."""


def has_single_quotes(records: Sequence[Sequence[str]]) -> bool:
    """Return whether single quotes enclose the fields of records, which csv does not know as quotes.

    Args:
        records: the first ones of a file.

    Example:
        >>> has_single_quotes([["'text'", "'label'"], ["'arrived broken'", "'bad'"]])
        True
    """
    rows = [[field.strip() for field in record] for record in records if record]
    if not rows:
        return False
    if all(len(field) > 1 and field[0] == field[-1] == "'" for field in rows[0]):
        return len(rows[0]) > 1 or is_usual_name(rows[0][0][1:-1])
    below = [row[0][:1] == row[-1][-1:] == "'" and len(row) > 1 for row in rows[1:]]
    return len(below) >= FEWEST and all(below)


class QuoteCheck:
    """Knows what rows of a file look like, and finds such rows inside its quoted fields.

    A text may span lines. But if one of its lines, split at the delimiter, has as many fields as a row, and those that
    should be classes are classes that occur in the file, then it is a row that was swallowed by a quote which opens in
    an earlier row and closes in a later one.
    """

    def __init__(self, path: Path, delimiter: str, columns: int, records: Iterable[Record]) -> None:
        """Learn the values of the columns that have few of them.

        Args:
            path: the file, for the message.
            delimiter: of its fields.
            columns: how many fields a row has.
            records: of the file, without its header.
        """
        self._path, self.delimiter, self._columns = path, delimiter, columns
        self._classes: dict[int, set[str]] = {}
        if 1 < columns <= MOST_COLUMNS:
            self._learn(islice(records, LEARNT))

    def _learn(self, records: Iterator[Record]) -> None:
        seen: list[Counter[str] | None] = [Counter() for _ in range(self._columns)]
        for _, record in records:
            if len(record) != self._columns or any("\n" in field or "\r" in field for field in record):
                continue
            for index, (values, field) in enumerate(zip(seen, record, strict=True)):
                if values is not None:
                    values[field] += 1
                    if len(values) > FEW:
                        seen[index] = None
        for index, values in enumerate(seen):
            if not values or values.total() < REPEATED * len(values):
                continue
            # A value that occurs once may be a text; a column that is mostly empty says nothing.
            repeated = {value for value, count in values.items() if count > 1}
            if sum(values[value] for value in repeated if value) > values.total() / 2:
                self._classes[index] = repeated

    def check(self, line: int, record: Sequence[str]) -> None:
        """Check one record.

        Args:
            line: where it starts.
            record: its fields.

        Raises:
            BadInput: one of its fields contains a row.
        """
        for index, field in enumerate(record):
            lines = BREAK.split(field) if "\n" in field or "\r" in field else []
            for number, text in enumerate(lines):
                before = index if number == 0 else 0
                after = self._columns - 1 - index if number == len(lines) - 1 else 0
                if self._is_row(text, index, before, after):
                    raise BadInput(self._problem(line, len(lines), text))

    def _is_row(self, text: str, index: int, before: int, after: int) -> bool:
        """Return whether a line of a quoted field looks like a row.

        Args:
            text: the line.
            index: of the field in its record.
            before: fields of the record that precede the quoted one on this line.
            after: fields of the record that follow it on this line.
        """
        fields = [field.strip('"') for field in text.split(self.delimiter)]
        if len(fields) != self._columns - before - after:
            return False
        # Next to the record's other fields, field `index` is a part of the text itself.
        ours = [
            place for place in range(before, self._columns - after) if place != index or before == after == 0
        ]
        telling = {place: self._classes[place] for place in ours if place in self._classes}
        if not telling:
            # Texts seldom contain tabs, so that their number alone tells.
            return self.delimiter == "\t" and len(fields) > 1
        values = [fields[place - before] for place in telling]
        return any(values) and all(
            value in known for value, known in zip(values, telling.values(), strict=True)
        )

    def _problem(self, line: int, lines: int, text: str) -> Problem:
        shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
        return Problem(
            f"{self._path}, line {line}",
            "a quote that closes in its own row",
            f"a quoted text of {lines} lines that contains rows of the file, such as {shown!r}",
            "Delete the stray quote, or double it inside a quoted text. If the text really has these lines, save the "
            "file as jsonl or parquet.",
        )
