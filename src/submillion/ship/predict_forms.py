"""The formats of a prediction's output: csv, jsonl and parquet, written some rows at a time and joined from parts."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from submillion.errors import BadInput, Problem
from submillion.files.csv_rows import csv_writer
from submillion.files.spreadsheet_cells import BYTE_ORDER_MARK, spreadsheet_cell
from submillion.model.class_thresholds import NONE
from submillion.ship.predict_options import PredictOptions
from submillion.ship.predict_rows import Chunk

Columns = list[Sequence[Any]]
"""The values of each column of the output: strings, None for a missing label, or float32 [N]."""


def columns_of(
    chunk: Chunk,
    answered: np.ndarray,
    labels: Sequence[str],
    probabilities: np.ndarray,
    options: PredictOptions,
) -> Columns:
    """Return the output columns of some rows.

    Args:
        chunk: N ids, texts and copied values.
        answered: class of each row, int [N]; -1 for a row that is not answered.
        labels: C class names.
        probabilities: float32 [N, C].
        options: decide about the columns.
    """
    ids, texts, copied = chunk
    columns: Columns = [ids, [None if place == NONE else labels[place] for place in answered.tolist()]]
    if options.with_confidence:
        of_answer = probabilities[np.arange(len(answered)), answered]
        columns.append(np.where(answered == NONE, probabilities.max(axis=1), of_answer))
        columns += list(probabilities.T)
    if options.with_text:
        columns.append(texts)
    columns += [list(values) for values in zip(*copied, strict=True)]
    return columns


class CsvRows:
    """Lines of csv, in utf-8."""

    suffix = ".csv"

    def __init__(self, stream: IO[bytes] | IO[str], names: Sequence[str], options: PredictOptions) -> None:
        """Begin an output without its header; the stream takes text or bytes."""
        self._stream, self._names = stream, names
        self._in_cell: Callable[[str], str] = spreadsheet_cell if options.spreadsheet else str
        self._mark = BYTE_ORDER_MARK if options.spreadsheet else ""

    def begin(self) -> None:
        """Write the header."""
        self._put(self._mark + self._lines([[self._in_cell(name) for name in self._names]]))

    def write(self, columns: Columns) -> None:
        """Write rows; probabilities have nine digits, which identify a float32."""
        self._put(self._lines(zip(*map(self._cells, columns), strict=True)))

    def _cells(self, column: Sequence[Any]) -> Iterable[str]:
        if isinstance(column, np.ndarray):
            return [f"{value:.9g}" for value in column.tolist()]
        return ["" if value is None else self._in_cell(value) for value in column]

    @staticmethod
    def _lines(rows: Iterable[Iterable[str]]) -> str:
        text = io.StringIO(newline="")
        csv_writer(text).writerows(rows)
        return text.getvalue()

    def _put(self, text: str) -> None:
        self._stream.write(text if _takes_text(self._stream) else text.encode("utf-8"))  # type: ignore[arg-type]

    def end(self) -> None:
        """Nothing follows the last row."""

    def join(self, parts: Iterable[Path]) -> None:
        """Write the rows of parts that this class wrote without headers."""
        for part in parts:
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, self._stream, 1 << 20)  # type: ignore[misc]


class JsonRows(CsvRows):
    """One JSON object per line, with null for a missing label."""

    suffix = ".jsonl"

    def begin(self) -> None:
        """A file of objects has no header."""

    def write(self, columns: Columns) -> None:
        """Write rows; probabilities have nine digits, which identify a float32."""
        values = [
            [float(f"{value:.9g}") for value in column.tolist()] if isinstance(column, np.ndarray) else column
            for column in columns
        ]
        self._put(
            "".join(
                json.dumps(dict(zip(self._names, row, strict=True)), ensure_ascii=False) + "\n"
                for row in zip(*values, strict=True)
            )
        )


class ParquetRows:
    """A parquet file: strings, and float32 for probabilities."""

    suffix = ".parquet"

    def __init__(self, stream: IO[bytes], names: Sequence[str], options: PredictOptions) -> None:
        """Begin an output."""
        with_floats = range(2, len(names) - len(options.keep) - options.with_text)
        self._schema = pa.schema(
            [
                (name, pa.float32() if place in with_floats else pa.large_string())
                for place, name in enumerate(names)
            ]
        )
        self._writer = pq.ParquetWriter(stream, self._schema)

    def begin(self) -> None:
        """The schema is the header."""

    def write(self, columns: Columns) -> None:
        """Write rows as a row group."""
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=self._schema))

    def end(self) -> None:
        """Write the file's footer, without which it cannot be read."""
        self._writer.close()

    def join(self, parts: Iterable[Path]) -> None:
        """Write the row groups of parts."""
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    self._writer.write_table(file.read_row_group(group))


Rows = CsvRows | ParquetRows
FORMS: dict[str, type[CsvRows] | type[ParquetRows]] = {
    form.suffix: form for form in (CsvRows, JsonRows, ParquetRows)
}


def form_of(out: str | Path, options: PredictOptions) -> type[CsvRows] | type[ParquetRows]:
    """Return the format of an output that is a file, by its ending.

    Raises:
        BadInput: an ending of another format, or a form for spreadsheets that is not csv.
    """
    suffix = Path(out).suffix.lower()
    if suffix not in FORMS:
        expected = (
            f"a name that ends in {', '.join(FORMS)}, or without an ending for a folder of parquet files"
        )
        raise BadInput(Problem("@{out}", expected, f"'{out}'"))
    if options.spreadsheet and suffix != CsvRows.suffix:
        raise BadInput(Problem("@{spreadsheet}", "an output whose name ends in .csv", f"'{out}'"))
    return FORMS[suffix]


def _takes_text(stream: IO[Any]) -> bool:
    return not isinstance(stream, io.RawIOBase | io.BufferedIOBase)
