"""Reads parquet and arrow files of unknown origin: every batch is validated before use, and memory is bounded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from submillion.errors import BadInput, Problem
from submillion.files.arrow_sizes import decompressed_size

ROWS = 1024  # rows decoded at a time
BUFFER = 1 << 20  # bytes of a parquet column read at a time; the default reads whole row groups
BATCH_BYTES = 512 << 20  # that a batch may take if every row had the longest value
EXPANSION = 200  # times the size of a file that its decompressed columns may have
LEAST = 256 << 20  # bytes that the decompressed columns of every file may have
FEW_ROWS = 1_000_000  # rows that every file may have; above it, one row per byte of the file
DICTIONARY_PAGE = 2
BAD_TEXT = re.compile(r"^Invalid UTF8 sequence at string index (\d+)")
# What pyarrow raises for broken files besides its own exceptions: text that is not utf-8, lengths below zero, numbers
# that Python has no type for, memory that cannot be allocated.
FAILURES = (
    struct.error,
    pa.ArrowException,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    ArithmeticError,
    SystemError,
    MemoryError,
)


@contextmanager
def _guarded(path: Path, form: str) -> Iterator[None]:
    """Turn every failure inside into BadInput that names the file."""
    try:
        yield
    except BadInput:
        raise
    except FAILURES as error:
        first = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise BadInput(
            Problem(
                str(path),
                f"a readable {form} file",
                f"one that is not ({first})",
                "Copy or write the file again.",
            )
        ) from error


def parquet_schema(path: Path) -> Any:
    """Return the schema of a parquet file.

    Raises:
        BadInput: it is not a readable parquet file.
    """
    with _guarded(path, "parquet"):
        schema = pq.read_schema(path)
        schema.names  # noqa: B018  # decodes the names, which may not be utf-8
        return schema


def parquet_batches(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Yield some columns of a parquet file, at most ROWS rows at a time, as validated record batches.

    Raises:
        BadInput: the file is not readable, or would fill memory.
    """
    names = list(columns)
    allowed = max(LEAST, EXPANSION * path.stat().st_size)
    before = 0
    with _guarded(path, "parquet"), pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        _check_rows(path, file.metadata.num_rows)
        leaves = _leaves(file.metadata, set(names))
        for group in range(file.metadata.num_row_groups):
            # Facts about a column are asked for only after it was read: if they are false, asking ends the process,
            # and reading raises an exception.
            next(file.iter_batches(batch_size=1, row_groups=[group], columns=names), None)
            chunks = [file.metadata.row_group(group).column(leaf) for leaf in leaves]
            allowed -= sum(chunk.total_uncompressed_size for chunk in chunks)
            if allowed < 0:
                raise _too_large(path)
            rows = min(ROWS, max(1, BATCH_BYTES // max(1, _longest_value(path, chunks))))
            for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=names):
                yield _validated(path, batch, before)
                before += batch.num_rows


def arrow_schema(path: Path) -> Any:
    """Return the schema of an arrow file or stream.

    Raises:
        BadInput: it is neither.
    """
    with _guarded(path, "arrow"), pa.memory_map(str(path)) as source:
        schema = _reader(path, source).schema
        schema.names  # noqa: B018  # decodes the names, which may not be utf-8
        return schema


def arrow_batches(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Yield some columns of an arrow file or stream, at most ROWS rows at a time, validated.

    The file is mapped into memory. Its offsets and lengths are checked in full before a value is read: with false ones,
    pyarrow would read memory of others or end the process.

    Raises:
        BadInput: the file is not readable.
    """
    with _guarded(path, "arrow"), pa.memory_map(str(path)) as source:
        if decompressed_size(path) > max(LEAST, EXPANSION * path.stat().st_size):
            raise _too_large(path)
        reader = _reader(path, source)
        parts: Iterable[Any] = reader
        if is_arrow_file(path):
            parts = (reader.get_batch(index) for index in range(reader.num_record_batches))
        before = 0
        for part in parts:
            _check_rows(path, before + part.num_rows)
            batch = _validated(path, part.select(list(columns)), before)
            before += batch.num_rows
            for start in range(0, batch.num_rows, ROWS):
                yield batch.slice(start, ROWS)


def _check_rows(path: Path, rows: int) -> None:
    """Reject a number of rows that no bytes stand behind: columns without values have any length that a file claims."""
    if rows > max(FEW_ROWS, path.stat().st_size):
        found = f"a claim of {rows:,} rows"
        expected = f"at most {FEW_ROWS:,} rows, or one per byte of the file"
        raise BadInput(Problem(str(path), expected, found, "Write the file again, without repeated rows."))


def _validated(path: Path, batch: Any, before: int) -> Any:
    """Return a batch whose offsets, lengths and texts are in order; `before` counts the rows of the file before it."""
    for column in batch.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if not (found := BAD_TEXT.search(str(error))):
                raise
            # The offsets have been checked before the text, so that its bytes can be read.
            row, text = int(found[1]), column.cast(pa.large_binary())[int(found[1])].as_py()
            raise _not_utf8(path, before + row + 1, text) from error
    batch.validate(full=True)
    return batch


def _not_utf8(path: Path, row: int, text: bytes) -> BadInput:
    found = "other bytes"
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{text[error.start]:02x} at position {error.start + 1} of the text"
    return BadInput(Problem(f"{path}, row {row}", "text in utf-8", found, "Write the file again from texts."))


def is_arrow_file(path: Path) -> bool:
    """Return whether a file has arrow's file format (feather), not its stream format."""
    with path.open("rb") as file:
        return file.read(6) == b"ARROW1"


def _reader(path: Path, source: Any) -> Any:
    return pa.ipc.open_file(source) if is_arrow_file(path) else pa.ipc.open_stream(source)


def _leaves(metadata: Any, columns: set[str]) -> list[int]:
    """Return the indices of the stored columns that make up some columns; a nested column has several."""
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    return [index for index, path in enumerate(paths) if path in columns or path.split(".")[0] in columns]


def _longest_value(path: Path, chunks: Iterable[Any]) -> int:
    """Return a bound of the bytes of one value: a dictionary may hold a long one that millions of rows share."""
    longest = 0
    with path.open("rb") as file:
        for chunk in chunks:
            if chunk.has_dictionary_page:
                file.seek(max(0, chunk.dictionary_page_offset))
                longest = max(longest, _dictionary_size(file.read(16)))
            if "DELTA_BYTE_ARRAY" in chunk.encodings:  # values share their beginnings
                longest = max(longest, chunk.total_uncompressed_size)
    return longest


def _too_large(path: Path) -> BadInput:
    return BadInput(
        Problem(
            str(path),
            f"columns of at most {EXPANSION} times the size of the file",
            "larger ones",
            "If the file is in order, write it with less compression.",
        )
    )


def _dictionary_size(header: bytes) -> int:
    """Return the uncompressed size in the header of a dictionary page: thrift's compact form, fields 1 and 2."""
    if header[:1] != b"\x15" or header[2:3] != b"\x15" or header[1] != 2 * DICTIONARY_PAGE:
        return 0
    size = shift = 0
    for byte in header[3:]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return size >> 1  # zigzag; sizes are positive
