"""Rows of parquet and arrow files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from submillion.data.table import ID, RowStream, Table
from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.files.guarded_arrow import (
    FAILURES,
    arrow_batches,
    arrow_schema,
    parquet_batches,
    parquet_schema,
)

METADATA = "huggingface"  # key of the schema's metadata in which `datasets` describes the columns


def parquet(path: Path) -> Table:
    """Open a parquet file; only the wanted columns are read."""
    return _table(path, parquet_schema(path), lambda wanted: parquet_batches(path, wanted))


def arrow(path: Path) -> Table:
    """Open an arrow file: the file format (feather) or the stream format that `datasets` writes."""
    return _table(path, arrow_schema(path), lambda wanted: arrow_batches(path, wanted))


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


def _table(path: Path, schema: Any, batches: Callable[[list[str]], Iterable[Any]]) -> Table:
    def rows(wanted: Sequence[str]) -> RowStream:
        number = 0
        # A column that is wanted twice is read once.
        distinct = list(dict.fromkeys(wanted))
        for batch in batches(distinct):
            columns = {name: _values(path, name, batch.column(name)) for name in distinct}
            for values in zip(*(columns[name] for name in wanted), strict=True):
                number += 1
                yield number, list(values)

    return Table(path, list(schema.names), rows, unit="row", class_names=_class_names(path, schema))


def _values(path: Path, name: str, column: Any) -> list[Any]:
    """Return the values of a column as Python objects.

    Args:
        path: the file, for messages.
        name: of the column, for messages.
        column: a validated array.

    Raises:
        BadInput: Python has no type for a value.
    """
    if pa.types.is_dictionary(column.type):
        # One object per entry of the dictionary, which may be long, and not one per row.
        entries = _values(path, name, column.dictionary)
        return [None if index is None else entries[index] for index in column.indices.to_pylist()]
    if name.lower() != ID and (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        # Spark and BigQuery write texts as bytes. Other bytes stay what they are, and so do those of ids, of which some
        # would be text by chance.
        with contextlib.suppress(pa.ArrowInvalid):
            column = column.cast(pa.large_string())
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    try:
        values: list[Any] = column.to_pylist()
    except FAILURES as error:
        found = f"column '{name}' of type {column.type} ({error})"
        raise BadInput(
            Problem(str(path), "columns of texts and numbers", found, "Convert it to text.")
        ) from error
    if pa.types.is_decimal(column.type):
        return [value if value is None else _number(value) for value in values]
    return values


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _class_names(path: Path, schema: Any) -> dict[str, list[str]]:
    """Return the class names that `datasets` writes into a file's schema, by column.

    Raises:
        BadInput: the metadata does not have the form that `datasets` writes.
    """
    stored = (schema.metadata or {}).get(METADATA.encode())
    if not stored:
        return {}
    remedy = "Write the file again with `datasets`, or without this metadata."
    where = f"{path}, metadata '{METADATA}'"
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(Problem(where, "text in utf-8", str(error), remedy)) from error
    facts = strict_json.parse(text, where, nan=True)
    info = facts.get("info") if isinstance(facts, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    if not isinstance(features, dict):
        raise BadInput(Problem(where, "the object info.features", "none", remedy))
    classes = {
        name: feature.get("names")
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
    for name, names in classes.items():
        if not (isinstance(names, list) and names and all(isinstance(label, str) for label in names)):
            raise BadInput(
                Problem(where, f"a list of class names for column '{name}'", f"{names!r:.60}", remedy)
            )
    return {name: list(names) for name, names in classes.items() if names is not None}
