"""Cells of csv files that people open in spreadsheets: written so that none is a formula, and read back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.files.csv_rows import csv_writer
from submillion.files.output_file import OutputFile

BYTE_ORDER_MARK = "\ufeff"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Spreadsheets take a cell that begins with one of these for a formula, which can run commands
(https://owasp.org/www-community/attacks/CSV_Injection)."""


def spreadsheet_cell(value: str) -> str:
    """Return a value as a spreadsheet shows it, and never as a formula: with an apostrophe in front where necessary."""
    return f"'{value}" if value.startswith(FORMULA) else value


def check_sheet_name(out: str | Path) -> None:
    """Refuse a name whose ending is that of another format: the file would not be what it is called.

    Raises:
        BadInput: it has an ending other than `.csv`.
    """
    if Path(out).suffix.lower() not in ("", ".csv"):
        raise BadInput(Problem("@{out}", "a csv file, whose name ends in .csv", f"'{out}'"))


def write_sheet(target: OutputFile, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Write a csv for spreadsheets: with a byte order mark, and without a cell that is a formula.

    Raises:
        SubmillionError: the disk refused the file.
    """
    with target.open() as stream:
        stream.write(BYTE_ORDER_MARK)
        writer = csv_writer(stream)
        writer.writerow(header)
        writer.writerows([spreadsheet_cell(value) for value in line] for line in lines)


def cell_value(cell: str) -> str:
    """Return the value of a cell that `spreadsheet_cell` wrote, without its apostrophe."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell
