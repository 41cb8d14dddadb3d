"""The cache file that shares the states of a frozen prefix between runs, and the room it may take."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from submillion import notices
from submillion.cache import cache_root, lock_of, locked, prune
from submillion.files import tensor_file
from submillion.files.atomic import nearest_folder
from submillion.files.tensor_file import Layout, TensorFile

DISK_SHARE = 0.5  # of the free disk that one file may take; the rest is for runs
BLOCK = 64 << 20  # bytes written at a time
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

    def read(self, in_memory: bool) -> torch.Tensor | None:
        """Return the states [tokens, D], as a copy in memory or mapped from the file, not to be written to.

        Returns:
            None if there is no file or, after a notice, a damaged one, which is deleted.
        """

        def check(tensors: Mapping[str, np.ndarray]) -> None:
            if tensors["states"].shape != self.shape or tensors["states"].itemsize != self.dtype.itemsize:
                raise ValueError("its states are those of other texts")

        tensors = self._file.read(check, in_memory)
        return None if tensors is None else self._as_states(tensors)

    def write(self, states: torch.Tensor) -> None:
        """Write states [tokens, D] that are in memory; if there is no room, a notice gives the reason."""

        def fill(handle: BinaryIO) -> None:
            data = bytes_of(states)
            for start in range(0, len(data), BLOCK):
                handle.write(data[start : start + BLOCK].data)

        reason = self._save(fill)
        if reason is not None:
            notices.emit("prefix_cache", f"the frozen layers' output is not kept for the next run: {reason}")

    def make(self, compute: Callable[[Put], None]) -> torch.Tensor | str:
        """Write the states that `compute` puts, text by text; return them mapped, or the reason why not."""
        width = self.shape[1] * self.dtype.itemsize

        def fill(handle: BinaryIO) -> None:
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

        return self._save(fill) or self._as_states(self._file.load())

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

    def _as_states(self, tensors: Mapping[str, np.ndarray]) -> torch.Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(tensors["states"]).view(self.dtype)

    def _save(self, fill: Callable[[BinaryIO], None]) -> str | None:
        """Write the file whole or not at all; return the reason if there is no room or the disk refused it."""

        def filled(handle: BinaryIO) -> Layout:
            fill(handle)
            return {"states": (DTYPES[self.dtype], self.shape)}

        return self.room() or self._file.write(filled)


def bytes_of(values: torch.Tensor) -> np.ndarray:
    """Return the values of a tensor on the cpu as bytes, uint8 [nbytes]."""
    return values.contiguous().view(-1).view(torch.uint8).numpy()
