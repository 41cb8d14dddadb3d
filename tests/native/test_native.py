"""Tests of native/: the kernels under sanitizers, the choice of a build, and the C interface."""

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
from submillion.data.tokens import from_rows
from submillion.environment import cpu_features
from submillion.errors import BadInput, SubmillionError
from submillion.model.classifier import Classifier
from submillion.model.execution.packed import Packed
from submillion.model.execution.packed_texts import PackedTexts
from submillion.native import int8, interface
from support import ROOT, TESTS
from support.packed import made, opened
from support.tiny import tiny_encoder

EVERY_BUILD = native.BUILDS | int8.BUILDS
SIZES = {
    "roberta": (96, 3),
    "mpnet": (96, 3),
    "distilbert": (96, 3),
    "electra": (64, 2),
    "deberta-v2": (96, 3),
    "modernbert": (96, 3),
}
"""Hidden size and heads of the encoders that are exercised: odd numbers of blocks, but for the halved embeddings of
ELECTRA, which has the token types of BERT too."""
LARGE = "mpnet-large"
"""An encoder with several groups of channels in int8."""
# One process imports torch, which is slow under a sanitizer, and forks a child for each build.
EXERCISE = """
import os, sys, traceback
from pathlib import Path
import numpy as np
import torch
from submillion import native
from submillion.native import int8
from support import ROOT, TESTS
built, encoders, *names = sys.argv[1:]
native.FOLDERS = (Path(built),)
from submillion.model.execution.packed_int8 import PackedInt8
from support.packed import made, opened, packed_outcome, texts_of

# A text that fills two blocks, one token, one row past a block; many in one block; a single one.
BATCHES = ([64, 1, 33], [5] * 7, [2])

def exercise(name):
    # Every family, target and pooling with short and long texts, forward and backward, with dropout.
    every = {"targets": "all-linear", "dropout": 0.1}
    cases = [(family, every | {"r": 33 if family == "electra" else 65}, "mean" if family == "mpnet" else "first")
             for family in ("roberta", "mpnet", "distilbert", "electra", "modernbert")]
    for family, one in (("roberta", "value"), ("deberta-v2", "key"), ("modernbert", "qkv")):
        cases.append((family, every | {"variant": "dora"}, "first"))
        cases.append((family, {"targets": [one], "layers": [1]}, "mean"))
    for family, lora, pooling in cases:
        classifier = made(Path(encoders) / family, lora, pooling=pooling)
        for lengths in BATCHES:
            tokens = texts_of(lengths, classifier)
            packed = opened(classifier, name)
            packed_outcome(classifier, packed, tokens, seed=1)
            packed.states(tokens, np.arange(len(lengths)), 1)
        if packed.library.has_int8 and not packed.has_dora:
            packed.steps_in_int8 = True
            packed_outcome(classifier, packed, texts_of(BATCHES[0], classifier), seed=1)

def exercise_int8(name):
    # Odd numbers of blocks, groups of channels, matrices in float, both poolings, states in between.
    cases = (("roberta", "first"), ("mpnet-large", "mean"), ("modernbert", "first"), ("modernbert", "mean"))
    for family, pooling in cases:
        classifier = made(Path(encoders) / family, {"targets": "all-linear"}, pooling=pooling).eval()
        lowest = classifier.family.targets[0]
        for floats in (frozenset(), frozenset({(0, lowest), (1, "ffn_down"), (1, "ffn_up")})):
            execution = PackedInt8(classifier, int8.load(name), floats)
            for lengths in BATCHES:
                with torch.inference_mode():
                    tokens, rows = texts_of(lengths, classifier), np.arange(len(lengths))
                    assert execution.logits(tokens, rows).isfinite().all()
                    execution.states(tokens, rows, 1)

for name in names:
    process = os.fork()
    if process == 0:
        log = os.open(Path(encoders) / f"{name}.txt", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            (exercise_int8 if name in int8.BUILDS else exercise)(name)
            os.write(1, b"done")
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os.waitpid(process, 0)
"""


