"""Estimates the floating-point operations of a training step per token, from the encoder's config.json alone.

A matrix with I inputs and O outputs takes 2 I O operations per token in the forward pass and as many to pass the
gradient on to its input; a trained matrix takes as many again for its own gradient. For roberta-base with r 16 on
all queries:

    forward    12 layers x 2 x (4 x 768 x 768 + 2 x 768 x 3,072)        = 169.9 million
    backward   the same, without the matrices below the lowest adapter:
               query, key and value of layer 0, 3 x 2 x 768 x 768 = 3.5 million, leaves 166.3 million
    adapters   3 x 2 x r 16 x (768 + 768) x 12 layers                   =   1.8 million
    total                                                                 338.0 million

Omitted, as they hardly change the ratio of two configurations: the products inside attention (4 x tokens x 768 per
layer, 2.8% of it at 128 tokens), norms, the embedding lookup, and the head, which runs once per text.
"""

from __future__ import annotations

from submillion.families.family import Family, Inventory
from submillion.recipe import LoraRecipe

ORDER = {"query": 0, "key": 0, "value": 0, "qkv": 0, "attention_output": 1, "ffn_up": 2, "ffn_down": 3}
"""Order in which a layer applies its matrices; a gradient passes them in reverse."""


def reference_lora(family: Family) -> LoraRecipe:
    """Return the configuration that costs are relative to: r 16 on the query (or fused qkv) of all layers."""
    target = "query" if "query" in family.targets else "qkv"
    return LoraRecipe(r=16, alpha=32, targets=[target], layers="all")


def operations_per_token(family: Family, inventory: Inventory, lora: LoraRecipe, cached: bool = False) -> int:
    """Return the floating-point operations per token of a training step.

    Args:
        family: the encoder's family.
        inventory: the encoder's parameters; its head is not used.
        lora: which matrices carry adapters.
        cached: whether the layers below the lowest adapter are skipped because their output is cached.
    """
    n_layers, sizes = len(inventory.layers), inventory.matrices
    forward_of = {name: 2 * matrix.inputs * matrix.outputs for name, matrix in sizes.items()}
    layer = sum(forward_of.values())
    adapted, targets = lora.layer_indices(n_layers), family.expand(lora.targets)
    if lora.bias == "all" and _has_biases(inventory):  # the gradient reaches the norm of the embeddings
        lowest, backward = 0, n_layers * layer
    else:
        lowest = adapted[0]
        first = min(ORDER[name] for name in targets)
        above = sum(operations for name, operations in forward_of.items() if ORDER[name] > first)
        backward = (n_layers - 1 - lowest) * layer + above
    forward = (n_layers - lowest if cached else n_layers) * layer
    # Forward, gradient of the input, gradient of the weight; VeRA's A and B are frozen and have no gradient.
    passes = {"bitfit": 0, "vera": 2}.get(lora.variant, 3)
    adapters = passes * 2 * lora.r * len(adapted) * sum(sizes[name].per_rank for name in targets)
    return forward + backward + adapters


def _has_biases(inventory: Inventory) -> bool:
    """Return whether the encoder has any bias; ModernBERT usually has none."""
    return any(part.biases for part in (inventory.outside, *inventory.layers))
