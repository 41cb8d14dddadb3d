"""The file that shares a frozen prefix's states between runs: named by what decides them, checked when read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from submillion import notices
from submillion.atomic import atomic_file, forget_abandoned
from submillion.errors import SubmillionError
from submillion.sources.store import cache_root

FORMAT = "submillion prefix 1"
LIMIT = 20 * 10**9  # bytes that all files together may take; beyond it the least recently used go
DISK_SHARE = 0.5  # of the free disk that one file may take; the rest is for runs
CHUNK = 64 * 2**20  # bytes under one checksum
PAGE = 4096  # the states start at a multiple of it, so that a mapping of them is aligned

Put = Callable[[np.ndarray, np.ndarray, torch.Tensor], None]
"""Takes starts and lengths, in tokens, of the texts whose states [tokens, D] are given end to end."""


@dataclass(frozen=True)
class PrefixFile:
    """One file: a page or more of JSON (what the states are, a checksum for each chunk), then the states."""

    key: str
    """Hash of all that decides the states."""
    shape: tuple[int, int]
    """Tokens, D."""
    dtype: torch.dtype

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        return cache_root() / "prefix" / f"{self.key[:32]}.states"

    @property
    def nbytes(self) -> int:
        """Bytes of the states."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._head([])) + self.nbytes

    def read(self, in_memory: bool) -> torch.Tensor | None:
        """Return the states [tokens, D], as a copy in memory or mapped from the file, not to be written to.

        Returns:
            None where there is no file or, after a notice, a damaged one, which is deleted.
        """
        if not self.path.is_file():
            return None
        try:
            start, size = len(self._head([])), self.path.stat().st_size
            if size != self.size:
                raise ValueError(f"it has {size:,} bytes, not {self.size:,}")
            data = np.fromfile(self.path, np.uint8, offset=start) if in_memory else self._mapped(self.path)
            with self.path.open("rb") as handle:
                # The head follows from the states, so one comparison finds damage in either.
                if handle.read(start) != self._head(_checksums(data)):
                    raise ValueError("its checksums are not those it was written with")
            with contextlib.suppress(OSError):
                os.utime(self.path)  # the time of last use, by which `_prune` chooses
        except (OSError, ValueError) as error:
            notices.emit(
                "prefix_cache",
                f"the cached states {self.path.name} are damaged ({error}); they are computed again",
            )
            with contextlib.suppress(OSError):
                self.path.unlink()
            return None
        return self._as_states(data)

    def write(self, states: torch.Tensor) -> None:
        """Keep states [tokens, D] that are in memory; that there is no room is said, and costs time only."""
        reason = self.room()
        if reason is None:
            data = bytes_of(states)

            def fill(handle: BinaryIO) -> None:
                for at in range(0, len(data), CHUNK):
                    handle.write(data[at : at + CHUNK].data)

            reason = self._save(fill)
        if reason is not None:
            notices.emit("prefix_cache", f"the frozen layers' output is not kept for the next run: {reason}")

    def make(self, compute: Callable[[Put], None]) -> torch.Tensor | str:
        """Write what `compute` puts, text by text, and return it mapped; or the reason why it cannot be."""
        reason = self.room()
        if reason is None:
            width = self.shape[1] * self.dtype.itemsize

            def fill(handle: BinaryIO) -> None:
                # Not through a mapping: a full disk is an error here, and the end of the process there.
                start = handle.tell()

                def put(starts: np.ndarray, lengths: np.ndarray, states: torch.Tensor) -> None:
                    ends = np.cumsum(lengths)
                    data = bytes_of(states)
                    for at, end, length in zip(starts, ends, lengths, strict=True):
                        handle.seek(start + int(at) * width)
                        handle.write(data[int(end - length) * width : int(end) * width].data)

                compute(put)

            reason = self._save(fill)
        return self._as_states(self._mapped(self.path)) if reason is None else reason

    def room(self) -> str | None:
        """Make room among the files for this one; return the reason where there is none."""
        if self.size > LIMIT:
            return f"it is more than the {LIMIT / 1e9:.0f} GB that the cache folder may take"
        _prune(self.path.parent, LIMIT - self.size)
        place = next(folder for folder in self.path.parents if folder.exists())
        free = shutil.disk_usage(place).free
        if self.size > DISK_SHARE * free:
            return f"it is more than half of the {free / 1e9:.2f} GB free on the disk of {place}"
        return None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of this file, so that of several processes one computes and the others read."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=1)
        except Timeout:
            notices.emit("waiting", "another process runs the frozen layers on these texts; waiting for it.")
            lock.acquire()
        except OSError:
            pass  # where no lock can be, no file can be; the attempt to write it will say so
        try:
            yield
        finally:
            lock.release()

    def _save(self, fill: Callable[[BinaryIO], None]) -> str | None:
        """Write the file whole or not at all; return the reason where the disk refused it."""
        start = len(self._head([]))
        try:
            with atomic_file(self.path) as temporary:
                with temporary.open("r+b") as handle:
                    handle.truncate(self.size)
                    handle.seek(start)
                    fill(handle)
                with temporary.open("r+b") as handle:
                    handle.write(self._head(_checksums(self._mapped(temporary))))
        except SubmillionError as error:
            if not isinstance(error.__cause__, OSError):
                raise  # of the model's, not of the disk
            return str(error.__cause__)
        return None

    def _head(self, checksums: list[str]) -> bytes:
        """Return the file's first bytes; their number does not depend on what the checksums are."""
        count = -(-self.nbytes // CHUNK)
        values = {
            "format": FORMAT,
            "key": self.key,
            "dtype": str(self.dtype).removeprefix("torch."),
            "shape": self.shape,
            "chunk": CHUNK,
            "blake2b": checksums or [_checksum(b"")] * count,
        }
        text = json.dumps(values).encode()
        return text.ljust(-(-(len(text) + 1) // PAGE) * PAGE - 1) + b"\n"

    def _mapped(self, path: Path) -> np.ndarray:
        # Read-only: a private writable mapping counts as memory, and one larger than the memory is refused.
        return np.memmap(path, np.uint8, "r", offset=len(self._head([])), shape=(self.nbytes,))

    def _as_states(self, data: np.ndarray) -> torch.Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(data).view(self.dtype).view(self.shape)


def bytes_of(values: torch.Tensor) -> np.ndarray:
    """Return the values of a tensor on the cpu as bytes, uint8 [nbytes]."""
    return values.contiguous().view(-1).view(torch.uint8).numpy()


def _checksum(data: memoryview | bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _checksums(data: np.ndarray) -> list[str]:
    """Return a checksum for each chunk; hashing lets other threads run, so several are made at a time."""
    chunks = (data[at : at + CHUNK].data for at in range(0, len(data), CHUNK))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(_checksum, chunks))


def _prune(folder: Path, most: int) -> None:
    """Delete the files least recently used until the rest takes at most `most` bytes."""
    forget_abandoned(folder, "*.states")
    found = []
    for path in folder.glob("*.states"):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            break
        # A process that has the file mapped keeps what it has; where it cannot be deleted, it stays.
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
