"""Tests of model/execution/int8_prefix.py: the states of the lower layers in int8, their calibration and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.data.tokens import Tokens
from submillion.errors import BadInput
from submillion.model import prefix
from submillion.model.classifier import Classifier
from submillion.model.execution.int8_prefix import (
    ROWS,
    Int8Prefix,
    calibration_rows,
    lower_layers,
    open_int8_prefix,
)
from submillion.model.execution.packed_int8 import unsupported_int8
from submillion.model.execution.reference import Reference
from submillion.model.execution.windowed import Windowed
from submillion.model.precision import Precision
from submillion.model.prefix import PrefixCache
from submillion.model.process_state import thread_count
from submillion.native import int8
from submillion.recipe_training import TrainRecipe
from support.int8 import amplified, simulate
from support.packed import LENGTHS, made, parameters_of, texts_of
from support.tiny import tiny_encoder

UPPER = {"layers": [2]}
IN_INT8 = TrainRecipe(prefix_precision="int8")
KERNELS = pytest.mark.skipif(
    all(param.marks[0].args[0] for param in parameters_of(int8.BUILDS)), reason="no int8"
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"), "bert", layers=3, hidden=64)


def opened(classifier: Classifier, precision: str = "float32") -> Reference:
    return Reference(classifier, Precision(precision, precision == "bfloat16", "test"))


def states(
    execution: Any, tokens: Tokens, lower: Int8Prefix | None = None, batch_size: int = 4
) -> torch.Tensor:
    cache = PrefixCache.build(execution, tokens, batch_size, lower=lower)
    assert cache is not None
    return cache.flat_states(np.arange(len(tokens)))


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm())


@KERNELS
def test_states_are_close_to_float_and_the_same_for_any_batch_and_number_of_threads(encoder: Path) -> None:
    execution = opened(made(encoder, UPPER))
    tokens = texts_of(LENGTHS, execution.classifier)
    found = []
    for batch_size, threads in ((4, 1), (1, 2), (10, 2)):
        with thread_count(threads):
            lower = lower_layers(IN_INT8, execution, tokens)
            assert lower is not None
            found.append((lower.errors, states(execution, tokens, lower, batch_size)))
    assert 1e-4 < apart(found[0][1], states(execution, tokens)) < 0.05
    for errors, same in found[1:]:
        assert errors == found[0][0] and torch.equal(same, found[0][1])


@KERNELS
def test_states_have_the_format_of_the_training(encoder: Path) -> None:
    execution = opened(made(encoder, UPPER), "bfloat16")
    tokens = texts_of(LENGTHS, execution.classifier)
    lower = lower_layers(IN_INT8, execution, tokens)
    assert states(execution, tokens, lower).dtype == torch.bfloat16


@KERNELS
def test_layers_above_may_hold_what_the_kernels_do_not_know(encoder: Path) -> None:
    execution = opened(made(encoder, UPPER | {"variant": "adalora"}))
    assert unsupported_int8(execution.classifier) is not None
    tokens = texts_of(LENGTHS, execution.classifier)
    assert states(execution, tokens, lower_layers(IN_INT8, execution, tokens)).shape[1] == 64


def test_the_matrix_of_an_outlier_stays_in_float(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    classifier = made(encoder, UPPER)
    amplified(classifier, 3000.0, layer=1)
    execution, tokens = opened(classifier), texts_of(LENGTHS, classifier)
    lower = open_int8_prefix(execution, tokens)
    assert lower.float_matrices == {(1, "attention_output")}
    assert {layer for layer, _ in lower.errors} == {0, 1}
    assert apart(states(execution, tokens, lower), states(execution, tokens)) < 0.05


def test_the_key_of_the_file_tells_int8_from_float_and_one_calibration_from_another(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    simulate(monkeypatch)
    monkeypatch.setattr(prefix, "MIN_FILE_BYTES", 1)
    execution = opened(made(encoder, UPPER))
    tokens = texts_of(LENGTHS, execution.classifier)
    lower = open_int8_prefix(execution, tokens)
    other = Int8Prefix(lower.execution, lower.errors | {(0, "key"): 1.0})
    for number, runner in enumerate((None, lower, other), start=1):
        for _ in range(2):
            states(execution, tokens, runner)
            assert len(list((own_cache / "prefix").glob("*.safetensors"))) == number


def test_the_windows_of_a_text_are_run_one_by_one(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    classifier = made(encoder, UPPER)
    lower = open_int8_prefix(Windowed(opened(classifier)), texts_of(LENGTHS, classifier))
    assert isinstance(lower.execution, Windowed)


def test_texts_that_measure_the_matrices_are_evenly_spaced() -> None:
    assert calibration_rows(3).tolist() == [0, 1, 2]
    rows = calibration_rows(1000)
    assert len(rows) == ROWS and rows[0] == 0 and rows[-1] == 999
    assert set(np.diff(rows).tolist()) == {32, 33}


def test_float_is_left_to_the_execution(encoder: Path) -> None:
    execution = opened(made(encoder, UPPER))
    assert lower_layers(TrainRecipe(), execution, texts_of([3], execution.classifier)) is None


def test_without_frozen_layers_or_kernels_it_is_refused(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = made(encoder, {"layers": "all"})
    with pytest.raises(BadInput, match="no lower layer can be cached, found int8"):
        lower_layers(IN_INT8, opened(classifier), texts_of([3], classifier))
    monkeypatch.setenv(native.VARIABLE, "off")
    classifier = made(encoder, UPPER)
    with pytest.raises(BadInput, match="found int8, but SUBMILLION_NATIVE is off. Leave"):
        lower_layers(IN_INT8, opened(classifier), texts_of([3], classifier))


def test_int8_needs_the_cache() -> None:
    with pytest.raises(ValueError, match="prefix_cache=true with prefix_precision=int8"):
        TrainRecipe(prefix_precision="int8", prefix_cache=False)
