"""The rows that a prediction reads: the file or standard input, counted before any work, in chunks."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from submillion import notices
from submillion.data.readers import iter_rows
from submillion.errors import BadInput, Problem
from submillion.sources.suffixes import FORMATS

READ_ROWS = 1024  # rows per read of the file
CHUNK_CHARACTERS = 1 << 22  # a chunk of long texts ends earlier, at the read that reaches this
STDIN = "-"

Chunk = tuple[list[str], list[str], list[list[str]]]
"""Ids, texts, and the values of the copied columns, row by row."""


@contextmanager
def readable(file: str | Path, stdin_form: str | None) -> Iterator[Path]:
    """Yield the path of the input; standard input is copied to a temporary file first, because it is read twice.

    Args:
        file: a path, or `-` for standard input.
        stdin_form: format of standard input, named as the ending of a file; None takes jsonl if it begins with a brace
            or a bracket, else csv. Parquet and arrow are recognized by their first bytes.

    Raises:
        BadInput: an unknown format, or a format for a file, whose name says it.
    """
    forms = [suffix.removeprefix(".") for suffix in FORMATS]
    if stdin_form is not None and stdin_form not in forms:
        raise BadInput(Problem("@{stdin_form}", f"one of {', '.join(forms)}", f"'{stdin_form}'"))
    if str(file) != STDIN:
        if stdin_form is not None:
            raise BadInput(Problem("@{stdin_form}", "standard input as the file, -", f"'{file}'"))
        yield Path(file)
        return
    with tempfile.TemporaryDirectory(prefix="submillion-") as folder:
        copied = Path(folder) / "stdin"
        with copied.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream, 1 << 20)
        with copied.open("rb") as stream:
            beginning = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        form = stdin_form or ("jsonl" if beginning in (b"{", b"[") else "csv")
        path = copied.rename(copied.with_suffix(f".{form}"))
        try:
            yield path
        except BadInput as error:
            # The copy is deleted by the time that its name is read.
            raise BadInput(
                [replace(one, where=one.where.replace(str(path), "standard input")) for one in error.problems]
                or str(error)
            ) from error


def count_rows(reads: Iterable[Chunk]) -> int:
    """Return the number of rows, after reading all of them: a row that cannot be used is met before any is classified.

    Notices are left to the reading that follows.

    Raises:
        BadInput: a row cannot be used.
    """
    with notices.suppressed():
        return sum(len(texts) for _, texts, _ in reads)


def rows_of(
    file: Path, text: Any, own_id: str | None, keep: tuple[str, ...], encoding: Any, usual_text: Any
) -> Iterator[Chunk]:
    """Return the rows of a file in small reads; arguments as in `data.readers.iter_rows`."""
    return iter_rows(file, text or None, READ_ROWS, encoding, own_id, keep, usual_text)


def chunked(reads: Iterable[Chunk], rows: int, characters: int = CHUNK_CHARACTERS) -> Iterator[Chunk]:
    """Join small reads into chunks of at least `rows` rows or `characters` characters; the last may be smaller."""
    ids: list[str] = []
    texts: list[str] = []
    copied: list[list[str]] = []
    held = 0
    for more_ids, more_texts, more_copied in reads:
        ids += more_ids
        texts += more_texts
        copied += more_copied
        held += sum(map(len, more_texts))
        if len(texts) >= rows or held >= characters:
            yield ids, texts, copied
            ids, texts, copied, held = [], [], [], 0
    if texts:
        yield ids, texts, copied


class RowHash:
    """The hash of all rows so far, which does not depend on how they are divided into chunks."""

    def __init__(self) -> None:
        self._columns: list[tuple[Any, Any]] = []

    def update(self, chunk: Chunk) -> None:
        """Add the rows of a chunk."""
        ids, texts, copied = chunk
        columns = [ids, texts, *(list(column) for column in zip(*copied, strict=True))]
        if not self._columns:
            self._columns = [(hashlib.sha256(), hashlib.sha256()) for _ in columns]
        for (sizes, content), values in zip(self._columns, columns, strict=True):
            sizes.update(np.fromiter(map(len, values), np.int64, len(values)).tobytes())
            content.update("".join(values).encode("utf-8", "surrogatepass"))

    def hexdigest(self) -> str:
        """Return the sha256 of the rows in hex."""
        whole = hashlib.sha256()
        for pair in self._columns:
            for part in pair:
                whole.update(part.digest())
        return whole.hexdigest()


def after(reads: Iterable[Chunk], rows: int, hashed: RowHash) -> Iterator[Chunk]:
    """Yield what follows the first `rows` rows, which are only hashed."""
    left = rows
    for ids, texts, copied in reads:
        skipped = min(left, len(texts))
        if skipped:
            hashed.update((ids[:skipped], texts[:skipped], copied[:skipped]))
            left -= skipped
        if skipped < len(texts):
            yield ids[skipped:], texts[skipped:], copied[skipped:]
