"""Small classifiers on the packed kernels, and their logits and gradients for a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.data.batches import collate
from submillion.data.tokens import Tokens
from submillion.environment import cpu_features
from submillion.model.build import build
from submillion.model.classifier import Classifier
from submillion.model.execution.packed import Packed
from submillion.model.precision import Precision
from submillion.native import interface
from support.tiny import LABELS, tiny_recipe


def parameters_of(builds: Mapping[str, native.Build]) -> list[Any]:
    """Return the names of builds as parameters of a test, skipped where the processor cannot run them."""
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                not build.needs <= cpu_features() or not build.file.is_file(),
                reason=f"the {name} kernels need another processor, or were not built",
            ),
        )
        for name, build in builds.items()
    ]


PATHS = parameters_of(native.BUILDS)
FLOAT = [param for param in PATHS if native.BUILDS[param.values[0]].dtype_name == "float32"]
BFLOAT = [param for param in PATHS if native.BUILDS[param.values[0]].dtype_name == "bfloat16"]
LENGTHS = [13, 1, 40, 64, 7, 33, 32, 2, 31, 64]
"""Tokens of texts that fill blocks of 32, exceed them, and nearly leave them empty."""


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


class Replay:
    """Puts the kernels' own dropout masks into the modules of transformers and peft."""

    def __init__(
        self, classifier: Classifier, library: native.Library, lengths: list[int], seed: int
    ) -> None:
        self.library, self.lengths, self.seed = library, lengths, seed
        self.model = classifier.module.get_base_model()
        self.model.set_attn_implementation("eager")
        self.width, self.hidden = max(lengths), classifier.hidden_size
        kernels = classifier.family.kernels
        self._put(classifier.stack.embedding_modules[0].get_submodule(kernels.embeddings.dropout), -1, 0)
        self.attention_layer = 0
        for index, layer in enumerate(classifier.stack.layers):
            for place, name in enumerate(kernels.output_dropouts, 2):
                if name is not None:
                    self._put(layer.get_submodule(name), index, place)
            if classifier.family.name in ("mpnet", "deberta-v2"):
                module = layer.get_submodule(kernels.attention_dropout)
                module.forward = lambda value, p=module.p, at=index: value * self.attention(value, p, at)
            if kernels.relative_positions:
                self._put(layer.get_submodule("attention.self.pos_dropout"), index, interface.POSITION_SITE)
            for target, suffix in classifier.family.suffixes.items():
                module = layer.get_submodule(suffix)
                if hasattr(module, "lora_A"):
                    at = interface.TARGETS.index("query" if target == "qkv" else target)
                    self._put(module.lora_dropout["default"], index, interface.LORA_SITE + at)

    def _put(self, module: Any, layer: int, place: int) -> None:
        if getattr(module, "p", 0):
            module.forward = lambda value: value * self.rows(value.shape, module.p, layer, place)

    def _kept(self, ids: np.ndarray, columns: int, share: float, layer: int, place: int) -> torch.Tensor:
        ids = np.ascontiguousarray(ids, dtype=np.uint64).ravel()
        chunks = -(-columns // 32)
        kept = np.empty((len(ids), chunks * 32), dtype=np.uint8)
        scale = self.library.dropout_mask(
            interface.Dropout(share, self.seed, layer, place),
            ids.ctypes.data,
            len(ids),
            chunks,
            kept.ctypes.data,
        )
        return torch.from_numpy(kept[:, :columns]).float() * scale

    def rows(self, shape: torch.Size, share: float, layer: int, place: int) -> torch.Tensor:
        """Return the mask of tokens [B, S, columns], or of relative embeddings [rows, columns], also as one text."""
        count = len(self.lengths)
        if shape[:-1] == (count, self.width):
            ids = (np.arange(count)[:, None] << 16) + np.arange(self.width)[None]
        else:
            ids = np.arange(shape[-2], dtype=np.uint64) + np.uint64(interface.POSITION_ROW)
        return self._kept(ids, shape[-1], share, layer, place).view(shape)

    def attention(self, value: torch.Tensor, share: float, layer: int) -> torch.Tensor:
        texts, heads, queries, keys = value.shape
        ids = (np.arange(texts)[:, None, None] << 24) + (np.arange(heads)[:, None] << 16) + np.arange(queries)
        return self._kept(ids, keys, share, layer, 1).view(texts, heads, queries, keys)

    def functional(self, value: torch.Tensor, p: float = 0.5, *_: Any, **__: Any) -> torch.Tensor:
        if value.ndim != 4 or not p:
            return value  # the head's own dropout, which is off in these tests
        layer, self.attention_layer = self.attention_layer, self.attention_layer + 1
        return value * self.attention(value, p, layer)


def check_bits_by_threads(
    classifier: Classifier, open_packed: Callable[[], Packed], tokens: Tokens, earlier: Tokens | None = None
) -> None:
    """Assert that new kernels with 1, 2 and 1 threads give the same states and gradients, bit for bit.

    The head is left out, because PyTorch runs it: on some processors, a product of its first layer depends on the
    number of threads.

    Args:
        classifier: what the kernels run.
        open_packed: opens them.
        tokens: the batch.
        earlier: a batch that the kernels with 2 threads run before.
    """
    outcomes, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            packed = open_packed()
            if earlier is not None and threads == 2:
                _states_and_gradients(classifier, packed, earlier, seed=1)
            outcomes.append(_states_and_gradients(classifier, packed, tokens, seed=3))
    finally:
        torch.set_num_threads(before)
    (states, gradients), *others = outcomes
    assert gradients
    for other_states, other_gradients in others:
        assert torch.equal(other_states, states)
        assert all(torch.equal(value, gradients[name]) for name, value in other_gradients.items())


def _states_and_gradients(
    classifier: Classifier, packed: Packed, tokens: Tokens, seed: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the pooled states of a batch [N, D], and the gradients of the adapters for a drawn gradient of these."""
    classifier.module.zero_grad()
    states = packed.features(tokens, np.arange(len(tokens)), seed)
    states.backward(torch.randn(states.shape, generator=torch.Generator().manual_seed(0)))
    named = classifier.module.named_parameters()
    return states.detach(), {name: value.grad.clone() for name, value in named if value.grad is not None}


def rounding(classifier: Classifier, packed: Packed, tokens: Tokens) -> np.ndarray:
    """Return how far the kernels (row 0) and autocast (row 1) are from float32, in logits and in all gradients."""
    exact, exact_gradients = reference(classifier, tokens)
    flat = [
        (logits, torch.cat([gradients[name].flatten() for name in exact_gradients]))
        for logits, gradients in (
            packed_outcome(classifier, packed, tokens),
            reference(classifier, tokens, autocast=True),
            (exact, exact_gradients),
        )
    ]
    return np.array([[apart(*pair) for pair in zip(found, flat[2], strict=True)] for found in flat[:2]])


def check_replayed_masks(classifier: Classifier, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that the kernels' outcome is that of the reference with their own dropout masks, which follow the seed.

    Args:
        classifier: with dropout in the encoder and the adapters, and none in the head.
        path: name of a float32 build.
        monkeypatch: replaces torch's dropout until the test ends.
    """
    tokens = texts_of(LENGTHS, classifier)
    packed = opened(classifier, path)
    logits, gradients = packed_outcome(classifier, packed, tokens, seed=11)
    other, _ = packed_outcome(classifier, packed, tokens, seed=12)
    assert apart(logits, other) > 1e-3
    replay = Replay(classifier, native.load(path), LENGTHS, 11)
    monkeypatch.setattr(torch.nn.functional, "dropout", replay.functional)
    expected, expected_gradients = reference(classifier, tokens)
    assert apart(logits, expected) < 1e-5
    assert worst(gradients, expected_gradients) < 1e-4
