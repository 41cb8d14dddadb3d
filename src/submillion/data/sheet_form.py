"""Rows of a spreadsheet; places are the row numbers of its sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from submillion.data.delimited import record_table
from submillion.data.table import Table
from submillion.sources.records import Record
from submillion.sources.spreadsheet import sheet_rows


def spreadsheet(path: Path) -> Table:
    """Open the first visible sheet with values; its first row with values is the header.

    Raises:
        BadInput: it cannot be read, or has no values.
    """
    rows = sheet_rows(path)

    def records() -> Iterator[Record]:
        has_header = False
        with rows.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                values: list[str] = json.loads(line)
                has_header = has_header or any(values)
                if has_header:
                    yield number, values

    return record_table(path, records, unit="row")
