"""Rows of parquet and arrow files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from submillion.data.table import RowStream, Table, unreadable
from submillion.errors import BadInput, Problem

ROWS = 1024  # rows decoded at a time
BUFFER = 1 << 20  # bytes of a parquet column read at a time; the default reads whole row groups


def parquet(path: Path) -> Table:
    """Open a parquet file; only the wanted columns are read, ROWS rows at a time."""

    def batches(wanted: list[str]) -> Iterator[Any]:
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            yield from file.iter_batches(batch_size=ROWS, columns=wanted)

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, "parquet", error) from error
    return _table(path, "parquet", schema, batches)


def arrow(path: Path) -> Table:
    """Open an arrow file: the file format (feather) or the stream format that `datasets` writes."""

    def opened() -> Any:
        source = pa.memory_map(str(path))
        return source, pa.ipc.open_file(source) if _has_footer(path) else pa.ipc.open_stream(source)

    def batches(wanted: list[str]) -> Iterator[Any]:
        source, reader = opened()
        with source:
            parts: Iterable[Any] = reader
            if _has_footer(path):
                parts = (reader.get_batch(index) for index in range(reader.num_record_batches))
            for part in parts:
                for start in range(0, part.num_rows, ROWS):
                    yield part.select(wanted).slice(start, ROWS)

    try:
        source, reader = opened()
        with source:
            schema = reader.schema
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, "arrow", error) from error
    return _table(path, "arrow", schema, batches)


def write_strings(path: Path, columns: Sequence[str], portions: Iterable[Sequence[Sequence[str]]]) -> None:
    """Write columns of strings to a parquet file.

    Args:
        path: the file.
        columns: their names.
        portions: the values of each column, some rows at a time.
    """
    schema = pa.schema([(name, pa.large_string()) for name in columns])
    with pq.ParquetWriter(path, schema) as writer:
        for portion in portions:
            writer.write_table(
                pa.table([pa.array(values, pa.large_string()) for values in portion], schema=schema)
            )


def _table(path: Path, form: str, schema: Any, batches: Callable[[list[str]], Iterable[Any]]) -> Table:
    def rows(wanted: Sequence[str]) -> RowStream:
        number = 0
        # A column that is wanted twice is read once.
        distinct = list(dict.fromkeys(wanted))
        try:
            for batch in batches(distinct):
                columns = {name: _values(path, batch.column(name), number) for name in distinct}
                for values in zip(*(columns[name] for name in wanted), strict=True):
                    number += 1
                    yield number, list(values)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, form, error) from error

    return Table(path, list(schema.names), rows, unit="row", class_names=_class_names(schema))


def _values(path: Path, column: Any, before: int) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
        return values
    except UnicodeDecodeError as error:
        for index, value in enumerate(column):
            try:
                value.as_py()
            except UnicodeDecodeError:
                raise BadInput(
                    Problem(
                        f"{path}, row {before + index + 1}",
                        "text in utf-8",
                        f"byte 0x{error.object[error.start]:02x} at position {error.start + 1} of the text",
                    )
                ) from error
        raise


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Return the class names that `datasets` writes into a file's schema, by column."""
    stored = (schema.metadata or {}).get(b"huggingface")
    features = json.loads(stored)["info"]["features"] if stored else {}
    return {
        name: [str(label) for label in feature["names"]]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def _has_footer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == b"ARROW1"
