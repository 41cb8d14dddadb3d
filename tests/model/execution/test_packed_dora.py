"""Tests of DoRA in the packed execution: the kernels against peft, with every build that this CPU can run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.model.classifier import Classifier
from submillion.model.execution.packed import Packed
from submillion.model.prefix import PrefixCache
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
# Each target by itself once, then what differs: pooling, family, and a rank of more than a block.
CASES = [
    *(
        pytest.param("roberta", {"targets": [target]}, "first", id=target)
        for target in ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
    ),
    pytest.param("mpnet", {"targets": "all-linear", "r": 40, "rslora": True}, "first", id="mpnet-r40"),
    pytest.param("electra", {"targets": "all-linear"}, "mean", id="electra"),
    pytest.param("modernbert", {"targets": ["qkv"]}, "first", id="modernbert-qkv"),
    pytest.param("modernbert", {"targets": "all-linear"}, "mean", id="modernbert-all"),
]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    written: dict[Any, Path] = {}

    def get(family: str, dropout: float = 0.0) -> Path:
        if (family, dropout) not in written:
            folder = tmp_path_factory.mktemp(family)
            written[family, dropout] = tiny_encoder(folder, family, layers=3, hidden=64, dropout=dropout)
        return written[family, dropout]

    return get


def with_dora(folder: Path, lora: dict[str, Any], pooling: str = "first") -> Classifier:
    """Return a classifier whose magnitudes differ from the norms of the rows, and whose head has no dropout."""
    classifier = made(folder, {"variant": "dora", **lora}, pooling=pooling)
    with torch.no_grad():
        for name, value in classifier.named_parameters():
            if "lora_magnitude_vector" in name:
                value *= torch.linspace(-0.5, 1.5, len(value))
                value[3] = 0.0
    for name, module in classifier.module.get_base_model().named_modules():
        if isinstance(module, torch.nn.Dropout) and ("classifier" in name or name in ("dropout", "drop")):
            module.p = 0.0
    return classifier


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(("family", "lora", "pooling"), CASES)
def test_float32_kernels_agree_with_peft(
    encoders: Encoders, path: str, family: str, lora: dict[str, Any], pooling: str
) -> None:
    classifier = with_dora(encoders(family), lora, pooling)
    tokens = texts_of(LENGTHS, classifier)
    logits, gradients = reference(classifier, tokens)
    packed = opened(classifier, path)
    packed_logits, own = packed_outcome(classifier, packed, tokens)
    assert sum("magnitude" in name for name in own) == len(packed.parameters) // 3
    assert apart(packed_logits, logits) < 1e-5
    assert worst(own, gradients) < 1e-4


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(("family", "lora", "pooling"), CASES)
def test_peft_with_the_kernels_dropout_masks_gives_the_same_gradients(
    encoders: Encoders,
    path: str,
    family: str,
    lora: dict[str, Any],
    pooling: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classifier = with_dora(encoders(family, dropout=0.1), lora | {"dropout": 0.2}, pooling)
    check_replayed_masks(classifier, path, monkeypatch)


@pytest.mark.parametrize("path", BFLOAT)
@pytest.mark.parametrize(("family", "lora", "pooling"), CASES)
def test_bfloat16_kernels_are_no_worse_than_autocast(
    encoders: Encoders, path: str, family: str, lora: dict[str, Any], pooling: str
) -> None:
    classifier = with_dora(encoders(family), lora, pooling)
    packed = opened(classifier, path)
    # Rounding errors of one batch differ by half from those of the next: the means over five are compared.
    batches = [texts_of(LENGTHS, classifier, seed) for seed in range(5)]
    own, cast = np.mean([rounding(classifier, packed, tokens) for tokens in batches], axis=0)
    assert (own <= 1.25 * cast).all()


@pytest.mark.parametrize("path", PATHS)
def test_bits_do_not_depend_on_threads(encoders: Encoders, path: str) -> None:
    lora = {"targets": "all-linear", "dropout": 0.1}
    classifier = with_dora(encoders("roberta", dropout=0.1), lora)
    tokens = texts_of(LENGTHS * 4, classifier)
    check_bits_by_threads(classifier, lambda: opened(classifier, path), tokens)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("family", ("roberta", "modernbert"))
def test_merged_adapters_give_the_same_logits(encoders: Encoders, path: str, family: str) -> None:
    classifier = with_dora(encoders(family), {"targets": "all-linear", "layers": "top-2"}).eval()
    tokens, rows = texts_of(LENGTHS, classifier), np.arange(len(LENGTHS))
    logits, _ = reference(classifier, tokens)
    packed = opened(classifier, path)
    merged = Packed(classifier, packed.precision, packed.library, merged=True)
    with torch.inference_mode():
        exact = native.BUILDS[path].dtype_name == "float32"
        assert apart(merged.logits(tokens, rows), logits) < (1e-5 if exact else 0.03)


@pytest.mark.parametrize("path", PATHS)
def test_a_start_from_cached_states_gives_the_same_logits(encoders: Encoders, path: str) -> None:
    classifier = with_dora(encoders("roberta"), {"layers": "top-1"}).eval()
    tokens, rows = texts_of(LENGTHS, classifier), np.arange(len(LENGTHS))
    packed = opened(classifier, path)
    prefix = PrefixCache.build(packed, tokens, 4)
    assert prefix is not None
    with torch.inference_mode():
        assert torch.equal(packed.logits(tokens, rows), packed.logits(tokens, rows, prefix=prefix))
