"""Tests of model/execution/packed_int8.py: the int8 kernels against a simulation of their rule, and against float32."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.data.tokens import Tokens
from submillion.errors import BadInput, SubmillionError
from submillion.model.classifier import Classifier
from submillion.model.execution.int8_rule import channel_groups, quantize_weights
from submillion.model.execution.packed_int8 import PackedInt8, open_int8, unsupported_int8
from submillion.model.execution.reference import Reference
from submillion.model.precision import Precision
from submillion.native import int8, interface
from support.int8 import AVX_VNNI, SimulatedInt8, emulated_avx_vnni, no_avx_vnni
from support.packed import LENGTHS as RAGGED
from support.packed import made, parameters_of, texts_of
from support.tiny import tiny_encoder

BUILDS = parameters_of({name: build for name, build in int8.BUILDS.items() if name != AVX_VNNI})
BUILDS.append(
    pytest.param(AVX_VNNI, marks=pytest.mark.skipif(no_avx_vnni() is not None, reason=str(no_avx_vnni())))
)
EVERY_TARGET = {"targets": "all-linear", "dropout": 0.1}
LENGTHS = [*RAGGED, *[5] * 40]


@pytest.fixture(scope="module", autouse=True)
def avx_vnni(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The build for AVX-VNNI, with its instruction computed by AVX2 where the processor lacks it."""
    with emulated_avx_vnni(tmp_path_factory.mktemp("avx_vnni")):
        yield


def features(execution: Any, tokens: Tokens, rows: Any = None) -> np.ndarray:
    with torch.inference_mode():
        chosen = np.arange(len(tokens)) if rows is None else np.asarray(rows)
        found: np.ndarray = execution.features(tokens, chosen).numpy()
        return found


def in_float32(classifier: Classifier) -> Reference:
    return Reference(classifier, Precision("float32", False, "test"))


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made_ones: dict[Any, Path] = {}

    def get(family: str = "bert", hidden: int = 64, heads: int = 2, longest: int = 64) -> Path:
        key = family, hidden, heads, longest
        if key not in made_ones:
            folder = tmp_path_factory.mktemp("encoder") / family
            made_ones[key] = tiny_encoder(
                folder, family, layers=2, hidden=hidden, heads=heads, longest=longest
            )
        return made_ones[key]

    return get


