"""Tests of budget/cost.py: the estimated operations against those that torch counts in a real step."""

from __future__ import annotations

from typing import Any

import pytest

from submillion.budget.cost import operations_per_token, reference_lora
from submillion.families.families import family_of
from submillion.recipe import HeadRecipe, LoraRecipe
from support.budget_models import LAYOUTS, REAL, with_peft
from support.tiny import tiny_config

TOKENS = 60


def estimated(config: dict[str, Any], lora: LoraRecipe, cached: bool = False) -> int:
    family = family_of(config)
    return operations_per_token(family, family.inventory(config, num_labels=2), lora, cached)


def counted_by_torch(config: dict[str, Any], lora: LoraRecipe) -> float:
    """Return the operations per token of all plain matrix products in one forward and backward pass."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModelForSequenceClassification

    settings = AutoConfig.for_model(**config)
    model = AutoModelForSequenceClassification.from_config(settings)
    layers = lora.layer_indices(4)
    model = with_peft(model, config["model_type"], lora, HeadRecipe(kind="linear"), layers).train()
    ids = torch.randint(5, 60, (1, TOKENS))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids).logits.sum().backward()
    by_operation = counter.get_flop_counts()["Global"]
    plain = {torch.ops.aten.mm, torch.ops.aten.addmm}  # attention multiplies in batches: bmm
    return sum(flops for operation, flops in by_operation.items() if operation in plain) / TOKENS


# DeBERTa also multiplies its relative positions, per text and not per token.
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "deberta-v2"])
@pytest.mark.parametrize(
    "lora",
    [
        {"r": 2, "targets": ["all-linear"]},
        {"r": 24, "targets": ["all-linear"], "layers": "top-2"},
        {"r": 8, "targets": ["attention_output"], "layers": [1, 3]},
        {"r": 8, "targets": ["ffn_down"], "layers": [2]},
        {"r": 4, "targets": ["ffn_up"], "bias": "all"},
    ],
)
def test_operations_equal_those_that_torch_counts(name: str, lora: dict[str, Any]) -> None:
    config = tiny_config(name, layers=4, hidden=64, dropout=0.0)
    estimate = estimated(config, LoraRecipe(**lora))
    # Not in the estimate: the head (one token of 60), ELECTRA's projection from embedding to hidden size, and the
    # gradient below the lowest adapter.
    assert estimate == pytest.approx(counted_by_torch(config, LoraRecipe(**lora)), rel=0.04)


def test_the_arithmetic_of_the_reference() -> None:
    roberta = REAL["roberta-base"]
    reference = reference_lora(family_of(roberta))
    assert (reference.r, reference.targets, reference.layers) == (16, ["query"], "all")
    layer = 2 * (4 * 768 * 768 + 2 * 768 * 3_072)
    forward, backward = 12 * layer, 12 * layer - 3 * 2 * 768 * 768
    adapters = 3 * 2 * 16 * 1_536 * 12
    assert estimated(roberta, reference) == forward + backward + adapters == 337_969_152


def test_layers_below_the_lowest_adapter_have_no_gradient_and_if_cached_no_forward_pass() -> None:
    roberta = REAL["roberta-base"]
    layer = 2 * (4 * 768 * 768 + 2 * 768 * 3_072)
    lora = LoraRecipe(r=1, targets=["ffn_down"], layers=[8])
    adapters = 6 * (768 + 3_072)
    # ffn_down is the last matrix of layer 8; the gradient reaches it through layers 9, 10 and 11.
    assert estimated(roberta, lora) == 12 * layer + 3 * layer + adapters
    assert estimated(roberta, lora, cached=True) == 4 * layer + 3 * layer + adapters


def test_trained_biases_extend_the_backward_pass_to_the_embeddings_if_the_encoder_has_biases() -> None:
    top = {"r": 1, "layers": "top-1"}
    for name, target, all_layers in (("roberta-base", "query", True), ("ModernBERT-base", "qkv", False)):
        config = REAL[name]
        without = estimated(config, LoraRecipe(targets=[target], **top))
        biased = estimated(config, LoraRecipe(targets=[target], bias="all", **top), cached=True)
        assert (biased > without) == all_layers


def test_the_reference_of_modernbert_is_its_fused_matrix() -> None:
    assert reference_lora(family_of(REAL["ModernBERT-base"])).targets == ["qkv"]
