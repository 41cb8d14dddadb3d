"""Tests of the packed execution for ModernBERT: its kernels against transformers and peft, with every build here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.data.batches import collate
from submillion.model.classifier import Classifier
from submillion.model.execution.kernel_support import unsupported
from submillion.model.execution.packed import Packed
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
    pytest.param(targets, pooling, id=f"{targets}-{pooling}")
    for targets in ("all-linear", "qkv", "attention_output", "ffn_up", "ffn_down")
    for pooling in interface.POOLINGS
    if pooling == "first" or targets in ("all-linear", "qkv")
]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    """Encoders of 4 layers: 0 and 3 attend to all tokens, 1 and 2 to a window; layer 0 has no norm."""
    written: dict[Any, Path] = {}

    def get(hidden: int = 64, heads: int = 2, dropout: float = 0.0, longest: int = 64, **config: Any) -> Path:
        key = hidden, heads, dropout, longest, *sorted(config.items())
        if key not in written:
            folder = tmp_path_factory.mktemp("modernbert")
            tiny_encoder(
                folder, "modernbert", 4, hidden, dropout=dropout, heads=heads, longest=longest, **config
            )
            written[key] = folder
        return written[key]

    return get


def without_dropout_in_the_head(classifier: Classifier) -> Classifier:
    classifier.module.get_base_model().get_submodule("drop").p = 0.0
    return classifier


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(("targets", "pooling"), CASES)
def test_float32_kernels_agree_with_the_reference(
    encoders: Encoders, path: str, targets: str, pooling: str
) -> None:
    named = targets if targets == "all-linear" else [targets]
    for hidden, heads in (
        (64, 2),
        (192, 2),
        (160, 5),
    ):  # heads of 32 and 96 channels; more than a chunk of heads
        classifier = made(encoders(hidden, heads), {"targets": named}, pooling=pooling)
        tokens = texts_of(LENGTHS, classifier)
        logits, gradients = reference(classifier, tokens)
        packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
        assert apart(packed_logits, logits) < 1e-5
        assert worst(own, gradients) < 1e-4


@pytest.mark.parametrize("path", BFLOAT)
@pytest.mark.parametrize(("targets", "pooling"), CASES)
def test_bfloat16_kernels_are_no_worse_than_autocast(
    encoders: Encoders, path: str, targets: str, pooling: str
) -> None:
    named = targets if targets == "all-linear" else [targets]
    classifier = made(encoders(), {"targets": named}, pooling=pooling)
    own, cast = rounding(classifier, opened(classifier, path), texts_of(LENGTHS, classifier))
    assert (own <= 1.25 * cast).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("window", "pooling", "lengths"),
    [
        (128, "mean", [2048, 1]),
        (96, "first", [515, 1, 129]),
        (2, "mean", [64, 31, 7]),
        (2, "first", [64, 31, 7]),
        (4096, "first", [300]),
    ],
)
def test_windows_narrower_and_wider_than_a_block_and_long_texts(
    encoders: Encoders, path: str, window: int, pooling: str, lengths: list[int]
) -> None:
    folder = encoders(longest=2048, local_attention=window)
    classifier = made(folder, {"targets": "all-linear"}, pooling=pooling)
    tokens = texts_of(lengths, classifier)
    logits, gradients = reference(classifier, tokens)
    packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
    if native.BUILDS[path].dtype_name == "float32":
        assert apart(packed_logits, logits) < 1e-5
        assert worst(own, gradients) < 1e-4
    else:
        cast, _ = reference(classifier, tokens, autocast=True)
        assert apart(packed_logits, logits) <= 1.25 * apart(cast, logits)


@pytest.mark.parametrize("path", FLOAT)
def test_biases_are_added_and_the_last_layer_may_be_local(encoders: Encoders, path: str) -> None:
    config = {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "global_attn_every_n_layers": 2}
    for pooling in interface.POOLINGS:
        classifier = made(encoders(**config), {"targets": "all-linear"}, pooling=pooling)
        tokens = texts_of(LENGTHS, classifier)
        logits, gradients = reference(classifier, tokens)
        packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
        assert apart(packed_logits, logits) < 1e-5
        assert worst(own, gradients) < 1e-4


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(("heads", "pooling"), [(2, "first"), (5, "mean")])
def test_the_reference_with_the_kernels_dropout_masks_gives_the_same_gradients(
    encoders: Encoders, path: str, heads: int, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = {"targets": "all-linear", "dropout": 0.2}
    classifier = made(encoders(32 * heads, heads, 0.1), lora, pooling=pooling)
    if pooling == "first":
        without_dropout_in_the_head(classifier)
    check_replayed_masks(classifier, path, monkeypatch)


@pytest.mark.parametrize("pooling", interface.POOLINGS)
@pytest.mark.parametrize("path", PATHS)
def test_bits_do_not_depend_on_threads_or_earlier_batches(
    encoders: Encoders, path: str, pooling: str
) -> None:
    lora = {"targets": "all-linear", "dropout": 0.1}
    classifier = made(encoders(dropout=0.1), lora, pooling=pooling)
    tokens = texts_of(LENGTHS * 4, classifier)
    earlier = texts_of([64] * 30, classifier, seed=1)
    check_bits_by_threads(classifier, lambda: opened(classifier, path), tokens, earlier)


@pytest.mark.parametrize("path", FLOAT)
def test_a_text_does_not_depend_on_the_others(encoders: Encoders, path: str) -> None:
    for pooling in interface.POOLINGS:
        classifier = made(encoders(), {"targets": "all-linear"}, pooling=pooling).eval()
        tokens = texts_of(LENGTHS, classifier)
        packed = opened(classifier, path)
        with torch.inference_mode():
            together = packed.logits(tokens, np.arange(len(LENGTHS)))
            alone = torch.cat([packed.logits(tokens, np.array([row])) for row in range(len(LENGTHS))])
        assert torch.allclose(together, alone, rtol=0, atol=2e-6)


@pytest.mark.parametrize("path", PATHS)
def test_per_layer_ranks_rslora_and_other_heads(encoders: Encoders, path: str) -> None:
    for lora, head, pooling in (
        ({"targets": "all-linear", "r": 33, "rslora": True, "layers": [1]}, "linear", "first"),
        ({"targets": "all-linear", "r": 21, "layers": [0]}, "linear", "mean"),
        ({"targets": ["qkv", "ffn_down"], "r": 64, "layers": "top-2"}, "lora", "first"),
        ({"targets": ["attention_output", "ffn_up"], "r": 97, "layers": "top-1"}, "linear", "first"),
    ):
        classifier = made(encoders(128), lora, head, pooling)
        tokens = texts_of(LENGTHS, classifier)
        logits, gradients = reference(classifier, tokens)
        packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
        if native.BUILDS[path].dtype_name == "float32":
            assert apart(packed_logits, logits) < 1e-5
            assert worst(own, gradients) < 1e-4
        else:
            cast, cast_gradients = reference(classifier, tokens, autocast=True)
            assert apart(packed_logits, logits) <= 1.5 * apart(cast, logits)
            assert worst(own, gradients) <= 1.25 * worst(cast_gradients, gradients)


@pytest.mark.parametrize("path", PATHS)
def test_a_head_that_averages_gets_the_mean_of_the_normalized_states(encoders: Encoders, path: str) -> None:
    classifier = made(encoders(classifier_pooling="mean"), {"targets": "all-linear"})
    assert (classifier.pooling, classifier.feature_pooling) == ("first", "mean")
    tokens, rows = texts_of(LENGTHS, classifier), np.arange(len(LENGTHS))
    logits, gradients = reference(classifier, tokens)
    with torch.no_grad():
        features = classifier.features(collate(tokens, rows, classifier.pad_id))
        assert apart(classifier.head(features), logits) < 1e-5
    packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
    exact = native.BUILDS[path].dtype_name == "float32"
    assert apart(packed_logits, logits) < (1e-5 if exact else 0.03)
    assert not exact or worst(own, gradients) < 1e-4


@pytest.mark.parametrize("pooling", interface.POOLINGS)
@pytest.mark.parametrize("path", PATHS)
def test_merged_adapters_give_the_same_logits(encoders: Encoders, path: str, pooling: str) -> None:
    lora = {"targets": "all-linear", "layers": "top-2"}
    classifier = made(encoders(), lora, pooling=pooling).eval()
    tokens, rows = texts_of(LENGTHS, classifier), np.arange(len(LENGTHS))
    logits, _ = reference(classifier, tokens)
    packed = opened(classifier, path)
    merged = Packed(classifier, packed.precision, packed.library, merged=True)
    with torch.inference_mode():
        exact = native.BUILDS[path].dtype_name == "float32"
        assert apart(merged.logits(tokens, rows), logits) < (1e-5 if exact else 0.03)


@pytest.mark.parametrize("pooling", interface.POOLINGS)
@pytest.mark.parametrize("path", PATHS)
def test_a_start_from_cached_states_gives_the_same_logits(
    encoders: Encoders, path: str, pooling: str
) -> None:
    for layers, depth in (("top-1", 3), ("top-3", 1)):
        classifier = made(encoders(), {"layers": layers, "targets": "all-linear"}, pooling=pooling).eval()
        tokens = texts_of(LENGTHS, classifier)
        packed = opened(classifier, path)
        prefix = PrefixCache.build(packed, tokens, 4)
        assert prefix is not None and classifier.prefix_depth == depth
        rows = np.arange(len(LENGTHS))
        with torch.inference_mode():
            assert torch.equal(packed.logits(tokens, rows), packed.logits(tokens, rows, prefix=prefix))


def test_what_the_kernels_do_not_know_runs_on_the_reference(encoders: Encoders, tmp_path: Path) -> None:
    assert unsupported(made(encoders(), {"targets": "all-linear"})) is None
    folder = tiny_encoder(tmp_path, "modernbert", hidden=64)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["full_attention"] |= {"rope_type": "linear", "factor": 2.0}
    (folder / "config.json").write_text(json.dumps(config))
    reason = unsupported(made(folder, {"targets": "all-linear"}))
    assert reason == "the kernels rotate positions by default angles, the encoder by default, linear"
    biased = made(encoders(norm_bias=True), {"targets": "all-linear", "bias": "all"})
    assert "trained" in (unsupported(biased) or "")
