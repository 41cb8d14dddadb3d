"""Tests of model/execution/jagged.py: packed tokens give the same logits and gradients as padded batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from submillion.families.families import FAMILIES
from submillion.model.build import build
from submillion.model.classifier import Classifier
from submillion.model.execution.jagged import PackedSdpa, unsupported
from submillion.model.execution.reference import Reference
from submillion.model.precision import Precision
from submillion.model.prefix import PrefixCache
from support.fit_stub import FLOAT32
from support.tiny import FAMILY_NAMES, LABELS, shared_encoder, tiny_recipe, tiny_texts, tiny_tokens

ROWS = np.array([3, 1, 7, 2])
SUPPORTED = [name for name, family in FAMILIES.items() if family.attention_interface]


def made(family: str, dropout: float = 0.0, **lora: Any) -> Classifier:
    """Return a classifier in training mode with nonzero adapters."""
    encoder = shared_encoder(family, 3, dropout)
    classifier = build(encoder, LABELS, tiny_recipe(encoder, lora={"dropout": dropout} | lora)).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, value in classifier.named_parameters():
            if ".lora_B." in name:
                value.data.normal_(0, 0.1)
    return classifier


def tokens_of(family: str) -> Any:
    tokens = tiny_tokens(shared_encoder(family, 3, 0.0), tiny_texts(12, 1)[0])
    assert len(set(tokens.lengths[ROWS])) > 2  # so that padded batches contain padding
    return tokens


def gradients(execution: Any, classifier: Classifier, tokens: Any, prefix: Any = None) -> list[torch.Tensor]:
    """Return the logits, then the gradient of their sum of squares for every trained tensor."""
    trained = [value for value in classifier.parameters() if value.requires_grad]
    logits = execution.logits(tokens, ROWS, prefix=prefix)
    return [logits.detach(), *torch.autograd.grad(logits.square().sum(), trained)]


@pytest.mark.parametrize("family", SUPPORTED)
@pytest.mark.parametrize("cached", [False, True])
def test_logits_and_gradients_equal_those_of_padded_batches(family: str, cached: bool) -> None:
    classifier, tokens = made(family, layers="top-2"), tokens_of(family)
    prefix = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 8) if cached else None
    expected = gradients(Reference(classifier, FLOAT32), classifier, tokens, prefix)
    packed_values = gradients(PackedSdpa(classifier, FLOAT32), classifier, tokens, prefix)
    for one, other in zip(packed_values, expected, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm()


def test_every_variant_trains_on_packed_tokens() -> None:
    for variant in ("dora", "vera", "bitfit"):
        classifier, tokens = made("roberta", variant=variant), tokens_of("roberta")
        expected = gradients(Reference(classifier, FLOAT32), classifier, tokens)
        for one, other in zip(
            gradients(PackedSdpa(classifier, FLOAT32), classifier, tokens), expected, strict=True
        ):
            assert (one - other).norm() <= 1e-4 * other.norm() + 1e-6


def test_under_autocast_it_is_as_close_to_float32_as_the_reference() -> None:
    classifier, tokens = made("roberta"), tokens_of("roberta")
    autocast = Precision("bfloat16", True, "")
    exact = gradients(Reference(classifier, FLOAT32), classifier, tokens)
    usual = gradients(Reference(classifier, autocast), classifier, tokens)
    packed = gradients(PackedSdpa(classifier, autocast), classifier, tokens)

    def far(packed_values: list[torch.Tensor]) -> float:
        return float(sum((a - b).norm() / b.norm() for a, b in zip(packed_values, exact, strict=True)))

    assert 0 < far(packed) <= 1.25 * far(usual)


def test_a_text_does_not_attend_to_its_neighbours() -> None:
    classifier, tokens = made("roberta").eval(), tokens_of("roberta")
    packed = PackedSdpa(classifier, FLOAT32)
    with torch.no_grad():
        together = packed.logits(tokens, ROWS)
        alone = torch.cat([packed.logits(tokens, ROWS[i : i + 1]) for i in range(len(ROWS))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_torchs_seed_determines_dropout() -> None:
    classifier, tokens = made("roberta", dropout=0.3), tokens_of("roberta")
    packed = PackedSdpa(classifier, FLOAT32)
    outputs = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            outputs.append(packed.logits(tokens, ROWS))
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


def test_the_usual_attention_is_restored() -> None:
    classifier, tokens = made("roberta").eval(), tokens_of("roberta")
    config = classifier.module.get_base_model().config
    reference = Reference(classifier, FLOAT32)
    with torch.no_grad():
        before = reference.logits(tokens, ROWS)
        PackedSdpa(classifier, FLOAT32).logits(tokens, ROWS)
        assert config._attn_implementation == "sdpa"
        assert torch.equal(reference.logits(tokens, ROWS), before)
    with pytest.raises(IndexError):
        PackedSdpa(classifier, FLOAT32).logits(tokens, np.array([10**6]))
    assert config._attn_implementation == "sdpa"


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_unsupported_agrees_with_the_family_table(family: str) -> None:
    reason = unsupported(made(family))
    if family.removesuffix("-no-pooler") in SUPPORTED:
        assert reason is None
    else:
        assert reason is not None and family.removesuffix("-no-head") in reason
