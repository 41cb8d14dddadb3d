"""csv that every reader divides into the same rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from submillion.data.readers import iter_rows
from submillion.files.csv_rows import csv_writer
from submillion.files.output_file import OutputFile
from submillion.files.spreadsheet_cells import cell_value, write_sheet

CELLS = ["a\rb", "\r", "a\r\nb", "a\nb", 'a "b",c', "plain", "end\r"]


def written(rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv_writer(text).writerows(rows)
    return text.getvalue()


def read(file: Path) -> list[list[str]]:
    return [list(row) for ids, texts, _ in iter_rows(file) for row in zip(ids, texts, strict=True)]


def test_only_cells_that_need_quotes_have_them() -> None:
    assert written([["a", "b c"], ["", "\r"], ["a\nb", 'c"d']]) == 'a,b c\n,"\r"\n"a\nb","c""d"\n'
    assert written([[""]]) == '""\n'


@pytest.mark.parametrize("cell", CELLS)
def test_every_reader_finds_the_same_rows(cell: str, tmp_path: Path) -> None:
    rows = [["id", "text"], [cell, "x"], ["y", cell], ["z", "end"]]
    text = written(rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
    assert pd.read_csv(io.StringIO(text), keep_default_na=False).to_numpy().tolist() == rows[1:]
    (tmp_path / "rows.csv").write_bytes(text.encode())
    assert read(tmp_path / "rows.csv") == rows[1:]


def test_a_sheet_is_read_back(tmp_path: Path) -> None:
    lines = [[cell, cell] for cell in CELLS]
    write_sheet(OutputFile.at(tmp_path / "sheet.csv"), ["id", "text"], lines)
    assert [[cell_value(cell) for cell in row] for row in read(tmp_path / "sheet.csv")] == lines
