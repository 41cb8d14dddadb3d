"""Tests of model/execution/int8_training.py: steps in int8 on the kernels, and what cannot take them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion.data.tokens import Tokens
from submillion.errors import BadInput
from submillion.model.classifier import Classifier
from submillion.model.execution.int8_training import set_step_precision
from submillion.model.execution.packed import Packed
from submillion.model.execution.reference import Reference
from submillion.model.execution.windowed import Windowed
from submillion.model.precision import Precision
from submillion.recipe_training import TrainRecipe
from support.packed import (
    FLOAT,
    LENGTHS,
    PATHS,
    apart,
    check_bits_by_threads,
    made,
    opened,
    outcome,
    packed_outcome,
    reference,
    texts_of,
    worst,
)
from support.tiny import tiny_encoder

IN_INT8 = TrainRecipe(frozen_precision="int8")
FFN_SECTION, MOST = 12 * 32, 24 * 32
"""Channels of a section in builds in float32: of the FFN, and of other products."""
ABLE = [param for param in PATHS if param.values[0] not in ("avx512", "neon", "neon_bf16")]
ABLE_FLOAT = [param for param in ABLE if param in FLOAT]
EVERY = {"targets": "all-linear"}


def in_int8(classifier: Classifier, path: str) -> Packed:
    packed = opened(classifier, path)
    set_step_precision(IN_INT8, packed)
    return packed


def sections(channels: int, most: int) -> list[slice]:
    return [slice(first, min(first + most, channels)) for first in range(0, channels, most)]


def rounded_weights(weight: torch.Tensor, most: int) -> torch.Tensor:
    """Return a matrix [outputs, inputs] as int8 holds it."""
    parts = []
    for part in sections(weight.shape[1], most):
        scale = weight[:, part].abs().amax(1, keepdim=True) / 127
        parts.append(torch.where(scale > 0, (weight[:, part] / scale).round() * scale, torch.zeros(())))
    return torch.cat(parts, 1)


def rounded_rows(rows: torch.Tensor, most: int) -> torch.Tensor:
    """Return token rows [..., channels] as int8 holds them."""
    parts = []
    for part in sections(rows.shape[-1], most):
        low, high = (rows[..., part].aminmax(dim=-1, keepdim=True)[i] for i in (0, 1))
        low, high = low.clamp(max=0), high.clamp(min=0)
        inverse = torch.where(high > low, 255 / (high - low), torch.zeros(()))
        zero = (-low * inverse).round()
        integers = ((rows[..., part] * inverse).round() + zero).clamp(max=255)
        parts.append((integers - zero) * (high - low) / 255)
    return torch.cat(parts, -1)


class RoundedProduct(torch.autograd.Function):
    """x W^T with both operands rounded, and dy W likewise."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, hidden: int) -> torch.Tensor:
        ctx.weight, ctx.hidden = weight, hidden
        most = FFN_SECTION if weight.shape[1] != hidden else MOST
        return rounded_rows(x, most) @ rounded_weights(weight, most).T

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:  # type: ignore[override]
        most = FFN_SECTION if ctx.weight.shape[0] != ctx.hidden else MOST
        return rounded_rows(dy, most) @ rounded_weights(ctx.weight.T, most).T, None, None