def sanitizer(name: str) -> str | None:
    """Return the path of a sanitizer runtime, which must be loaded before everything else in the process."""
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
    # To copy each inlined function to where it is called would double the time, and check no other code.
    flags = "-DCMAKE_CXX_FLAGS=-Dalways_inline=unused"
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DSANITIZE=ON", flags]
    subprocess.run(configure, check=True, capture_output=True)
    listed = subprocess.run([*build, "--target", "help"], check=True, capture_output=True, text=True).stdout
    # The installation compiles all builds; this skips those that cannot run here, which would take a minute more.
    runs = [name for name, build in EVERY_BUILD.items() if build.needs <= cpu_features()]
    if targets := [f"submillion_{name}" for name in runs if f"submillion_{name}" in listed]:
        subprocess.run([*build, "--parallel", "2", "--target", *targets], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def exercised(sanitized: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each build that runs here has written: `done`, or an error."""
    encoders = tmp_path_factory.mktemp("encoders")
    for family, (hidden, heads) in SIZES.items():
        tiny_encoder(encoders / family, family, layers=2, hidden=hidden, heads=heads, dropout=0.1)
    tiny_encoder(encoders / LARGE, "mpnet", layers=2, hidden=416, heads=13)
    names = [
        name
        for name, build in EVERY_BUILD.items()
        if build.needs <= cpu_features() and (sanitized / build.file.name).is_file()
    ]
    environment = os.environ | {
        "LD_PRELOAD": f"{sanitizer('libasan.so')} {sanitizer('libstdc++.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",  # Python does not free its own allocations
        "PYTHONPATH": str(TESTS),
        "OMP_NUM_THREADS": "2",
    }
    command = [sys.executable, "-c", EXERCISE, str(sanitized), str(encoders), *names]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=TESTS)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: (encoders / f"{name}.txt").read_text(encoding="utf-8", errors="replace") for name in names}


@pytest.mark.parametrize("name", EVERY_BUILD)
def test_kernels_pass_the_address_and_undefined_behaviour_sanitizers(
    exercised: dict[str, str], name: str
) -> None:
    if name not in exercised:
        pytest.skip(f"this processor or compiler has no {name}")
    assert exercised[name].endswith("done"), exercised[name][-4000:]


def test_structures_have_the_size_that_the_kernels_expect() -> None:
    library, _ = native.load_best_build("float32")
    if library is None:
        pytest.skip("no kernels here")
    for structure in interface.STRUCTURES:
        assert library.struct_size(structure) == ctypes.sizeof(structure), structure.__name__


def test_a_build_that_the_system_refuses_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
    library, reason = native.load_best_build("bfloat16", features=native.BUILDS["amx"].needs)
    assert library is not None and library.name == "avx512_bf16"  # type: ignore[attr-defined]
    assert (
        reason == "the processor has avx512_bf16; the amx kernels: the system does not grant tile registers"
    )
    refused.add("avx512_bf16")
    library, reason = native.load_best_build("bfloat16", features=native.BUILDS["amx"].needs)
    assert library is None and "tile registers" in reason


def test_an_install_without_kernels_names_the_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(native, "FOLDERS", (tmp_path,))
    library, reason = native.load_best_build("float32", features=native.BUILDS["avx2"].needs)
    assert library is None and "C++ compiler" in reason
    (tmp_path / "libsubmillion_avx2.so").write_bytes(b"not a library")
    native.load.cache_clear()
    library, reason = native.load_best_build("float32", features=native.BUILDS["avx2"].needs)
    assert library is None and "could not be loaded" in reason
    native.load.cache_clear()


@pytest.mark.parametrize(
    ("features", "bfloat16", "float32"),
    [
        ({"avx2", "fma", "bmi2"}, None, "avx2"),
        ({"fp", "asimd", "fphp"}, None, "neon"),
        ({"fp", "asimd", "i8mm", "bf16"}, "neon_bf16", "neon"),
        ({"mmx", "sse2"}, None, None),
    ],
)
def test_each_processor_gets_the_build_that_it_can_run(
    features: set[str],
    bfloat16: str | None,
    float32: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in native.BUILDS:
        (tmp_path / f"libsubmillion_{name}.so").write_bytes(b"stands for a build")
    monkeypatch.setattr(native, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(native, "load", lambda name: name)
    for dtype_name, expected in (("bfloat16", bfloat16), ("float32", float32)):
        assert native.load_best_build(dtype_name, features)[0] == expected


def test_other_systems_than_linux_run_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "RUNS_HERE", False)
    monkeypatch.setattr(native.platform, "system", lambda: "Darwin")
    reason = "the kernels run on Linux alone, and this is macOS"
    assert native.load_best_build("float32", native.BUILDS["neon"].needs) == (None, reason)
    with pytest.raises(BadInput, match="SUBMILLION_NATIVE: expected Linux, found macOS"):
        native.load_best_build("float32", native.BUILDS["neon"].needs, forced="neon")


@given(
    lengths=strategies.lists(strategies.integers(1, 128), min_size=1, max_size=80),
    wanted=strategies.integers(1, 9),
)
def test_groups_have_equal_sizes_and_little_padding(lengths: list[int], wanted: int) -> None:
    count, multiple = min(wanted, len(lengths)), 16
    rows = rows_of_groups(lengths, count, multiple)
    assert sum(rows) == sum(lengths)
    assert all(rows)  # an empty group would have no blocks
    padded = [-(-row // multiple) * multiple for row in rows]
    longest_first = [0] * count
    for length in sorted(lengths, reverse=True):
        longest_first[longest_first.index(min(longest_first))] += length
    assert sum(padded) <= sum(-(-row // multiple) * multiple for row in longest_first)
    assert max(rows) <= sum(lengths) / count + max(lengths) + 2 * multiple


def test_groups_are_padded_as_little_as_the_lengths_allow() -> None:
    # 60 + 20 and 50 + 10 rows need 5 + 4 units of 16. Longest first gives 60 + 10 and 50 + 20, which need 5 + 5.
    assert sorted(rows_of_groups([60, 50, 20, 10], 2, 16)) == [60, 80]


def rows_of_groups(lengths: list[int], count: int, multiple: int) -> list[int]:
    rows, group = np.array(lengths, dtype=np.int64), np.full(len(lengths), -1, dtype=np.int64)
    library, _ = native.load_best_build("float32")
    if library is None:
        pytest.skip("no kernels here")
    library.group_texts(rows.ctypes.data, len(lengths), count, multiple, group.ctypes.data)
    return [int(rows[group == number].sum()) for number in range(count)]


def run_forward(packed: Packed, classifier: Classifier, ids: list[int], position: int, length: int) -> None:
    """Run one text through the kernels alone, past the checks of Python."""
    batch = PackedTexts(from_rows([ids]), np.array([0]), 1)
    batch.positions[-1] = position
    batch.offsets[-1] = length
    packed.run_forward(batch, 0, 0, None, save=False)


@pytest.mark.parametrize(
    ("token_id", "position", "length", "message"),
    [
        (999_999_999, 4, 3, "a token id is not a row of the embeddings"),
        (-1, 4, 3, "a token id is not a row of the embeddings"),
        (5, 66, 3, "a position is not a row of the embeddings"),
        (5, -7, 3, "a position is not a row of the embeddings"),
        (5, 4, 0, "a text has no tokens"),
        (5, 4, 70_000, "a text has more tokens than the encoder has positions"),
    ],
)
def test_the_kernels_refuse_to_read_out_of_bounds(
    token_id: int, position: int, length: int, message: str, tmp_path: Path
) -> None:
    library, reason = native.load_best_build("float32")
    if library is None:
        pytest.skip(reason)
    folder = tiny_encoder(tmp_path, "roberta", layers=1, hidden=64)
    classifier = made(folder).eval()
    packed = opened(classifier, library.build.name)
    run_forward(packed, classifier, [0, 7, 5], 4, 3)
    with pytest.raises(SubmillionError, match=message):
        run_forward(packed, classifier, [0, 7, token_id], position, length)
