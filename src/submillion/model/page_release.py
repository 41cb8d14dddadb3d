"""Releases the physical pages of memory-mapped weights (MADV_DONTNEED); the kernel reads them back on access."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

PAGEMAP = Path("/proc/self/pagemap")
# Bits of an entry of /proc/self/pagemap (Linux, Documentation/admin-guide/mm/pagemap.rst): the page is in memory, it
# is in swap, it belongs to a file.
PRESENT, SWAPPED, OF_FILE = 1 << 63, 1 << 62, 1 << 61


def release_pages(tensors: Iterable[Tensor]) -> int:
    """Release the pages of tensors that are unchanged since their file was mapped; return the bytes released.

    safetensors maps a file instead of reading it, so its tensors are pages of the file. Once the kernels have their
    own layout of a frozen weight, the original is rarely read, and its pages would only count as memory of this
    process. They stay in the page cache and are mapped again on access.

    A tensor with a modified page, or one that belongs to no file, is left alone: releasing it would lose it. On
    systems other than Linux nothing is released.
    """
    if not hasattr(mmap, "MADV_DONTNEED") or not PAGEMAP.exists():
        return 0
    return sum(_release(tensor) for tensor in tensors if tensor.device.type == "cpu")


def _release(tensor: Tensor) -> int:
    """Release the pages that lie entirely inside a tensor; return their bytes."""
    begin = tensor.data_ptr()
    first, last = -(-begin // mmap.PAGESIZE), (begin + tensor.nbytes) // mmap.PAGESIZE
    if not tensor.is_contiguous() or first >= last or not _unmodified(first, last - first):
        return 0
    size = (last - first) * mmap.PAGESIZE
    refused = _libc().madvise(
        ctypes.c_void_p(first * mmap.PAGESIZE), ctypes.c_size_t(size), mmap.MADV_DONTNEED
    )
    return 0 if refused else size


def _unmodified(page: int, count: int) -> bool:
    """Return whether every resident page is the file's own, not a modified copy or memory without a file."""
    try:
        with PAGEMAP.open("rb", buffering=0) as file:
            file.seek(8 * page)
            entries = np.frombuffer(file.read(8 * count), dtype=np.uint64)
    except OSError:  # not readable in some containers
        return False
    resident = (entries & np.uint64(PRESENT | SWAPPED)) != 0
    private = (entries & np.uint64(OF_FILE)) == 0
    return len(entries) == count and bool(resident.any()) and not bool((resident & private).any())


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
