"""The decompressed size of the batches of an arrow file, read from its metadata before anything is decompressed."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"ARROW1"
CONTINUATION = 0xFFFFFFFF
DICTIONARY_BATCH, RECORD_BATCH = 2, 3  # types of a message's header, arrow's Message.fbs
BLOCK = (
    24  # bytes of a Block in the footer, arrow's File.fbs: offset, length of the metadata, length of the body
)
UNCOMPRESSED = -1  # in place of the size of a buffer that is stored as it is


class _Table:
    """A table of a flatbuffer (https://flatbuffers.dev/internals); fields are found by their numbers."""

    def __init__(self, data: mmap.mmap, start: int) -> None:
        self._data, self._start = data, start
        self._fields = start - _number(data, "i", start)

    @classmethod
    def root(cls, data: mmap.mmap, start: int) -> _Table:
        """Return the table that a buffer begins with."""
        return cls(data, start + _number(data, "I", start))

    def place(self, field: int) -> int | None:
        """Return where the value of a field is, None if the table lacks it."""
        if 4 + 2 * field >= _number(self._data, "H", self._fields):
            return None
        offset = _number(self._data, "H", self._fields + 4 + 2 * field)
        return self._start + offset if offset else None

    def table(self, field: int) -> _Table | None:
        """Return the table that a field refers to."""
        place = self.place(field)
        return None if place is None else _Table(self._data, place + _number(self._data, "I", place))

    def vector(self, field: int, size: int) -> Iterator[int]:
        """Yield the places of the elements, of `size` bytes each, of a vector."""
        place = self.place(field)
        if place is not None:
            start = place + _number(self._data, "I", place)
            count = _number(self._data, "I", start)
            yield from range(start + 4, start + 4 + size * min(count, len(self._data) // size), size)

    def number(self, field: int, code: str) -> int:
        """Return the value of a field of numbers, 0 if the table lacks it."""
        place = self.place(field)
        return 0 if place is None else _number(self._data, code, place)


def decompressed_size(path: Path) -> int:
    """Return how many bytes the compressed buffers of an arrow file or stream take when they are decompressed.

    The sizes are those that the file claims, which is what arrow allocates.

    Raises:
        struct.error: the metadata leads out of the file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        places = _blocks(data) if data[: len(MAGIC)] == MAGIC else _messages(data)
        return sum(_size_of_message(data, *place) for place in places)


def _blocks(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield (start of the metadata, start of the body) of the batches that the footer of a file lists."""
    length = _number(data, "i", len(data) - len(MAGIC) - 4)
    footer = _Table.root(data, len(data) - len(MAGIC) - 4 - length)
    for field in (2, 3):  # dictionaries, recordBatches
        for place in footer.vector(field, BLOCK):
            start = _number(data, "q", place)
            yield _metadata(data, start)[0], start + _number(data, "i", place + 8)


def _messages(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield the same for the messages of a stream, one after the other."""
    position = 0
    while position + 8 <= len(data):
        start, length = _metadata(data, position)
        if length <= 0:
            return
        yield start, start + length
        position = start + length + max(0, _Table.root(data, start).number(3, "q"))


def _metadata(data: mmap.mmap, start: int) -> tuple[int, int]:
    """Return the start and the length of the metadata of the message at `start`."""
    if _number(data, "I", start) == CONTINUATION:
        return start + 8, _number(data, "i", start + 4)
    return start + 4, _number(data, "i", start)  # as arrow wrote it before version 0.15


def _size_of_message(data: mmap.mmap, metadata: int, body: int) -> int:
    message = _Table.root(data, metadata)
    kind, batch = message.number(1, "B"), message.table(2)
    if kind == DICTIONARY_BATCH and batch:
        batch = batch.table(1)
    if kind not in (DICTIONARY_BATCH, RECORD_BATCH) or batch is None or batch.place(3) is None:
        return 0  # a schema, or a batch without compression
    total = 0
    for place in batch.vector(2, 16):
        offset, length = _number(data, "q", place), _number(data, "q", place + 8)
        if length >= 8:
            size = _number(data, "q", body + offset)
            total += length if size == UNCOMPRESSED else max(0, size)
    return total


def _number(data: mmap.mmap, code: str, place: int) -> int:
    if place < 0:  # which Python would count from the end
        raise struct.error("a place before the beginning of the file")
    number: int = struct.unpack_from(f"<{code}", data, place)[0]
    return number
