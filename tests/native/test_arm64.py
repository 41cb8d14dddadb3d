"""Tests of the arm64 kernels: cross-compiled and emulated, against the reference and the x86 kernels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.errors import SubmillionError
from submillion.model.classifier import Classifier
from submillion.model.execution.packed import Packed
from submillion.model.execution.packed_texts import PackedTexts
from submillion.model.precision import Precision
from submillion.model.prefix import PrefixCache
from submillion.native import interface
from support.emulated import PROCESSORS, EmulatedLibrary, cross_compile, missing_tools
from support.packed import apart, check_bits_by_threads, made, packed_outcome, reference, texts_of, worst
from support.tiny import tiny_encoder

pytestmark = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))

BUILDS = sorted(PROCESSORS)
LENGTHS = [13, 1, 33]
"""Tokens of texts that fill a block, exceed one, and nearly leave one empty."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arm64")
    cross_compile(folder)
    return folder


@pytest.fixture(scope="module", params=BUILDS)
def library(folder: Path, request: pytest.FixtureRequest) -> Iterator[EmulatedLibrary]:
    emulated = EmulatedLibrary(folder, request.param)
    with emulated.following_addresses():
        yield emulated
    emulated.server.close()


def packed_on(library: native.Library, classifier: Classifier, **more: Any) -> Packed:
    return Packed(classifier, Precision(library.build.dtype_name, False, "test"), library, **more)


def check(library: EmulatedLibrary, classifier: Classifier, lengths: list[int]) -> None:
    """Compare logits and gradients with those of transformers and peft."""
    tokens = texts_of(lengths, classifier)
    logits, gradients = reference(classifier, tokens)
    found, own = packed_outcome(classifier, packed_on(library, classifier), tokens)
    if library.build.dtype_name == "float32":
        assert apart(found, logits) < 1e-5
        assert worst(own, gradients) < 1e-4
        return
    cast, cast_gradients = reference(classifier, tokens, autocast=True)
    together = [
        torch.cat([g[name].flatten() for name in gradients]) for g in (own, gradients, cast_gradients)
    ]
    assert apart(found, logits) <= 1.25 * apart(cast, logits)
    assert apart(together[0], together[1]) <= 1.25 * apart(together[2], together[1])


@pytest.mark.parametrize(
    ("family", "pooling"),
    [
        ("roberta", "first"),
        ("bert", "mean"),
        ("mpnet", "first"),
        ("distilbert", "first"),
        ("electra", "first"),
        ("deberta-v2", "first"),
        ("modernbert", "mean"),
    ],
)
def test_logits_and_gradients_agree_with_the_reference(
    library: EmulatedLibrary, family: str, pooling: str, tmp_path: Path
) -> None:
    encoder = tiny_encoder(tmp_path, family, layers=2, hidden=64, dropout=0.0)
    check(library, made(encoder, {"targets": "all-linear"}, pooling=pooling), LENGTHS)


def test_ranks_that_fill_no_block_dora_and_layers_without_adapters(
    library: EmulatedLibrary, tmp_path: Path
) -> None:
    encoder = tiny_encoder(tmp_path, "roberta", layers=2, hidden=64, dropout=0.0)
    for lora in (
        {"targets": "all-linear", "r": 33, "layers": [1]},
        {"targets": ["query", "ffn_down"], "r": 43, "layers": [0]},
        {"targets": "all-linear", "variant": "dora"},
    ):
        check(library, made(encoder, lora, "linear"), LENGTHS)


def test_texts_of_the_encoders_maximum_length(library: EmulatedLibrary, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path, "roberta", layers=1, hidden=64, dropout=0.0, longest=512)
    check(library, made(encoder, {"targets": ["query", "value"]}), [512, 1])


def test_dropout_masks_and_gradients_are_those_of_the_x86_kernels(
    library: EmulatedLibrary, tmp_path: Path
) -> None:
    other, reason = native.load_best_build("float32")
    if other is None:
        pytest.skip(reason)
    ids, masks = np.arange(8, dtype=np.uint64), []
    for each in (library, other):
        kept = np.empty((len(ids), 96), dtype=np.uint8)
        each.dropout_mask(
            interface.Dropout(0.3, 1, 0, 4), ids.ctypes.data, len(ids), kept.shape[1] // 32, kept.ctypes.data
        )
        masks.append(kept)
    assert np.array_equal(*masks)
    encoder = tiny_encoder(tmp_path, "bert", layers=2, hidden=64, dropout=0.1)
    classifier = made(encoder, {"targets": "all-linear", "dropout": 0.2}, "linear")
    tokens = texts_of(LENGTHS, classifier)
    outcomes = []
    for each in (library, other):
        torch.manual_seed(0)  # the head's dropout
        outcomes.append(packed_outcome(classifier, packed_on(each, classifier), tokens, seed=7))
    (logits, gradients), (expected, expected_gradients) = outcomes
    exact = library.build.dtype_name == "float32"
    assert apart(logits, expected) < (1e-5 if exact else 0.03)
    assert worst(gradients, expected_gradients) < (1e-4 if exact else 0.1)


def test_bits_do_not_depend_on_threads(library: EmulatedLibrary, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path, "roberta", layers=1, hidden=64, dropout=0.0)
    classifier = made(encoder, {"targets": "all-linear", "dropout": 0.1})
    tokens = texts_of([*LENGTHS, 20, 9], classifier)
    check_bits_by_threads(classifier, lambda: packed_on(library, classifier), tokens)


def test_merged_adapters_and_cached_states_give_the_same_logits(
    library: EmulatedLibrary, tmp_path: Path
) -> None:
    encoder = tiny_encoder(tmp_path, "roberta", layers=2, hidden=64)
    classifier = made(encoder, {"layers": "top-1"}).eval()
    tokens, rows = texts_of(LENGTHS, classifier), np.arange(len(LENGTHS))
    packed = packed_on(library, classifier)
    prefix = PrefixCache.build(packed, tokens, 4)
    assert prefix is not None and classifier.prefix_depth == 1
    with torch.inference_mode():
        logits = packed.logits(tokens, rows)
        assert torch.equal(logits, packed.logits(tokens, rows, prefix=prefix))
        merged = packed_on(library, classifier, merged=True).logits(tokens, rows)
        assert apart(merged, logits) < (1e-5 if library.build.dtype_name == "float32" else 0.03)


def test_broken_weights_show_and_ids_out_of_bounds_are_refused(
    library: EmulatedLibrary, tmp_path: Path
) -> None:
    classifier = made(tiny_encoder(tmp_path, "bert", layers=1, hidden=64)).eval()
    tokens = texts_of([5, 4], classifier)
    with torch.no_grad():
        classifier.stack.layers[0].output.dense.weight[3, 5] = float("nan")
    packed = packed_on(library, classifier)
    with torch.inference_mode():
        assert torch.isnan(packed.logits(tokens, np.arange(2))).all()
    batch = PackedTexts(tokens, np.arange(2), None)
    batch.ids[3] = 999_999
    with pytest.raises(SubmillionError, match="a token id is not a row of the embeddings"):
        packed.run_forward(batch, 0, 0, None, save=False)
