"""Tests of the packed execution for DeBERTa-v2: its kernels against transformers and peft, with every build here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.model.classifier import Classifier
from submillion.model.execution.kernel_support import unsupported
from submillion.model.execution.packed import Packed
from submillion.model.execution.packed_int8 import unsupported_int8
from submillion.model.prefix import PrefixCache
from submillion.native import interface
from support.packed import (
    BFLOAT,
    FLOAT,
    LENGTHS,
    PATHS,
    apart,
    check_bits_by_threads,
    check_replayed_masks,
    made,
    opened,
    packed_outcome,
    reference,
    rounding,
    texts_of,
    worst,
)
from support.tiny import tiny_encoder

Encoders = Callable[..., Path]
CASES = [
    pytest.param("all-linear", "first", id="all-linear-first"),
    pytest.param("all-linear", "mean", id="all-linear-mean"),
    pytest.param(["query"], "first", id="query"),
    pytest.param(["key"], "mean", id="key"),
    pytest.param(["value", "ffn_up"], "first", id="value+ffn_up"),
]
DORA = {"targets": ["query", "key", "ffn_down"], "variant": "dora", "r": 5}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    """Encoders of 3 layers and texts of at most 64 tokens, with 16 buckets of distances on each side."""
    written: dict[Any, Path] = {}

    def get(hidden: int = 64, heads: int = 2, dropout: float = 0.0, longest: int = 64, **config: Any) -> Path:
        key = hidden, heads, dropout, longest, repr(sorted(config.items()))
        if key not in written:
            folder = tmp_path_factory.mktemp("deberta")
            tiny_encoder(
                folder, "deberta-v2", 3, hidden, dropout=dropout, heads=heads, longest=longest, **config
            )
            written[key] = folder
        return written[key]

    return get


def check(classifier: Classifier, path: str, lengths: list[int] = LENGTHS) -> None:
    """Compare logits and gradients with those of transformers and peft, in float32."""
    tokens = texts_of(lengths, classifier)
    logits, gradients = reference(classifier, tokens)
    packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
    assert apart(packed_logits, logits) < 1e-5
    assert worst(own, gradients) < 1e-4


def without_dropout_in_the_head(classifier: Classifier) -> Classifier:
    for name, module in classifier.module.get_base_model().named_modules():
        if isinstance(module, torch.nn.Dropout) and (name == "dropout" or "pooler" in name):
            module.p = 0.0
    return classifier


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(("targets", "pooling"), CASES)
def test_float32_kernels_agree_with_the_reference(
    encoders: Encoders, path: str, targets: Any, pooling: str
) -> None:
    check(made(encoders(), {"targets": targets}, pooling=pooling), path)


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(("hidden", "heads"), [(96, 1), (160, 5)])
def test_heads_of_several_blocks_and_more_heads_than_are_projected_at_once(
    encoders: Encoders, path: str, hidden: int, heads: int
) -> None:
    # With weights of 0.2 on average, float32 on torch is itself more than 1e-5 from float64.
    folder = encoders(hidden, heads, initializer_range=0.1)
    for pooling in interface.POOLINGS:
        check(made(folder, {"targets": ["query", "key"]}, pooling=pooling), path)


@pytest.mark.parametrize("path", BFLOAT)
@pytest.mark.parametrize(("targets", "pooling"), CASES)
def test_bfloat16_kernels_are_no_worse_than_autocast(
    encoders: Encoders, path: str, targets: Any, pooling: str
) -> None:
    classifier = made(encoders(), {"targets": targets}, pooling=pooling)
    own, cast = rounding(classifier, opened(classifier, path), texts_of(LENGTHS, classifier))
    assert (own <= 1.25 * cast).all()


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"position_buckets": 32}, "first"),
        ({"position_buckets": 256}, "mean"),
        ({"position_buckets": -1}, "first"),
        (
            {"position_buckets": -1, "max_relative_positions": 40},
            "mean",
        ),  # larger distances have the last row
    ],
)
def test_distances_of_long_texts_share_buckets(
    encoders: Encoders, path: str, config: dict[str, Any], pooling: str
) -> None:
    folder = encoders(longest=512, **config)
    check(
        made(folder, {"targets": ["query", "key"], "layers": "top-2"}, pooling=pooling), path, [512, 1, 301]
    )


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(
    "config",
    [
        {"pos_att_type": ["c2p"]},
        {"pos_att_type": ["p2c"], "norm_rel_ebd": "none"},
        {"pos_att_type": []},
        {"position_biased_input": True, "type_vocab_size": 2},
        {"type_vocab_size": 2},
    ],
)
def test_one_kind_of_position_scores_and_absolute_positions(
    encoders: Encoders, path: str, config: dict[str, Any]
) -> None:
    check(made(encoders(**config), {"targets": "all-linear"}), path, LENGTHS[:5])


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(
    ("lora", "heads", "pooling"),
    [({"targets": "all-linear"}, 2, "first"), ({"targets": ["key"]}, 5, "mean"), (DORA, 2, "first")],
)
def test_the_reference_with_the_kernels_dropout_masks_gives_the_same_gradients(
    encoders: Encoders, path: str, lora: Any, heads: int, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = made(encoders(32 * heads, heads, 0.1), lora | {"dropout": 0.2}, pooling=pooling)
    without_dropout_in_the_head(classifier)
    check_replayed_masks(classifier, path, monkeypatch)


@pytest.mark.parametrize("path", PATHS)
def test_bits_do_not_depend_on_threads_or_earlier_batches(encoders: Encoders, path: str) -> None:
    classifier = made(encoders(dropout=0.1), {"targets": "all-linear", "dropout": 0.1})
    tokens = texts_of(LENGTHS * 4, classifier)
    earlier = texts_of([64] * 30, classifier, seed=1)
    check_bits_by_threads(classifier, lambda: opened(classifier, path), tokens, earlier)


@pytest.mark.parametrize("path", PATHS)
def test_per_layer_ranks_rslora_dora_and_other_heads(encoders: Encoders, path: str) -> None:
    for lora, head, pooling in (
        ({"targets": "all-linear", "r": 33, "rslora": True, "layers": [1]}, "linear", "first"),
        ({"targets": ["query", "key"], "r": 64, "layers": "top-1"}, "lora", "first"),
        (DORA, "linear", "mean"),
    ):
        classifier = made(encoders(), lora, head, pooling)
        if native.BUILDS[path].dtype_name == "float32":
            check(classifier, path)
            continue
        tokens = texts_of(LENGTHS, classifier)
        own, cast = rounding(classifier, opened(classifier, path), tokens)
        assert (own <= 1.5 * cast).all()


@pytest.mark.parametrize("path", PATHS)
def test_batches_merged_adapters_and_cached_states_change_no_logits(encoders: Encoders, path: str) -> None:
    lora = {"targets": ["query", "key", "value"], "layers": "top-1"}
    for pooling in interface.POOLINGS:
        classifier = made(encoders(), lora, pooling=pooling).eval()
        tokens, rows = texts_of(LENGTHS, classifier), np.arange(len(LENGTHS))
        packed = opened(classifier, path)
        merged = Packed(classifier, packed.precision, packed.library, merged=True)
        prefix = PrefixCache.build(packed, tokens, 4)
        assert prefix is not None and classifier.prefix_depth == 2
        with torch.inference_mode():
            logits = packed.logits(tokens, rows)
            assert torch.equal(logits, packed.logits(tokens, rows, prefix=prefix))
            exact = native.BUILDS[path].dtype_name == "float32"
            assert apart(merged.logits(tokens, rows), logits) < (1e-5 if exact else 0.03)
            alone = torch.cat([packed.logits(tokens, rows[row : row + 1]) for row in rows])
            assert torch.allclose(logits, alone, rtol=0, atol=2e-6 if exact else 0.03)


def test_what_the_kernels_do_not_know_runs_on_the_reference(encoders: Encoders) -> None:
    for config, reason in (
        ({}, None),
        ({"conv_kernel_size": 3}, "have no convolution"),
        ({"share_att_key": False}, "with the matrices of keys and queries, the encoder with others"),
        ({"relative_attention": False}, "with relative positions, the encoder has none"),
        ({"embedding_size": 32}, "embedding and hidden size differ"),
    ):
        found = unsupported(made(encoders(**config)))
        assert found is None if reason is None else reason in (found or "")
    trained = made(encoders())
    trained.stack.owner.get_submodule("rel_embeddings").requires_grad_(True)
    assert unsupported(trained) == "the relative positions have trained parameters"
    assert (
        unsupported_int8(made(encoders()))
        == "the int8 kernels do not know the attention of deberta-v2 encoders"
    )