def emulated(classifier: Classifier, tokens: Tokens) -> Any:
    """Return logits and gradients of transformers and peft with rounded products in the layers."""
    hidden = classifier.hidden_size

    def product(linear: torch.nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = RoundedProduct.apply(x, linear.weight, hidden)  # type: ignore[no-untyped-call]
            return y + linear.bias

        return forward

    linears = [
        module
        for layer in classifier.stack.layers
        for name, module in layer.named_modules()
        if isinstance(module, torch.nn.Linear) and "lora" not in name
    ]
    try:
        for linear in linears:
            linear.forward = product(linear)  # type: ignore[method-assign]
        return reference(classifier, tokens)
    finally:
        for linear in linears:
            del linear.forward


# One layer: over several, rounding differences of a last bit grow. Sizes: one section of each product; several ones; an
# FFN narrower than the states.
@pytest.mark.parametrize("path", ABLE_FLOAT)
@pytest.mark.parametrize(("hidden", "heads", "ffn"), [(96, 3, 192), (800, 25, 1600), (800, 25, 416)])
@pytest.mark.parametrize("lora", [EVERY, {"targets": ["query", "value"]}])
def test_a_step_rounds_both_operands_of_the_frozen_products(
    tmp_path: Path, path: str, hidden: int, heads: int, ffn: int, lora: dict[str, Any]
) -> None:
    sizes = {"hidden": hidden, "heads": heads, "intermediate_size": ffn}
    tiny_encoder(tmp_path, "roberta", layers=1, dropout=0.0, **sizes)
    classifier = made(tmp_path, lora, pooling="mean")
    tokens = texts_of(LENGTHS, classifier)
    logits, gradients = packed_outcome(classifier, in_int8(classifier, path), tokens)
    expected, expected_gradients = emulated(classifier, tokens)
    exact, exact_gradients = reference(classifier, tokens)
    assert apart(logits, expected) < 0.1 * apart(logits, exact)
    assert 0.002 < apart(logits, exact) < 0.1
    assert worst(gradients, expected_gradients) < 0.2 * worst(gradients, exact_gradients)


@pytest.mark.parametrize("path", ABLE)
@pytest.mark.parametrize("family", ["roberta", "mpnet", "distilbert", "electra", "deberta-v2", "modernbert"])
def test_every_family_steps_near_the_float_gradients(tmp_path: Path, path: str, family: str) -> None:
    tiny_encoder(tmp_path, family, layers=2, hidden=96, heads=3, dropout=0.1)
    classifier = made(tmp_path, EVERY | {"dropout": 0.1}, pooling="mean")
    tokens = texts_of(LENGTHS, classifier)
    logits, gradients = packed_outcome(classifier, in_int8(classifier, path), tokens, seed=3)
    exact, exact_gradients = packed_outcome(classifier, opened(classifier, path), tokens, seed=3)
    assert 0 < apart(logits, exact) < 0.1
    assert worst(gradients, exact_gradients) < 0.3


@pytest.mark.parametrize("path", ABLE)
def test_passes_without_gradients_stay_in_float(tmp_path: Path, path: str) -> None:
    tiny_encoder(tmp_path, "roberta", layers=2, hidden=96, heads=3)
    classifier = made(tmp_path, EVERY)
    tokens = texts_of(LENGTHS, classifier)
    rows = np.arange(len(tokens))
    classifier.eval()
    with torch.no_grad():
        packed, plain = in_int8(classifier, path), opened(classifier, path)
        before = packed.logits(tokens, rows)
        classifier.train()
        with torch.enable_grad():
            step = packed.logits(tokens, rows, seed=1)
        classifier.eval()
        assert torch.equal(before, plain.logits(tokens, rows))
        assert torch.equal(packed.logits(tokens, rows), before)
        assert torch.equal(packed.states(tokens, rows, 1), plain.states(tokens, rows, 1))
        assert not torch.equal(step.detach(), before)
    packed.end_training()
    assert torch.equal(
        packed.logits(tokens, rows).detach(), before
    )  # with gradients: rounding ends with the training


@pytest.mark.parametrize("path", ABLE)
@pytest.mark.parametrize(
    ("family", "pooling"), [("roberta", "first"), ("mpnet", "mean"), ("modernbert", "mean")]
)
def test_steps_have_the_same_bits_with_any_number_of_threads(
    tmp_path: Path, path: str, family: str, pooling: str
) -> None:
    tiny_encoder(tmp_path, family, layers=2, hidden=96, heads=3, dropout=0.1)
    classifier = made(tmp_path, EVERY | {"dropout": 0.1}, pooling=pooling)
    tokens, earlier = texts_of(LENGTHS, classifier), texts_of([5] * 40, classifier, seed=1)
    check_bits_by_threads(classifier, lambda: in_int8(classifier, path), tokens, earlier)


@pytest.mark.parametrize("path", ABLE)
def test_layers_below_the_adapters_round_too_unless_they_are_cached(tmp_path: Path, path: str) -> None:
    tiny_encoder(tmp_path, "roberta", layers=2, hidden=96, heads=3, dropout=0.0)
    classifier = made(tmp_path, {"layers": [1]}, pooling="mean")
    tokens = texts_of([5, 9, 40], classifier)
    packed, rows = in_int8(classifier, path), np.arange(3)
    run_first = packed_outcome(classifier, packed, tokens)[0]
    states = packed.states(tokens, rows, 1)

    class Cached:
        def flat_states(self, rows: np.ndarray) -> torch.Tensor:
            return states

    cached = outcome(classifier, lambda rows: packed.logits(tokens, rows, prefix=Cached()), 3, False)[0]  # type: ignore[arg-type]
    exact = packed_outcome(classifier, opened(classifier, path), tokens)[0]
    assert apart(cached, exact) < apart(run_first, exact)
    assert not torch.equal(cached, exact)


def test_what_cannot_take_steps_in_int8_is_refused(tmp_path: Path) -> None:
    for hidden, reason in ((96, "the execution is reference"), (40, "are not all multiples of 32")):
        tiny_encoder(tmp_path, "bert", layers=1, hidden=hidden, heads=hidden // 32)
        execution = Reference(made(tmp_path), Precision("float32", False, "test"))
        set_step_precision(TrainRecipe(), execution)
        for refused in (execution, Windowed(execution)):
            with pytest.raises(BadInput, match=f"int8, but .*{reason}"):
                set_step_precision(IN_INT8, refused)


@pytest.mark.parametrize("path", ABLE)
def test_dora_is_refused(tmp_path: Path, path: str) -> None:
    tiny_encoder(tmp_path, "roberta", layers=1, hidden=96, heads=3)
    with pytest.raises(BadInput, match="DoRA needs the frozen matrices in float"):
        in_int8(made(tmp_path, {"variant": "dora"}), path)


@pytest.mark.parametrize("path", PATHS)
def test_a_build_without_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    tiny_encoder(tmp_path, "roberta", layers=1, hidden=96, heads=3)
    packed = opened(made(tmp_path), path)
    monkeypatch.setattr(type(packed.library), "has_int8", False)
    with pytest.raises(BadInput, match=f"int8, but the {path} kernels do not have it"):
        set_step_precision(IN_INT8, packed)
