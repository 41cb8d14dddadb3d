"""Writes csv that every reader divides into the same rows: a cell with a lone carriage return is quoted as well."""

from __future__ import annotations

import csv
from typing import IO, Any

_END = "\r\n"


def csv_writer(stream: IO[str]) -> Any:
    """Return a `csv.writer` whose lines end in a line feed, and which quotes cells with any line break.

    Args:
        stream: takes text and leaves line ends as they are (`newline=""`).
    """
    return csv.writer(_LineFeeds(stream), lineterminator=_END)


class _LineFeeds:
    """Passes rows on with a line feed at their end.

    Up to Python 3.12, `csv.writer` quotes only those line breaks that its line terminator has, but readers end a row at
    a lone carriage return as well.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._write = stream.write

    def write(self, row: str) -> None:
        self._write(row[: -len(_END)] + "\n")
