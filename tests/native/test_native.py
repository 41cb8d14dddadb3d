"""Tests of native/: the kernels under the address and undefined behaviour sanitizers, and one interface for all."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies

from submillion import native
from submillion.environment import cpu_features
from submillion.errors import SubmillionError
from support import ROOT, TESTS

# Every family, target and place of a short and a long text, forward and backward, with dropout.
EXERCISE = """
import sys
from pathlib import Path
import numpy as np
import torch
from submillion import native
from support import ROOT, TESTS
native.FOLDERS = (Path(sys.argv[1]),)
from support.packed import made, opened, packed_outcome, texts_of
from support.tiny import tiny_encoder
for family in ("roberta", "bert", "mpnet"):
    folder = tiny_encoder(Path(sys.argv[2]) / family, family, layers=2, hidden=128, dropout=0.1)
    for lora in ({"targets": "all-linear", "dropout": 0.1, "r": 97}, {"targets": ["value"], "layers": [1]}):
        classifier = made(folder, lora)
        for lengths in ([64, 1, 33, 32], [5] * 40, [2]):
            tokens = texts_of(lengths, classifier)
            packed = opened(classifier, sys.argv[3])
            packed_outcome(classifier, packed, tokens, seed=1)
            packed.states(tokens, np.arange(len(lengths)), 1)
print("done")
"""


def sanitizer(name: str) -> str | None:
    """The runtime that must come before everything else in the process."""
    compiler = shutil.which("g++")
    if compiler is None or shutil.which("cmake") is None:
        return None
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip() if "/" in found.stdout else None


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sanitizer("libasan.so") is None:
        pytest.skip("needs g++ with the address sanitizer, and cmake")
    folder = tmp_path_factory.mktemp("sanitized")
    build = ["cmake", "--build", str(folder)]
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DSANITIZE=ON"]
    subprocess.run(configure, check=True, capture_output=True)
    listed = subprocess.run([*build, "--target", "help"], check=True, capture_output=True, text=True).stdout
    # Kernels that cannot run here are compiled by the installation; here they would cost a minute more.
    runs = [name for name, path in native.PATHS.items() if path.needs <= cpu_features()]
    if targets := [f"submillion_{name}" for name in runs if f"submillion_{name}" in listed]:
        subprocess.run([*build, "--parallel", "2", "--target", *targets], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", native.PATHS)
def test_no_access_is_out_of_bounds_and_no_behaviour_undefined(
    sanitized: Path, name: str, tmp_path: Path
) -> None:
    path = native.PATHS[name]
    if not path.needs <= cpu_features() or not (sanitized / path.file.name).is_file():
        pytest.skip(f"this processor or compiler has no {name}")
    environment = os.environ | {
        "LD_PRELOAD": f"{sanitizer('libasan.so')} {sanitizer('libstdc++.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own allocations live until the process ends
        "PYTHONPATH": str(TESTS),
        "OMP_NUM_THREADS": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", EXERCISE, str(sanitized), str(tmp_path), name],
        capture_output=True,
        text=True,
        env=environment,
        cwd=TESTS,
    )
    assert done.returncode == 0 and done.stdout.strip() == "done", done.stderr[-4000:]


def test_the_structures_are_as_long_as_the_kernels_take_them() -> None:
    library, _ = native.choose("float32")
    if library is None:
        pytest.skip("no kernels here")
    for structure in (native.Shape, native.Layer, native.Embeddings, native.Adapter, native.Batch):
        assert library.size_of(structure) == ctypes.sizeof(structure), structure.__name__


def test_kernels_that_the_system_refuses_give_way_to_the_next_best(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("amx", "avx512_bf16"):
        (tmp_path / f"libsubmillion_{name}.so").write_bytes(b"stands for a build")
    monkeypatch.setattr(native, "FOLDERS", (tmp_path,))
    refused = {"amx"}

    class Stub:
        def __init__(self, name: str) -> None:
            self.name = name

    def load(name: str) -> Stub:
        if name in refused:
            raise SubmillionError(f"the {name} kernels: the system does not grant tile registers")
        return Stub(name)

    monkeypatch.setattr(native, "load", load)
    library, reason = native.choose("bfloat16", features=native.PATHS["amx"].needs)
    assert library is not None and library.name == "avx512_bf16"  # type: ignore[attr-defined]
    assert (
        reason == "the processor has avx512_bf16; the amx kernels: the system does not grant tile registers"
    )
    refused.add("avx512_bf16")
    library, reason = native.choose("bfloat16", features=native.PATHS["amx"].needs)
    assert library is None and "tile registers" in reason


def test_an_install_without_kernels_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "FOLDERS", (tmp_path,))
    library, reason = native.choose("float32", features=native.PATHS["avx2"].needs)
    assert library is None and "C++ compiler" in reason
    (tmp_path / "libsubmillion_avx2.so").write_bytes(b"not a library")
    native.load.cache_clear()
    library, reason = native.choose("float32", features=native.PATHS["avx2"].needs)
    assert library is None and "could not be loaded" in reason
    native.load.cache_clear()


@given(
    lengths=strategies.lists(strategies.integers(1, 128), min_size=1, max_size=80),
    wanted=strategies.integers(1, 9),
)
def test_texts_are_shared_among_groups_with_little_padding(lengths: list[int], wanted: int) -> None:
    count, side = min(wanted, len(lengths)), 16
    rows = rows_of_groups(lengths, count, side)
    assert sum(rows) == sum(lengths)
    assert all(rows)  # an empty group would have no blocks
    padded = [-(-row // side) * side for row in rows]
    longest_first = [0] * count
    for length in sorted(lengths, reverse=True):
        longest_first[longest_first.index(min(longest_first))] += length
    assert sum(padded) <= sum(-(-row // side) * side for row in longest_first)
    assert max(rows) <= sum(lengths) / count + max(lengths) + 2 * side


def test_groups_are_exact_where_lengths_allow_it() -> None:
    # Longest first, each to the emptiest: 60 + 10 and 50 + 20, five blocks of 16 each; 60 + 20 and 50 + 10 take nine.
    assert sorted(rows_of_groups([60, 50, 20, 10], 2, 16)) == [60, 80]


def rows_of_groups(lengths: list[int], count: int, side: int) -> list[int]:
    of_text, group = np.array(lengths, dtype=np.int64), np.full(len(lengths), -1, dtype=np.int64)
    library, _ = native.choose("float32")
    if library is None:
        pytest.skip("no kernels here")
    library.group(of_text.ctypes.data, len(lengths), count, side, group.ctypes.data)
    return [int(of_text[group == number].sum()) for number in range(count)]
