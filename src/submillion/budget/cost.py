"""What a training step costs for each token, in floating point operations, from the encoder's config alone.

A matrix of I inputs and O outputs takes 2 I O operations per token forward, and as many to hand the gradient
on to its input; a trained one as many again for its own gradient. For roberta-base, r 16 on all queries:

    forward    12 layers x 2 x (4 x 768 x 768 + 2 x 768 x 3,072)        = 169.9 million
    backward   as much, less what lies below the lowest adapter:
               query, key and value of layer 0, 3 x 2 x 768 x 768 = 3.5 million, leaves 166.3 million
    adapters   3 x 2 x r 16 x (768 + 768) x 12 layers                   =   1.8 million
    together                                                              338.0 million

Left out, as they hardly change the ratio of two configurations: the products of attention (4 x tokens x 768
per layer, 2.8 % of it at 128 tokens), norms, the lookup of embeddings, and the head: it runs once per text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from submillion.families.families import Family, Inventory, family_of
from submillion.recipe import LoraRecipe

# In which order a layer uses its matrices: a gradient on its way down passes the later ones first.
STAGE = {"query": 0, "key": 0, "value": 0, "qkv": 0, "attention_output": 1, "ffn_up": 2, "ffn_down": 3}


def reference_lora(family: Family) -> LoraRecipe:
    """Return what costs are relative to: r 16 on the query (or the fused matrix) of all layers."""
    target = "query" if "query" in family.targets else "qkv"
    return LoraRecipe(r=16, alpha=32, targets=[target], layers="all")


def operations_per_token(config: Mapping[str, Any], lora: LoraRecipe, cached: bool = False) -> int:
    """Return the floating point operations that one token costs in a training step.

    Args:
        config: the encoder's config.json.
        lora: which matrices carry adapters.
        cached: the layers below the lowest adapter ran before, and their output was kept.
    """
    family = family_of(config)
    return operations_in(family, family.inventory(config, num_labels=2), lora, cached)


def operations_in(family: Family, inventory: Inventory, lora: LoraRecipe, cached: bool = False) -> int:
    """Return the same in an inventory that was taken before; the head in it plays no part."""
    n_layers, sizes = len(inventory.layers), inventory.matrices
    once = {name: 2 * matrix.inputs * matrix.outputs for name, matrix in sizes.items()}
    layer = sum(once.values())
    adapted, targets = lora.layer_indices(n_layers), family.expand(lora.targets)
    if lora.bias == "all" and _has_biases(inventory):  # they go down to the embeddings' norm
        lowest, backward = 0, n_layers * layer
    else:
        lowest = adapted[0]
        first = min(STAGE[name] for name in targets)
        above = sum(cost for name, cost in once.items() if STAGE[name] > first)
        backward = (n_layers - 1 - lowest) * layer + above
    forward = (n_layers - lowest if cached else n_layers) * layer
    # Forward, gradient of the input, gradient of the weight, which vera's frozen A and B have none of.
    passes = {"bitfit": 0, "vera": 2}.get(lora.variant, 3)
    adapters = passes * 2 * lora.r * len(adapted) * sum(sizes[name].per_rank for name in targets)
    return forward + backward + adapters


def _has_biases(inventory: Inventory) -> bool:
    """Whether the encoder has any bias; ModernBERT usually has none."""
    return any(part.biases for part in (inventory.outside, *inventory.layers))
