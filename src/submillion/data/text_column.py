"""Texts in a temporary file instead of in memory, each read when it is asked for."""

from __future__ import annotations

import copy
import tempfile
import threading
from array import array
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np

from submillion.errors import SubmillionError

IN_MEMORY = 16 << 20  # bytes of text that do without a file


class TextColumn(Sequence[str]):
    """N texts, end to end as utf-8; of each, memory has only its place and its size, 12 bytes.

    Up to IN_MEMORY bytes of text stay in memory too. The file has no name, and goes with the last column that
    reads from it. It lies where `tempfile` puts it (TMPDIR names the folder).
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._file = _File()
        self._places, self._sizes = array("q"), array("I")
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text at the end.

        Raises:
            SubmillionError: the disk has no room for it.
            UnicodeEncodeError: it has half a surrogate pair.
        """
        data = text.encode()
        self._places.append(self._file.append(data))
        self._sizes.append(len(data))

    def take(self, rows: Sequence[int] | np.ndarray) -> TextColumn:
        """Return some texts, in the order given, without copying them."""
        taken = copy.copy(self)
        taken._places, taken._sizes = picked(self._places, rows), picked(self._sizes, rows)
        return taken

    @property
    def nbytes(self) -> int:
        """Bytes of memory for the places of the texts, without what small data sets keep of the texts themselves."""
        return sum(array.itemsize * len(array) for array in (self._places, self._sizes))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        return self._file.read(self._places[index], self._sizes[index]).decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} texts>"


def picked(numbers: array[int], rows: Sequence[int] | np.ndarray) -> array[int]:
    """Return the numbers of some rows, in the order given, in an array of the same kind."""
    found = array(numbers.typecode)
    found.frombytes(np.asarray(numbers)[np.asarray(rows, dtype=np.int64)].tobytes())
    return found


class _File:
    """Bytes that are only ever added to."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._size = 0
        self._at_end = True
        self._lock = threading.Lock()  # a place is gone to, then read from

    def append(self, data: bytes) -> int:
        """Add bytes; returns where they begin."""
        with self._lock:
            begin = self._size
            try:
                if not self._at_end:
                    self._file.seek(begin)
                self._file.write(data)
            except OSError as error:
                raise SubmillionError(
                    f"{tempfile.gettempdir()}: the texts could not be kept there ({error.strerror or error}). "
                    "Free some space, or name another folder in the environment variable TMPDIR."
                ) from error
            self._at_end = True
            self._size += len(data)
            return begin

    def read(self, begin: int, size: int) -> bytes:
        """Return `size` bytes from where they begin."""
        with self._lock:
            self._file.seek(begin)
            self._at_end = False
            data = self._file.read(size)
        if len(data) != size:
            raise SubmillionError(f"{tempfile.gettempdir()}: the texts that were kept there are cut short.")
        return data
