"""Texts in a temporary file instead of memory, each read when it is used."""

from __future__ import annotations

import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from submillion.errors import SubmillionError

IN_MEMORY = 16 << 20  # bytes of text that need no file
READ_TOGETHER = 256  # texts; many long ones are some megabytes


class TextColumn(Sequence[str]):
    """N texts, end to end in utf-8; memory holds only the place and the size of each, 12 bytes.

    Up to IN_MEMORY bytes of text stay in memory. The file has no name and is deleted with the last column that reads
    from it; `tempfile` chooses its folder (TMPDIR names another one). It is read, not mapped: mapped pages would count
    as the memory of the process.
    """

    def __init__(self, texts: Iterable[str] = (), index: _Index | None = None) -> None:
        """Store texts.

        Args:
            texts: the texts.
            index: places in a file that has them already.
        """
        self._index = index or _Index()
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text at the end.

        Raises:
            SubmillionError: the disk has no room for it.
            UnicodeEncodeError: it contains half a surrogate pair.
        """
        data = text.encode()
        self._index.places.append(self._index.file.append(data))
        self._index.sizes.append(len(data))

    def take(self, rows: Sequence[int] | np.ndarray) -> TextColumn:
        """Return some texts, in the given order, without copying them."""
        index = self._index
        return TextColumn(index=_Index(index.file, picked(index.places, rows), picked(index.sizes, rows)))

    @property
    def nbytes(self) -> int:
        """Bytes of memory for places and sizes; texts that need no file are not counted."""
        return sum(array.itemsize * len(array) for array in (self._index.places, self._index.sizes))

    def __len__(self) -> int:
        return len(self._index.places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        return self._index.file.read(self._index.places[index], self._index.sizes[index]).decode()

    def __iter__(self) -> Iterator[str]:
        """Yield the texts in order; those that follow each other in the file are read together."""
        places, sizes, file = self._index.places, self._index.sizes, self._index.file
        for first in range(0, len(self), READ_TOGETHER):
            begins = np.array(places[first : first + READ_TOGETHER])
            ends = begins + np.array(sizes[first : first + READ_TOGETHER])
            if len(begins) > 1 and np.array_equal(begins[1:], ends[:-1]):
                begin = int(begins[0])
                block = file.read(begin, int(ends[-1]) - begin)
                for start, end in zip((begins - begin).tolist(), (ends - begin).tolist(), strict=True):
                    yield block[start:end].decode()
            else:
                for start, end in zip(begins.tolist(), ends.tolist(), strict=True):
                    yield file.read(start, end - start).decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} texts>"


def picked(numbers: array[int], rows: Sequence[int] | np.ndarray) -> array[int]:
    """Return the numbers of some rows, in the given order, in an array of the same type."""
    result = array(numbers.typecode)
    result.frombytes(np.asarray(numbers)[np.asarray(rows, dtype=np.int64)].tobytes())
    return result


class _File:
    """Bytes that are only ever appended to."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._size = 0
        self._at_end = True
        self._lock = threading.Lock()  # seeking and reading are two steps

    def append(self, data: bytes) -> int:
        """Add bytes; return where they begin."""
        with self._lock:
            begin = self._size
            try:
                if not self._at_end:
                    self._file.seek(begin)
                self._file.write(data)
            except OSError as error:
                raise SubmillionError(
                    f"{tempfile.gettempdir()}: the texts could not be stored there ({error.strerror or error}). "
                    "Free some space, or name another folder in the environment variable TMPDIR."
                ) from error
            self._at_end = True
            self._size += len(data)
            return begin

    def read(self, begin: int, size: int) -> bytes:
        """Return `size` bytes from `begin`."""
        with self._lock:
            self._file.seek(begin)
            self._at_end = False
            data = self._file.read(size)
        if len(data) != size:
            raise SubmillionError(f"{tempfile.gettempdir()}: the texts that were stored there are truncated.")
        return data


@dataclass
class _Index:
    """The file of a column, and the places of its texts in it."""

    file: _File = field(default_factory=_File)
    places: array[int] = field(default_factory=lambda: array("q"))
    """First byte of each text [N]."""
    sizes: array[int] = field(default_factory=lambda: array("I"))
    """Bytes of each text [N]."""