def simulated(x: np.ndarray, matrix: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The product of x [rows, inputs] and matrix [outputs, inputs] by the rule, with exact sums of integers."""
    result = np.tile(bias.astype(np.float64), (len(x), 1))
    blocks = x.shape[1] // 32
    count = -(-x.shape[1] // 768)
    for group in range(count):
        part = slice(32 * (blocks * group // count), 32 * (blocks * (group + 1) // count))
        of_x, of_w = x[:, part], matrix[:, part]
        low, high = np.minimum(of_x.min(1), 0), np.maximum(of_x.max(1), 0)
        span = high - low
        inverse = np.divide(np.float32(255), span, out=np.zeros_like(span), where=span > 0)
        zero = np.rint(-low * inverse).astype(np.int64)
        u = np.minimum(np.rint(of_x * inverse[:, None]).astype(np.int64) + zero[:, None], 255)
        peak = np.abs(of_w).max(1)
        inverse_w = np.divide(np.float32(127), peak, out=np.zeros_like(peak), where=peak > 0)
        q = np.rint(of_w * inverse_w[:, None]).astype(np.int64)
        sums = u @ q.T - zero[:, None] * q.sum(1)
        result += sums * (span / np.float32(255)).astype(np.float64)[:, None] * (peak / np.float32(127))
    return result


def multiplied(name: str, x: np.ndarray, matrix: np.ndarray, bias: np.ndarray) -> np.ndarray:
    integers, scales = quantize_weights(torch.from_numpy(matrix))
    of = int8.Matrix(integers.data_ptr(), scales.data_ptr(), None, bias.ctypes.data)
    y = np.full((len(x), len(matrix)), np.nan, dtype=np.float32)
    library = int8.load(name)
    library.call("sm_multiply", ctypes.byref(of), *matrix.shape, x.ctypes.data, len(x), y.ctypes.data)
    return y


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("inputs", [32, 96, 384, 800, 1536, 3072])
def test_products_are_those_of_the_rule(name: str, inputs: int) -> None:
    rng = np.random.default_rng(inputs)
    matrix = rng.normal(size=(64, inputs)).astype(np.float32)
    matrix[3] = 0
    matrix[4], matrix[5] = 1, -1  # with a row of ones, the largest sums of the largest integers
    bias = rng.normal(size=64).astype(np.float32)
    for rows in (*range(1, 30), 100):
        x = rng.normal(0.3, 1, size=(rows, inputs)).astype(np.float32)
        x[rows // 2] = np.abs(x[rows // 2])  # a zero point of 0
        x[-1, 0] = 100.0  # an outlier
        if rows > 3:
            x[0], x[1], x[2] = 1, 0, -np.abs(x[2])
        expected = simulated(x, matrix, bias)
        # An integer that is off by one would be off by some 1e-4 of the largest value of its row.
        largest = np.abs(expected).max(1, keepdims=True)
        assert np.abs(multiplied(name, x, matrix, bias) - expected).max() / largest.max() < 1e-6
        assert (np.abs(multiplied(name, x, matrix, bias) - expected) < 2e-6 * largest + 1e-6).all()


def test_groups_of_channels_are_of_about_equal_size() -> None:
    assert channel_groups(384) == [slice(0, 384)]
    assert channel_groups(3072) == [slice(at, at + 768) for at in range(0, 3072, 768)]
    assert channel_groups(800) == [slice(0, 384), slice(384, 800)]


def test_weights_are_within_half_a_step_of_their_integers() -> None:
    matrix = torch.randn(64, 1536, generator=torch.Generator().manual_seed(0))
    integers, scales = quantize_weights(matrix)
    spread = torch.cat([scales[g, :, None].expand(64, 768) for g in range(2)], dim=1)
    assert ((integers * spread - matrix).abs() <= 0.5001 * spread).all()
    assert (integers.view(64, 2, 768).abs().amax(2) == 127).all()


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize(
    ("family", "pooling", "hidden", "heads"),
    [
        ("roberta", "first", 64, 2),
        ("bert", "mean", 96, 3),
        ("mpnet", "mean", 128, 2),
        ("xlm-roberta", "first", 128, 1),
        ("distilbert", "first", 64, 2),
        ("electra", "mean", 128, 2),
        ("modernbert", "first", 64, 2),
        ("modernbert", "mean", 128, 1),
    ],
)
def test_features_are_near_those_of_float32(
    encoders: Any, name: str, family: str, pooling: str, hidden: int, heads: int
) -> None:
    classifier = made(encoders(family, hidden, heads), EVERY_TARGET, pooling=pooling).eval()
    tokens = texts_of(LENGTHS, classifier)
    expected = features(in_float32(classifier), tokens)
    everything = frozenset((layer, target) for layer in range(2) for target in classifier.family.targets)
    library = int8.load(name)
    found = features(PackedInt8(classifier, library), tokens)
    assert 1e-4 < apart(found, expected) < 0.08
    if library.build.dtype_name == "float32":
        # A last bit of a state may change an integer, so even exact products leave a small distance.
        assert apart(features(SimulatedInt8(classifier), tokens), found) < 0.15 * apart(found, expected)
    exact = PackedInt8(classifier, library, everything)
    assert apart(features(exact, tokens), expected) < (
        1e-5 if library.build.dtype_name == "float32" else 0.02
    )


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_each_matrix_can_stay_in_float(encoders: Any, name: str, family: str) -> None:
    classifier = made(encoders(family), EVERY_TARGET).eval()
    tokens = texts_of(LENGTHS, classifier)
    library = int8.load(name)
    everything = {(layer, target) for layer in range(2) for target in classifier.family.targets}
    expected = features(PackedInt8(classifier, library, frozenset(everything)), tokens)
    in_int8 = features(PackedInt8(classifier, library), tokens)
    for matrix in sorted(everything):
        alone = features(PackedInt8(classifier, library, frozenset(everything - {matrix})), tokens)
        assert 0 < apart(alone, expected) < apart(in_int8, expected)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("pooling", interface.POOLINGS)
@pytest.mark.parametrize(("family", "matrix"), [("mpnet", "key"), ("modernbert", "ffn_up")])
def test_a_text_has_the_same_bits_in_every_batch_and_with_any_number_of_threads(
    encoders: Any, name: str, pooling: str, family: str, matrix: str
) -> None:
    classifier = made(encoders(family), EVERY_TARGET, pooling=pooling).eval()
    tokens = texts_of(LENGTHS, classifier)
    floats = frozenset({(0, matrix), (1, "ffn_down")})
    execution = PackedInt8(classifier, int8.load(name), floats)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = features(execution, tokens)
        torch.set_num_threads(1)
        assert np.array_equal(features(execution, tokens), together)
        alone = np.concatenate([features(execution, tokens, [row]) for row in range(len(tokens))])
        assert np.array_equal(alone, together)
        assert np.array_equal(features(execution, tokens, [9, 3, 3]), together[[9, 3, 3]])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("family", ["roberta", "modernbert"])
def test_texts_of_the_encoders_maximum_length(encoders: Any, name: str, family: str) -> None:
    classifier = made(encoders(family, longest=512), EVERY_TARGET).eval()
    tokens = texts_of([512, 511, 1], classifier)
    found = features(PackedInt8(classifier, int8.load(name)), tokens)
    assert apart(found, features(in_float32(classifier), tokens)) < 0.08
    with pytest.raises(SubmillionError, match="513"):
        features(PackedInt8(classifier, int8.load(name)), texts_of([513], classifier))


class Cached:
    """Hidden states of all texts, in memory."""

    def __init__(self, states: torch.Tensor, tokens: Tokens) -> None:
        self.parts = torch.split(states, [len(tokens[row]) for row in range(len(tokens))])

    def flat_states(self, rows: np.ndarray) -> torch.Tensor:
        return torch.cat([self.parts[row] for row in rows])


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_cached_lower_layers_change_nothing(encoders: Any, name: str, family: str) -> None:
    targets = {"targets": "all-linear", "layers": [1]}
    classifier = made(encoders(family), targets).eval()
    assert classifier.prefix_depth == 1
    tokens = texts_of(LENGTHS, classifier)
    execution = PackedInt8(classifier, int8.load(name))
    with torch.inference_mode():
        prefix: Any = Cached(execution.prefix_forward(tokens)(np.arange(len(tokens))), tokens)
        rows = np.array([5, 0, 3])
        assert torch.equal(execution.logits(tokens, rows, prefix=prefix), execution.logits(tokens, rows))
        last = execution.states(tokens, rows, 2, prefix)
        assert torch.equal(last[0], execution.features(tokens, rows)[0])


@pytest.mark.parametrize("name", BUILDS)
def test_a_broken_weight_shows_in_the_result(encoders: Any, name: str) -> None:
    classifier = made(encoders()).eval()
    with torch.no_grad():
        classifier.stack.layers[1].get_parameter("output.LayerNorm.bias")[0] = torch.nan
    assert (
        np.isnan(features(PackedInt8(classifier, int8.load(name)), texts_of([3, 4], classifier))).all(0).any()
    )


def test_what_cannot_run_is_refused_with_its_reason(encoders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = made(encoders()).eval()
    monkeypatch.setenv(native.VARIABLE, "off")
    assert unsupported_int8(classifier) == "SUBMILLION_NATIVE is off"
    with pytest.raises(BadInput, match="SUBMILLION_NATIVE is off"):
        open_int8(classifier)
    disentangled = made(encoders("deberta-v2")).eval()
    assert (
        unsupported_int8(disentangled) == "the int8 kernels do not know the attention of deberta-v2 encoders"
    )


@pytest.mark.parametrize("name", BUILDS)
def test_mistaken_use_is_an_error(encoders: Any, name: str) -> None:
    classifier = made(encoders()).eval()
    library = int8.load(name)
    with pytest.raises(ValueError, match="layer 2 has no matrix 'key'"):
        PackedInt8(classifier, library, frozenset({(2, "key")}))
    with pytest.raises(RuntimeError, match="cannot train"):
        PackedInt8(classifier, library).features(texts_of([3], classifier), np.arange(1))
    assert [library.struct_size(each) for each in int8.STRUCTURES] == list(
        map(ctypes.sizeof, int8.STRUCTURES)
    )


@pytest.mark.parametrize("name", BUILDS)
def test_its_name_says_the_build(encoders: Any, name: str) -> None:
    found = PackedInt8(made(encoders()), int8.load(name)).name
    expected = {
        "int8_amx": "packed-int8-amx",
        "int8_avx512_vnni": "packed-int8-avx512_vnni",
        "int8_avx_vnni": "packed-int8-avx_vnni",
        "int8_avx2": "packed-int8-avx2",
    }
    assert found == expected[name]


AVX2, AVX512 = native.BUILDS["avx2"].needs, native.BUILDS["avx2"].needs | native.BUILDS["avx512"].needs
VNNI = AVX512 | {"avx512_vnni"}
AMX = VNNI | int8.BUILDS["int8_amx"].needs


@pytest.mark.parametrize(
    ("features", "forced", "expected"),
    [
        (AMX, None, "int8_amx"),
        (AMX, "avx512_bf16", "int8_avx512_vnni"),
        (AMX, "avx512", "int8_avx512_vnni"),
        (AMX, "avx2", "int8_avx2"),
        (VNNI, None, "int8_avx512_vnni"),
        (VNNI, "avx2", "int8_avx2"),
        (VNNI | {"avx_vnni"}, None, "int8_avx512_vnni"),
        (AVX2 | {"avx_vnni"}, None, "int8_avx_vnni"),
        (AVX2 | {"avx_vnni"}, "avx2", "int8_avx2"),
        (AVX2, None, "int8_avx2"),
        (AVX2, "avx2", "int8_avx2"),
        (AVX512, None, "with avx512f, only avx512_vnni makes them faster"),
        (AVX512, "avx512", "with avx512f, only avx512_vnni makes them faster"),
        (AVX512, "avx2", "int8_avx2"),
        ({"sse2"}, None, "they need avx2, fma and bmi2"),
        (AMX, "off", "SUBMILLION_NATIVE is off"),
    ],
)
def test_the_best_build_for_a_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, features: set[str], forced: str | None, expected: str
) -> None:
    for name in int8.BUILDS:
        (tmp_path / f"libsubmillion_{name}.so").touch()
    monkeypatch.setattr(native, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(int8, "load", lambda name: name)
    monkeypatch.delenv(native.VARIABLE, raising=False)
    library, reason = int8.load_best(features, forced)
    assert expected in (library or reason)
