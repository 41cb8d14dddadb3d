"""The files of the prefix and the token cache: standard safetensors, mapped, and refused once damaged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from submillion import notices
from submillion.errors import SubmillionError
from submillion.files import tensor_file
from submillion.files.tensor_file import Layout, TensorFile
from submillion.model.prefix_file import PrefixFile, Put


def fill(handle: BinaryIO) -> Layout:
    handle.write(np.arange(6, dtype="<f4").tobytes() + b"abc")
    return {"values": ("F32", (2, 3)), "bytes": ("U8", (3,)), "none": ("I64", (0,))}


def accept(tensors: Mapping[str, np.ndarray]) -> None:
    pass


def file_of(folder: Path, key: str = "k" * 64) -> TensorFile:
    return TensorFile(folder / "x.safetensors", key, "things", "things_cache")


def test_tensors_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert file_of(tmp_path).read(accept) is None
    assert file_of(tmp_path).write(fill) is None
    tensors = file_of(tmp_path).read(accept)
    assert tensors is not None and list(tensors) == ["values", "bytes", "none"]
    assert tensors["values"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["bytes"].tobytes() == b"abc" and tensors["none"].shape == (0,)
    assert tensors["values"].flags.writeable is False
    standard = load_file(file_of(tmp_path).path)
    assert standard["values"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert standard[tensor_file.CHECKSUMS].shape == (1, 16)
    assert notices.collected() == []


@pytest.mark.parametrize("place", [0, 100, 4095, 4096, 4122, -1])
def test_one_changed_bit_anywhere_is_found(tmp_path: Path, place: int) -> None:
    file = file_of(tmp_path)
    file.write(fill)
    content = bytearray(file.path.read_bytes())
    content[place] ^= 1
    file.path.write_bytes(content)
    assert file.read(accept) is None and not file.path.exists()
    (notice,) = notices.collected()
    assert notice["code"] == "things_cache"
    assert notice["text"].startswith("the cached things x.safetensors are damaged (")
    assert notice["text"].endswith("); they are computed again.")


def test_a_file_of_another_key_or_content_is_refused(tmp_path: Path) -> None:
    file_of(tmp_path).write(fill)
    assert file_of(tmp_path, "other").read(accept) is None

    def refuse(tensors: Mapping[str, np.ndarray]) -> None:
        raise ValueError("two rows instead of three")

    file_of(tmp_path).write(fill)
    assert file_of(tmp_path).read(refuse) is None
    assert "(two rows instead of three)" in notices.collected()[-1]["text"]


def test_an_error_of_the_content_is_raised_and_one_of_the_disk_returned(tmp_path: Path) -> None:
    def broken(handle: BinaryIO) -> Layout:
        raise SubmillionError("no states")

    with pytest.raises(SubmillionError, match="no states"):
        file_of(tmp_path).write(broken)

    def full(handle: BinaryIO) -> Layout:
        raise OSError(28, "No space left on device")

    reason = file_of(tmp_path).write(full)
    assert reason is not None and "No space left on device" in reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_states_keep_their_format(own_cache: Path, dtype: torch.dtype) -> None:
    states = torch.arange(12).view(4, 3).to(dtype)
    file = PrefixFile("0" * 64, (4, 3), dtype)

    def compute(put: Put) -> None:
        put(np.array([3, 0]), np.array([1, 3]), states[[3, 0, 1, 2]])

    assert not isinstance(file.make(compute), str)
    again = file.open()
    assert again is not None and again.nbytes == 12 * dtype.itemsize
    assert torch.equal(again.read(np.array([0, 2]), np.array([4, 1])), states[[0, 1, 2, 3, 2]])
    assert torch.equal(load_file(file.path)["states"], states)
    assert PrefixFile("0" * 64, (3, 4), dtype).open() is None  # another shape


def test_checking_a_mapped_file_takes_no_memory(tmp_path: Path) -> None:
    """Hashing through the mapping would hold all of it: 20 GB of states, or the ids of a million texts."""
    size = 200 << 20

    def large(handle: BinaryIO) -> Layout:
        handle.truncate(tensor_file.PAGE + size)
        return {"values": ("U8", (size,))}

    file_of(tmp_path).write(large)
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    tensors = file_of(tmp_path).read(accept)
    assert tensors is not None and tensors["values"].nbytes == size
    assert process.memory_info().rss - before < 30 << 20


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 4000,
        b"[]",
        b'{"a": 1}',
        b'{"a": {"dtype": [], "shape": []}}',
        b'{"a": {"dtype": "F32", "shape": [-2, -2]}}',
        b'{"a": {"dtype": "F32", "shape": ["x"]}}',
        b'{"a": {"dtype": "F32", "shape": [1e400]}}',
        b'{"a": {"dtype": "F32", "shape": [9223372036854775807, 9223372036854775807]}}',
    ],
)
def test_a_header_with_other_content_is_a_notice_and_no_error(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    text = header.ljust(tensor_file.PAGE - 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    assert tensor_file.TensorFile(path, "key", "states", "damaged").read(lambda _: None) is None
    assert [notice["code"] for notice in notices.collected()] == ["damaged"]
    assert not path.exists()
