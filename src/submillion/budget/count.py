"""Counts the trainable parameters of a configuration by part, from the encoder's config.json alone.

For roberta-base (D 768, F 3,072, 12 layers) and 4 classes, query and value at r 16, stock head:
lora.query 12 x r 16 x (768 + 768) = 294,912; lora.value the same; head.projection 768 x 768 + 768 = 590,592;
head.output 768 x 4 + 4 = 3,076; total 1,183,492.

Parameters that each variant of LoRA trains on one matrix of I inputs and O outputs:

    lora, pissa, eva    r (I + O)        A [r, I] and B [O, r]
    dora                r (I + O) + O    plus one magnitude per output (arXiv:2402.09353, eq. 5)
    adalora             r (I + O + 1)    P, Q and r singular values (arXiv:2303.10512, eq. 3); pruned ones still count
    vera                r + O            d and b; A and B are shared, random and frozen (arXiv:2310.11454, eq. 2)
    bitfit              0                the biases count as `bias`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.families.families import family_of
from submillion.families.family import Family, Inventory
from submillion.families.sizes import Matrix
from submillion.recipe import HeadRecipe, LoraRecipe

ONE_RANK = ("adalora", "vera")
"""Variants for which peft uses one rank for all matrices of a model, so the head cannot have its own."""


@dataclass(frozen=True)
class Count:
    """The trainable parameters of a configuration, and all parameters of the model."""

    parts: dict[str, int]
    """Trainable parameters by part: `lora.<target>`, `head.projection`, `head.norm`, `head.output`, `head.lora`
    (the projection's adapter) and `bias` (biases outside the trained parts); empty parts are omitted."""
    total: int
    """All parameters: encoder, head (once) and adapters; VeRA's random matrices are buffers and do not count."""
    budget: int
    """Trainable parameters allowed."""
    by_layer: list[dict[str, Any]]
    """One entry per layer, lowest first: its index `layer`, its `trainable` parameters and its `parts`."""
    arithmetic: dict[str, str]
    """The arithmetic of each part, e.g. `12 layers x r 16 x (768 + 768)`."""

    @property
    def trainable(self) -> int:
        """Trainable parameters: the sum of the parts."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether the configuration is within the budget."""
        return self.trainable <= self.budget

    def to_json(self) -> dict[str, Any]:
        """Return `trainable`, `total`, `parts`, `budget`, `fits` and `by_layer`."""
        names = ("trainable", "total", "parts", "budget", "fits", "by_layer")
        return {name: getattr(self, name) for name in names}


def count(
    config: Mapping[str, Any], num_labels: int, lora: LoraRecipe, head: HeadRecipe, budget: int
) -> Count:
    """Count a configuration in closed form; the result equals the count of peft on the built model.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        lora: variant, rank, targets, layers and biases; `all-linear` means every matrix of every chosen layer.
        head: stock trains projection, norm and output; linear trains the output; lora trains the output and an
            adapter on the projection.
        budget: trainable parameters allowed; a count over it is returned, not refused.

    Returns:
        The count by part and by layer.

    Raises:
        BadInput: the family is not supported, or rank, targets, layers or classes do not fit the encoder.

    Example:
        >>> config = {"model_type": "roberta"}  # missing sizes are those of roberta-base
        >>> count(config, 4, LoraRecipe(r=16, targets=["query"]), HeadRecipe(), 1_000_000).trainable
        888580
    """
    family = family_of(config)
    return count_inventory(family, family.inventory(config, num_labels), lora, head, budget)


def count_inventory(
    family: Family, inventory: Inventory, lora: LoraRecipe, head: HeadRecipe, budget: int
) -> Count:
    """Count as `count` does, given the encoder's inventory: faster for many configurations of one encoder."""
    if head.pooling == "mean":
        inventory = inventory.without_projection()
    adapted = lora.layer_indices(len(inventory.layers))
    targets = [] if lora.variant == "bitfit" else family.expand(lora.targets)
    matrices = {name: inventory.matrices[name] for name in targets}
    _check(inventory, matrices, lora, head)
    by_layer = _by_layer(inventory, adapted, matrices, lora)
    layers = f"{len(adapted)} layer{'s' if len(adapted) > 1 else ''}"
    parts = [
        (
            f"lora.{name}",
            len(adapted) * adapter_size(lora.variant, lora.r, matrix),
            f"{layers} x {_adapter_arithmetic(lora.variant, lora.r, matrix)}",
        )
        for name, matrix in matrices.items()
    ]
    parts += _head_parts(inventory, lora, head)
    adapters = sum(size for name, size, _ in parts if "lora" in name)
    if lora.variant == "adalora":  # peft stores each adapter's rank as a frozen parameter
        adapters += len(adapted) * len(matrices)
    in_layers = sum(layer["parts"].get("bias", 0) for layer in by_layer)
    parts.append(("bias", in_layers + _other_biases(inventory, lora, head), f"biases, {lora.bias}"))
    return Count(
        parts={name: size for name, size, _ in parts if size},
        total=inventory.all.total + adapters,
        budget=budget,
        by_layer=by_layer,
        arithmetic={name: arithmetic for name, size, arithmetic in parts if size},
    )


def adapter_size(variant: str, r: int, matrix: Matrix) -> int:
    """Return the number of parameters that an adapter trains on one matrix; it is linear in the rank."""
    if variant == "vera":
        return r + matrix.outputs
    extra = {"dora": matrix.outputs, "adalora": r}.get(variant, 0)
    return r * matrix.per_rank + extra


def _adapter_arithmetic(variant: str, r: int, matrix: Matrix) -> str:
    """Return the arithmetic of `adapter_size`."""
    inputs, outputs = f"{matrix.inputs:,}", f"{matrix.outputs:,}"
    return {
        "dora": f"(r {r:,} x ({inputs} + {outputs}) + {outputs})",
        "adalora": f"r {r:,} x ({inputs} + {outputs} + 1)",
        "vera": f"(r {r:,} + {outputs})",
    }.get(variant, f"r {r:,} x ({inputs} + {outputs})")


def _check(inventory: Inventory, matrices: Mapping[str, Matrix], lora: LoraRecipe, head: HeadRecipe) -> None:
    """Refuse ranks above a matrix's size, combinations that a variant cannot do, and fewer than two classes."""
    hidden = inventory.hidden
    ranks = {}  # field: (rank, largest rank)
    if lora.variant in ("pissa", "eva"):  # initialised with r singular directions of a matrix or of its input
        ranks["lora.r"] = (
            lora.r,
            min(hidden, *(min(side.inputs, side.outputs) for side in matrices.values())),
        )
    elif lora.variant not in ("vera", "bitfit"):  # VeRA's rank is unbounded: the paper uses 1,024 at D = 768
        ranks["lora.r"] = (lora.r, hidden)
    if head.kind == "lora":
        ranks["head.r"] = (head.r, hidden)
    problems = [
        Problem(
            field,
            f"a rank from 1 to the encoder's hidden size {hidden:,}"
            if largest == hidden
            else f"a rank from 1 to {largest:,}, the smallest side of an adapted matrix",
            str(r),
        )
        for field, (r, largest) in ranks.items()
        if not 1 <= r <= largest
    ]
    if lora.variant in ONE_RANK and head.kind == "lora":
        found = f"lora, and {lora.variant} uses one rank for all matrices, including the head's"
        problems.append(Problem("head.kind", "stock or linear", found, "Choose one with @{head.kind}."))
    if lora.variant == "bitfit" and not sum(layer.biases for layer in inventory.layers):
        found = "bitfit, and the layers of this encoder have no biases"
        problems.append(Problem("lora.variant", "a variant with adapters", found))
    if inventory.output.outputs < 2:
        problems.append(Problem("labels", "at least 2 classes", str(inventory.output.outputs)))
    if problems:
        raise BadInput(problems)


def _by_layer(
    inventory: Inventory, adapted: list[int], matrices: Mapping[str, Matrix], lora: LoraRecipe
) -> list[dict[str, Any]]:
    """Count the adapters and trained biases of each layer."""
    by_layer = []
    for index, layer in enumerate(inventory.layers):
        targets = matrices if index in adapted else {}
        parts = {
            f"lora.{name}": adapter_size(lora.variant, lora.r, matrix) for name, matrix in targets.items()
        }
        target_biases = sum(matrix.tensors.biases for matrix in targets.values())
        biases = {"none": 0, "lora_only": target_biases, "all": layer.biases}[lora.bias]
        parts |= {"bias": biases} if biases else {}
        by_layer.append({"layer": index, "trainable": sum(parts.values()), "parts": parts})
    return by_layer


def _head_parts(inventory: Inventory, lora: LoraRecipe, head: HeadRecipe) -> list[tuple[str, int, str]]:
    """Return name, size and arithmetic of each trained part of the head, biases included."""
    projection, output = inventory.projection, inventory.output
    inputs, outputs = f"{projection.inputs:,}", f"{projection.outputs:,}"
    parts = []
    if head.kind == "stock":
        bias = f" + {outputs}" if projection.bias else ""
        parts.append(("head.projection", projection.tensors.total, f"{inputs} x {outputs}{bias}"))
        parts.append(("head.norm", inventory.norm.total, f"{inventory.norm.total:,} scales and shifts"))
    if head.kind == "lora":
        adapter = (lora.variant, head.r, projection)
        parts.append(("head.lora", adapter_size(*adapter), _adapter_arithmetic(*adapter)))
    arithmetic = f"{output.inputs:,} x {output.outputs:,} + {output.outputs:,}"
    return [*parts, ("head.output", output.tensors.total, arithmetic)]


def _other_biases(inventory: Inventory, lora: LoraRecipe, head: HeadRecipe) -> int:
    """Count trained biases outside the layers and outside the trained parts, as peft marks them.

    With `all` this is every such bias, also those of a frozen projection and norm; with `lora_only` it is the bias
    of a projection that carries an adapter.
    """
    projection = inventory.projection.tensors.biases
    if lora.bias == "all":
        in_head = 0 if head.kind == "stock" else projection + inventory.norm.biases
        return inventory.outside.biases + in_head
    return projection if lora.bias == "lora_only" and head.kind == "lora" else 0
