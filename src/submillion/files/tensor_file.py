"""Safetensors files of the cache: named after everything that decides their content, checksummed, mapped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash

from submillion import notices
from submillion.errors import SubmillionError
from submillion.files.atomic import atomic_file

FORMAT = "submillion cache 2"
LIMIT = 20 * 10**9  # bytes that the files of one cache folder may take; the least recently used go
PAGE = 4096  # bytes before the first tensor, so that a mapping of it is aligned
CHECKSUM_SPAN = 64 << 20  # bytes under one checksum
BLOCK = 1 << 20  # bytes hashed at a time
# Against damage, not forgery: several times faster than any hash of hashlib, so that checking costs as much as reading.
CHECKSUMS, CHECKSUM_BYTES = "xxh3_128", 16
# By safetensors' names; numpy has no bfloat16, so its bits are read as integers.
DTYPES = {"U8": "u1", "I32": "<i4", "I64": "<i8", "F16": "<f2", "BF16": "<i2", "F32": "<f4", "F64": "<f8"}

BROKEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What a file with another header or other tensors than those of its key can raise while it is read."""

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""Safetensors dtype and shape by tensor, in the order of the file."""


@dataclass(frozen=True)
class TensorFile:
    """One file: a page with the header, the tensors end to end, and a last tensor with checksums of them all."""

    path: Path
    key: str
    """Hash of everything that decides the content."""
    content: str
    """For messages: `states` or `tokens`."""
    code: str
    """Of the notice about a damaged file."""

    def read(self, check: Callable[[Mapping[str, np.ndarray]], None]) -> dict[str, np.ndarray] | None:
        """Return the tensors, mapped from the file, not to be written to.

        Args:
            check: raises ValueError for tensors that cannot be those of this key.

        Returns:
            None if there is no file or, after a notice, a damaged one, which is deleted.
        """
        # Not Path.is_file, which fails in a folder that this user may not enter.
        if not os.path.isfile(self.path):  # noqa: PTH113
            return None
        try:
            tensors = self._read_checked()
            check(tensors)
        except (*BROKEN, OSError) as error:
            notices.emit(
                self.code,
                f"the cached {self.content} {self.path.name} are damaged ({error}); they are computed again.",
            )
            with suppress(OSError):
                self.path.unlink()
            return None
        with suppress(OSError):
            os.utime(self.path)  # the time of last use, by which `cache.prune` chooses
        return tensors

    def _read_checked(self) -> dict[str, np.ndarray]:
        """Return the tensors, checked and mapped.

        Raises:
            ValueError: header, size or checksums are not those it was written with.
            OSError: it cannot be read.
        """
        tensors = self.load()
        stored = tensors.pop(CHECKSUMS)
        if stored.tobytes() != _checksums(self.path, sum(values.nbytes for values in tensors.values())):
            raise ValueError("its checksums are not those it was written with")
        return tensors

    def load(self) -> dict[str, np.ndarray]:
        """Return all tensors, CHECKSUMS among them, of a file that this process has just written: mapped, unchecked.

        Raises:
            ValueError: its header or its size is not that of this key.
            OSError: it cannot be read.
        """
        return {
            name: _values(self.path, dtype, shape, start, name == CHECKSUMS)
            for name, dtype, shape, start in _places(self._read_header())
        }

    def write(self, fill: Callable[[BinaryIO], Layout]) -> str | None:
        """Write the file whole or not at all.

        Args:
            fill: writes the tensors end to end, from the place where the stream is; returns what it wrote.

        Returns:
            The reason if the disk refused the file, else None.

        Raises:
            SubmillionError: of `fill`; nothing is left behind then.
        """
        try:
            with atomic_file(self.path) as temporary, temporary.open("r+b") as handle:
                handle.seek(PAGE)
                layout = fill(handle)
                handle.flush()
                size = _bytes_of(layout)
                checksums = _checksums(temporary, size)
                handle.seek(PAGE + size)
                handle.write(checksums)
                count = len(checksums) // CHECKSUM_BYTES
                handle.seek(0)
                handle.write(self._header({**layout, CHECKSUMS: ("U8", (count, CHECKSUM_BYTES))}))
        except SubmillionError as error:
            if not isinstance(error.__cause__, OSError):
                raise  # an error of `fill`, not of the disk
            return str(error.__cause__)
        return None

    def _header(self, layout: Layout) -> bytes:
        entries: dict[str, object] = {
            "__metadata__": {"format": FORMAT, "key": self.key, "chunk": str(CHECKSUM_SPAN)}
        }
        for name, dtype, shape, start in _places(layout):
            end = start + _size(dtype, shape)
            entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start - PAGE, end - PAGE]}
        # Spaces after the JSON belong to the format.
        text = json.dumps(entries).encode().ljust(PAGE - 8)
        return len(text).to_bytes(8, "little") + text

    def _read_header(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        with self.path.open("rb") as handle:
            header = handle.read(PAGE)
        entries = json.loads(header[8:])
        layout = {
            name: (entry["dtype"], tuple(entry["shape"]))
            for name, entry in entries.items()
            if name != "__metadata__"
        }
        if header != self._header(layout):
            raise ValueError("its header is not the one it was written with")
        expected, size = PAGE + _bytes_of(layout), self.path.stat().st_size
        if size != expected:
            raise ValueError(f"it has {size:,} bytes, not {expected:,}")
        return layout


def _places(layout: Layout) -> Iterator[tuple[str, str, tuple[int, ...], int]]:
    """Yield name, dtype, shape and first byte in the file of each tensor."""
    start = PAGE
    for name, (dtype, shape) in layout.items():
        yield name, dtype, shape, start
        start += _size(dtype, shape)


def _size(dtype: str, shape: tuple[int, ...]) -> int:
    return prod(shape) * np.dtype(DTYPES[dtype]).itemsize


def _bytes_of(layout: Layout) -> int:
    return sum(_size(*tensor) for tensor in layout.values())


def _values(path: Path, dtype: str, shape: tuple[int, ...], start: int, in_memory: bool) -> np.ndarray:
    kind = np.dtype(DTYPES[dtype])
    if not prod(shape):  # nothing cannot be mapped
        return np.empty(shape, kind)
    if in_memory:
        return np.fromfile(path, kind, prod(shape), offset=start).reshape(shape)
    # Read-only: a private writable mapping counts as memory, and one larger than the memory is refused.
    return np.asarray(np.memmap(path, kind, "r", start, shape))


def _checksums(path: Path, size: int) -> bytes:
    """Return a checksum for each chunk of the `size` bytes after the header, end to end.

    The file is read, not mapped: mapped pages would count as the memory of this process. Reading and hashing let other
    threads run, so several chunks are read at a time.
    """

    def checksum(start: int) -> bytes:
        digest, end = xxhash.xxh3_128(), min(start + CHECKSUM_SPAN, size)
        block = np.empty(BLOCK, np.uint8)
        with path.open("rb", buffering=0) as handle:
            handle.seek(PAGE + start)
            while start < end:
                count = handle.readinto(block[: end - start].data)
                if not count:  # the file is shorter: the checksum will not be the right one
                    break
                digest.update(block[:count].data)
                start += count
        return digest.digest()

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return b"".join(pool.map(checksum, range(0, size, CHECKSUM_SPAN)))
