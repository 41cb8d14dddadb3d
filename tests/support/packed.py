"""Small classifiers on the packed kernels, and their logits and gradients for a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from submillion import native
from submillion.data.batches import collate
from submillion.data.tokens import Tokens
from submillion.model.build import build
from submillion.model.classifier import Classifier
from submillion.model.execution.packed import Packed
from submillion.model.precision import Precision
from support.tiny import LABELS, tiny_recipe


def texts_of(lengths: list[int], classifier: Classifier, seed: int = 0) -> Tokens:
    """Return texts of random token ids without padding tokens."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = rng.integers(4, classifier.config["vocab_size"], offsets[-1]).astype(np.int32)
    return Tokens(ids, offsets, np.asarray(lengths, dtype=np.int32))


def made(
    folder: Path, lora: dict[str, Any] | None = None, head: str = "stock", pooling: str = "first", **more: Any
) -> Classifier:
    values = {"targets": ["query", "value"], "r": 4, "alpha": 8, "dropout": 0.0} | (lora or {})
    of_head = {"kind": head if pooling == "first" else "linear", "pooling": pooling}
    classifier = build(folder, LABELS, tiny_recipe(folder, lora=values, head=of_head, **more))
    with torch.no_grad():
        for name, value in classifier.named_parameters():
            # Initially zero, which would leave A, or the whole encoder, without a gradient.
            if "lora_B" in name or name == "output.layer.weight":
                value.normal_(0, 0.2, generator=torch.Generator().manual_seed(len(name)))
    return classifier.train()


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
        name: value.grad.clone() for name, value in classifier.named_parameters() if value.grad is not None
    }
    return logits.detach().float(), gradients


def reference(classifier: Classifier, tokens: Tokens, autocast: bool = False) -> Any:
    """Return logits and gradients as transformers and peft compute them."""

    def run(rows: np.ndarray) -> torch.Tensor:
        return classifier(collate(tokens, rows, classifier.pad_id))

    return outcome(classifier, run, len(tokens), autocast)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Distance relative to the size of b."""
    return float((a - b).norm() / b.norm().clamp_min(1e-12))


def worst(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Return the largest distance of a gradient."""
    assert found.keys() == expected.keys()
    return max(apart(found[name], expected[name]) for name in expected)


def opened(classifier: Classifier, path: str) -> Packed:
    library = native.load(path)
    return Packed(classifier, Precision(library.build.dtype_name, False, "test"), library)
