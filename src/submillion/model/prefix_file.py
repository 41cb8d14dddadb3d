"""The cache file with the states of a frozen prefix, which runs share, and the room it may take."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from submillion.cache import cache_root, lock_of, locked, prune
from submillion.errors import SubmillionError
from submillion.files import tensor_file
from submillion.files.atomic import nearest_folder
from submillion.files.tensor_file import Layout, TensorFile

DISK_SHARE = 0.5  # of the free disk that one file may take; the rest is for runs
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}

Put = Callable[[np.ndarray, np.ndarray, torch.Tensor], None]
"""Takes starts and lengths, in tokens, of texts and their states [tokens, D] end to end."""


@dataclass(frozen=True)
class PrefixFile:
    """The states of N texts in one file, [tokens, D]."""

    key: str
    """Hash of everything that decides the states."""
    shape: tuple[int, int]
    """Tokens, D."""
    dtype: torch.dtype

    @property
    def path(self) -> Path:
        """Where the file is, or would be."""
        return cache_root() / "prefix" / f"{self.key[:32]}.safetensors"

    @property
    def size(self) -> int:
        """Bytes of the file without its checksums."""
        return tensor_file.PAGE + self.shape[0] * self.shape[1] * self.dtype.itemsize

    def open(self) -> StoredStates | None:
        """Return the states of a file whose checksums are right.

        Returns:
            None if there is no file or, after a notice, a damaged one, which is deleted.
        """

        def check(tensors: Mapping[str, np.ndarray]) -> None:
            if tensors["states"].shape != self.shape or tensors["states"].itemsize != self.dtype.itemsize:
                raise ValueError("its states are those of other texts")

        if self._file.read(check) is None:
            return None
        with suppress(FileNotFoundError):  # another process has made room since
            return StoredStates(self)
        return None

    def make(self, compute: Callable[[Put], None]) -> StoredStates | str:
        """Write the states that `compute` puts, text by text; return them, or the reason why there is no file."""
        width = self.shape[1] * self.dtype.itemsize

        def fill(handle: BinaryIO) -> Layout:
            # Not through a mapping: there a full disk kills the process, here it is an error.
            first = handle.tell()
            handle.truncate(self.size)

            def put(starts: np.ndarray, lengths: np.ndarray, states: torch.Tensor) -> None:
                ends = np.cumsum(lengths)
                data = bytes_of(states)
                for start, end, length in zip(starts, ends, lengths, strict=True):
                    handle.seek(first + int(start) * width)
                    handle.write(data[int(end - length) * width : int(end) * width].data)

            compute(put)
            handle.seek(self.size)
            return {"states": (DTYPES[self.dtype], self.shape)}

        return self.room() or self._file.write(fill) or StoredStates(self)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of this file, so that of several processes one computes and the others read."""
        with ExitStack() as stack:
            with suppress(OSError):  # without a lock there can be no file either; writing it gives the reason
                message = "another process runs the frozen layers on these texts; waiting for it."
                stack.enter_context(locked(lock_of(self.path), message))
            yield

    def room(self) -> str | None:
        """Make room among the files for this one; return the reason if there is none."""
        if self.size > tensor_file.LIMIT:
            return f"it is more than the {tensor_file.LIMIT / 1e9:.0f} GB that the cache folder may take"
        prune(self.path.parent, tensor_file.LIMIT - self.size)
        place = nearest_folder(self.path.parent)
        free = shutil.disk_usage(place).free
        if self.size > DISK_SHARE * free:
            return f"it is more than half of the {free / 1e9:.2f} GB free on the disk of {place}"
        return None

    @property
    def _file(self) -> TensorFile:
        return TensorFile(self.path, self.key, "states", "prefix_cache")


class StoredStates:
    """The states of a file that stays open, read text by text when they are needed.

    They take no memory of this process: the operating system keeps what it has room for. They are not mapped, because
    a file on a shared disk that another machine deletes would kill the process.
    """

    def __init__(self, file: PrefixFile) -> None:
        """Open a file that is whole.

        Raises:
            OSError: it cannot be opened.
        """
        self._file, self._lock = file, threading.Lock()
        self._handle = file.path.open("rb", buffering=0)
        weakref.finalize(self, self._handle.close)

    @property
    def nbytes(self) -> int:
        """Size of the states in bytes."""
        return self._file.size - tensor_file.PAGE

    def read(self, starts: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        """Return some texts' states end to end, [sum of the lengths, D].

        Args:
            starts: first token of each text, int64 [B].
            lengths: its tokens, int64 [B].

        Raises:
            SubmillionError: the file has become shorter, or its disk has failed.
        """
        hidden = self._file.shape[1]
        width = hidden * self._file.dtype.itemsize
        states = torch.empty(int(lengths.sum()), hidden, dtype=self._file.dtype)
        data, end = bytes_of(states).data, 0
        try:
            for start, length in zip((starts * width).tolist(), (lengths * width).tolist(), strict=True):
                self._read_into(data[end : end + length], tensor_file.PAGE + start)
                end += length
        except OSError as error:
            raise SubmillionError(
                f"{self._file.path}: the cached states can no longer be read ({error}). "
                "Resume or start again: states that are missing are computed again."
            ) from error
        return states

    def _read_into(self, data: memoryview, place: int) -> None:
        """Fill `data` from a place in the file, in bytes."""
        with self._lock:
            self._handle.seek(place)
            while data:
                count = self._handle.readinto(data)
                if not count:
                    raise OSError("it ends too early")
                data = data[count:]


def bytes_of(values: torch.Tensor) -> np.ndarray:
    """Return the values of a tensor on the cpu as bytes, uint8 [nbytes]."""
    return values.contiguous().view(-1).view(torch.uint8).numpy()
