"""Gives back the memory of weights that lie in a mapped file: the system reads them again when they are asked for."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# Of an entry of /proc/self/pagemap (Linux, Documentation/admin-guide/mm/pagemap.rst): the page is in memory, it is
# in the swap, it belongs to a file.
PRESENT, SWAPPED, OF_FILE = 1 << 63, 1 << 62, 1 << 61


def give_back(tensors: Iterable[Tensor]) -> int:
    """Drop the pages of tensors that are still as their file has them; returns the bytes that were dropped.

    safetensors maps a file instead of reading it, so its tensors are pages of the file. Once the kernels have
    their own layout of a frozen weight, nobody reads it for long, and its pages would only count as this
    process's memory. They stay in the system's cache, and come back when they are read.

    A tensor of which a page was written, or that lies in no file, is left alone: dropping would lose it. On
    systems other than Linux nothing is dropped.
    """
    if not hasattr(mmap, "MADV_DONTNEED") or not os.path.exists("/proc/self/pagemap"):
        return 0
    return sum(_drop(tensor) for tensor in tensors if tensor.device.type == "cpu")


def _drop(tensor: Tensor) -> int:
    """Drop the whole pages inside a tensor; returns their bytes."""
    begin = tensor.data_ptr()
    first, last = -(-begin // mmap.PAGESIZE), (begin + tensor.nbytes) // mmap.PAGESIZE
    if not tensor.is_contiguous() or first >= last or not _untouched(first, last - first):
        return 0
    size = (last - first) * mmap.PAGESIZE
    refused = _libc().madvise(
        ctypes.c_void_p(first * mmap.PAGESIZE), ctypes.c_size_t(size), mmap.MADV_DONTNEED
    )
    return 0 if refused else size


def _untouched(page: int, count: int) -> bool:
    """Return whether each page that is in memory is the file's own, not a changed copy or memory without a file."""
    import numpy as np

    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            file.seek(8 * page)
            entries = np.frombuffer(file.read(8 * count), dtype=np.uint64)
    except OSError:  # some containers hide it
        return False
    held = (entries & np.uint64(PRESENT | SWAPPED)) != 0
    own = (entries & np.uint64(OF_FILE)) == 0
    return len(entries) == count and bool(held.any()) and not bool((held & own).any())


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
