"""Tests of model/packed.py: the kernels against transformers + peft, on every path this processor can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.data.batches import collate
from submillion.data.tokens import Tokens
from submillion.environment import cpu_features
from submillion.model.classifier import Classifier, build
from submillion.model.packed import Packed
from tiny import LABELS, tiny_encoder, tiny_recipe

FAMILIES = ("roberta", "xlm-roberta", "bert", "mpnet")
PATHS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not path.needs <= cpu_features() or not path.file.is_file(),
            reason=f"the {name} kernels need another processor, or were not built",
        ),
    )
    for name, path in native.PATHS.items()
]
FLOAT = [param for param in PATHS if native.PATHS[param.values[0]].dtype_name == "float32"]
BFLOAT = [param for param in PATHS if native.PATHS[param.values[0]].dtype_name == "bfloat16"]
TARGETS = (
    ["query", "value"],
    ["key"],
    ["attention_output"],
    ["ffn_up"],
    ["ffn_down"],
    "all-linear",
)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[Any, Path] = {}

    def get(family: str, hidden: int = 64, dropout: float = 0.0) -> Path:
        key = family, hidden, dropout
        if key not in made:
            folder = tmp_path_factory.mktemp("encoder") / family
            made[key] = tiny_encoder(folder, family, layers=3, hidden=hidden, dropout=dropout)
        return made[key]

    return get


def texts_of(lengths: list[int], classifier: Classifier, seed: int = 0) -> Tokens:
    """Random token ids, none of them padding."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = rng.integers(4, classifier.config["vocab_size"], offsets[-1]).astype(np.int32)
    return Tokens(ids, offsets, np.asarray(lengths, dtype=np.int32))


def made(folder: Path, lora: dict[str, Any] | None = None, head: str = "stock", **more: Any) -> Classifier:
    values = {"targets": ["query", "value"], "r": 4, "alpha": 8, "dropout": 0.0} | (lora or {})
    classifier = build(folder, LABELS, tiny_recipe(folder, lora=values, head={"kind": head}, **more))
    with torch.no_grad():
        for name, value in classifier.module.named_parameters():
            if "lora_B" in name:  # zero at first, so that A would have no gradient
                value.normal_(0, 0.2, generator=torch.Generator().manual_seed(len(name)))
    return classifier.train()


def reference(classifier: Classifier, tokens: Tokens, autocast: bool = False) -> Any:
    def run(rows: np.ndarray) -> torch.Tensor:
        return classifier(collate(tokens, rows, classifier.pad_id))

    return outcome(classifier, run, len(tokens), autocast)


def packed_outcome(classifier: Classifier, packed: Packed, tokens: Tokens, **more: Any) -> Any:
    return outcome(classifier, lambda rows: packed.logits(tokens, rows, **more), len(tokens), False)


def outcome(classifier: Classifier, run: Any, count: int, autocast: bool) -> Any:
    for value in classifier.parameters():
        value.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = run(np.arange(count))
    loss = torch.nn.functional.cross_entropy(
        logits.float(), torch.arange(count) % len(LABELS), reduction="sum"
    )
    loss.backward()
    gradients = {
        name: value.grad.clone()
        for name, value in classifier.module.named_parameters()
        if value.grad is not None
    }
    return logits.detach().float(), gradients


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Distance relative to the size of b."""
    return float((a - b).norm() / b.norm().clamp_min(1e-12))


def worst(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max(apart(found[name], expected[name]) for name in expected)


LENGTHS = [13, 1, 40, 64, 7, 33, 32, 2, 31, 64]


def opened(classifier: Classifier, path: str) -> Packed:
    return Packed(classifier, native.load(path))


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", TARGETS, ids=lambda t: t if isinstance(t, str) else "+".join(t))
def test_float32_kernels_agree_with_the_reference(
    encoders: Any, path: str, family: str, targets: Any
) -> None:
    classifier = made(encoders(family), {"targets": targets})
    tokens = texts_of(LENGTHS, classifier)
    logits, gradients = reference(classifier, tokens)
    found, own = packed_outcome(classifier, opened(classifier, path), tokens)
    assert apart(found, logits) < 1e-5
    assert worst(own, gradients) < 1e-4


@pytest.mark.parametrize("path", BFLOAT)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", TARGETS, ids=lambda t: t if isinstance(t, str) else "+".join(t))
def test_bfloat16_kernels_are_no_worse_than_autocast(
    encoders: Any, path: str, family: str, targets: Any
) -> None:
    classifier = made(encoders(family), {"targets": targets})
    tokens = texts_of(LENGTHS, classifier)
    logits, gradients = reference(classifier, tokens)
    cast, cast_gradients = reference(classifier, tokens, autocast=True)
    found, own = packed_outcome(classifier, opened(classifier, path), tokens)
    everything = [
        torch.cat([g[name].flatten() for name in gradients]) for g in (own, gradients, cast_gradients)
    ]
    assert apart(found, logits) <= 1.25 * apart(cast, logits)
    assert apart(everything[0], everything[1]) <= 1.25 * apart(everything[2], everything[1])
