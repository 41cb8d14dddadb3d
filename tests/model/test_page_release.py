"""Tests of model/page_release.py: unchanged pages are read back from the file, changed ones stay in memory."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from submillion.model.page_release import release_pages

ROWS = 300_000  # float32: several pages
pytestmark = pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="this system has no page map")


@pytest.fixture
def mapped(tmp_path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a mapped file, with every page read once."""
    generator = torch.Generator().manual_seed(0)
    save_file(
        {name: torch.randn(ROWS, generator=generator) for name in ("one", "other")},
        tmp_path / "w.safetensors",
    )
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in ("one", "other")}
    for tensor in tensors.values():
        tensor.sum()
    return tensors


def resident_bytes(tensor: torch.Tensor) -> int:
    """Return the share of a tensor's pages that are in this process's memory."""
    first, last = tensor.data_ptr() // mmap.PAGESIZE, -(-(tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE)
    with Path("/proc/self/pagemap").open("rb") as file:
        file.seek(8 * first)
        entries = file.read(8 * (last - first))
    return mmap.PAGESIZE * sum(
        entry >> 7 for entry in entries[7::8]
    )  # the highest bit of each entry: present


def test_pages_of_the_file_are_released_and_read_back(mapped: dict[str, torch.Tensor]) -> None:
    before = {name: tensor.clone() for name, tensor in mapped.items()}
    assert resident_bytes(mapped["one"]) >= mapped["one"].nbytes
    dropped = release_pages([mapped["one"]])
    assert mapped["one"].nbytes - 2 * mmap.PAGESIZE <= dropped <= mapped["one"].nbytes
    assert resident_bytes(mapped["one"]) < mapped["one"].nbytes / 2
    assert resident_bytes(mapped["other"]) >= mapped["other"].nbytes - mmap.PAGESIZE
    assert all(torch.equal(mapped[name], before[name]) for name in mapped)


def test_a_changed_tensor_keeps_its_change(mapped: dict[str, torch.Tensor]) -> None:
    mapped["one"][ROWS // 2] = 7.0  # one page of many
    changed = mapped["one"].clone()
    assert release_pages(mapped.values()) > 0  # of the other tensor
    assert release_pages([mapped["one"]]) == 0
    assert torch.equal(mapped["one"], changed)


def test_memory_without_a_file_is_not_released() -> None:
    tensor = torch.randn(ROWS)
    copy = tensor.clone()
    assert release_pages([tensor, tensor[:0], tensor[::2]]) == 0
    assert torch.equal(tensor, copy)
