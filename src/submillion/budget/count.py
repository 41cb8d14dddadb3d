"""Counts by part what a configuration trains, from the encoder's config alone; refuses what is over budget.

For roberta-base (D 768, F 3,072, 12 layers) and 4 classes, query and value at r 16, stock head:
lora.query 12 x r 16 x (768 + 768) = 294,912; lora.value the same; head.projection 768 x 768 + 768 = 590,592;
head.output 768 x 4 + 4 = 3,076; together 1,183,492.

What the variants of LoRA train on one matrix of I inputs and O outputs:

    lora, pissa, eva    r (I + O)        A [r, I] and B [O, r]
    dora                r (I + O) + O    and a magnitude for each output (arXiv:2402.09353, eq. 5)
    adalora             r (I + O + 1)    P, Q and r singular values (arXiv:2303.10512, eq. 3); pruned ones stay counted
    vera                r + O            d and b; A and B are shared, random and frozen (arXiv:2310.11454, eq. 2)
    bitfit              0                the biases count as `bias`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from submillion.errors import BadInput, OverBudget, Problem
from submillion.families.families import Family, Inventory, family_of
from submillion.families.sizes import Matrix
from submillion.recipe import HeadRecipe, LoraRecipe

# Variants of which peft gives all matrices of a model the same rank, so that the head's cannot have its own.
ONE_RANK = ("adalora", "vera")


@dataclass(frozen=True)
class Count:
    """What a configuration trains and what the whole model holds."""

    parts: dict[str, int]
    """Trained parameters by part: `lora.<target>`, `head.projection`, `head.norm`, `head.output`, `head.lora`
    (the projection's adapter) and `bias` (biases beside those of a trained part); parts of 0 are left out."""
    total: int
    """The encoder, its head counted once, and the adapters; VeRA's random matrices are no parameters."""
    budget: int
    by_layer: list[dict[str, Any]]
    """Each layer, lowest first: its index `layer`, its `trainable` sum and its `parts`."""
    workings: dict[str, str]
    """The arithmetic behind each part."""

    @property
    def trainable(self) -> int:
        """The sum of the parts."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether it is within the budget."""
        return self.trainable <= self.budget

    def to_json(self) -> dict[str, Any]:
        """Return `trainable`, `total`, `parts`, `budget`, `fits` and `by_layer`."""
        names = ("trainable", "total", "parts", "budget", "fits", "by_layer")
        return {name: getattr(self, name) for name in names}


def count(
    config: Mapping[str, Any], num_labels: int, lora: LoraRecipe, head: HeadRecipe, budget: int
) -> Count:
    """Count a configuration in closed form; equal to what peft counts on the built model.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        lora: variant, rank, targets, layers and biases; `all-linear` is every matrix of every chosen layer.
        head: stock trains projection, norm and output; linear the output; lora the output and an adapter on
            the projection.
        budget: trainable parameters allowed; nothing is refused here.

    Raises:
        BadInput: the family is not supported, or rank, targets, layers or classes do not suit the encoder.
    """
    family = family_of(config)
    return count_in(family, family.inventory(config, num_labels), lora, head, budget)


def count_in(family: Family, inventory: Inventory, lora: LoraRecipe, head: HeadRecipe, budget: int) -> Count:
    """Count as `count` does, in an inventory that was taken before; for many configurations of one encoder."""
    adapted = lora.layer_indices(len(inventory.layers))
    targets = [] if lora.variant == "bitfit" else family.expand(lora.targets)
    matrices = {name: inventory.matrices[name] for name in targets}
    _check(inventory, matrices, lora, head)
    by_layer = _by_layer(inventory, adapted, matrices, lora)
    layers = f"{len(adapted)} layer{'s' if len(adapted) > 1 else ''}"
    parts = [
        (
            f"lora.{name}",
            len(adapted) * in_adapter(lora.variant, lora.r, matrix),
            f"{layers} x {_working(lora.variant, lora.r, matrix)}",
        )
        for name, matrix in matrices.items()
    ]
    parts += _head_parts(inventory, lora, head)
    adapters = sum(size for name, size, _ in parts if "lora" in name)
    if lora.variant == "adalora":  # peft keeps each adapter's rank as a parameter that is not trained
        adapters += len(adapted) * len(matrices)
    in_layers = sum(layer["parts"].get("bias", 0) for layer in by_layer)
    parts.append(("bias", in_layers + _other_biases(inventory, lora, head), f"biases, {lora.bias}"))
    return Count(
        parts={name: size for name, size, _ in parts if size},
        total=inventory.all.total + adapters,
        budget=budget,
        by_layer=by_layer,
        workings={name: working for name, size, working in parts if size},
    )


def in_adapter(variant: str, r: int, matrix: Matrix) -> int:
    """Return how many parameters an adapter trains on one matrix: linear in its rank."""
    if variant == "vera":
        return r + matrix.outputs
    beside = {"dora": matrix.outputs, "adalora": r}.get(variant, 0)
    return r * matrix.per_rank + beside


def _working(variant: str, r: int, matrix: Matrix) -> str:
    """Return the arithmetic of `in_adapter`."""
    wide, deep = f"{matrix.inputs:,}", f"{matrix.outputs:,}"
    return {
        "dora": f"(r {r:,} x ({wide} + {deep}) + {deep})",
        "adalora": f"r {r:,} x ({wide} + {deep} + 1)",
        "vera": f"(r {r:,} + {deep})",
    }.get(variant, f"r {r:,} x ({wide} + {deep})")


def gate(
    counted: Count, config: Mapping[str, Any], num_labels: int, lora: LoraRecipe, head: HeadRecipe
) -> None:
    """Refuse a configuration over its budget.

    Args:
        counted: what `count` gave for the other arguments.

    Raises:
        OverBudget: with the sum by part, by how much it is over, and the nearest configurations that fit.
    """
    if counted.fits:
        return
    # The planner stands on the counter; only this refusal looks the other way.
    from submillion.budget.planner import nearest
    from submillion.budget.render import render_count, render_plans

    plans = nearest(config, num_labels, lora, head, counted.budget)
    over = counted.trainable - counted.budget
    lines = [
        f"over budget: {counted.trainable:,} trainable parameters are {over:,} more than the budget of "
        f"{counted.budget:,}.",
        render_count(counted),
    ]
    if plans:
        lines += ["Nearest that fit:", render_plans(plans)]
    else:
        lines.append("Nothing fits: r 1 on one matrix of one layer, with a linear head, is too much as well.")
    raise OverBudget("\n".join(lines))


def _check(inventory: Inventory, matrices: Mapping[str, Matrix], lora: LoraRecipe, head: HeadRecipe) -> None:
    """Refuse ranks that no matrix of the encoder can have, what a variant cannot do, and fewer than two classes."""
    hidden = inventory.hidden
    most = {"lora.r": (lora.r, hidden), "head.r": (head.r, hidden)}
    if lora.variant in (
        "vera",
        "bitfit",
    ):  # random matrices may have any rank: the paper takes 1,024 at D = 768
        del most["lora.r"]
    elif lora.variant in ("pissa", "eva"):  # they begin with as many directions of a matrix, or of its input
        sides = (min(matrix.inputs, matrix.outputs) for matrix in matrices.values())
        most["lora.r"] = (lora.r, min(hidden, *sides))
    if head.kind != "lora":
        del most["head.r"]
    problems = [
        Problem(
            where,
            f"a rank from 1 to the encoder's hidden size {hidden:,}"
            if largest == hidden
            else f"a rank from 1 to {largest:,}, the smallest side of a matrix that carries an adapter",
            str(r),
        )
        for where, (r, largest) in most.items()
        if not 1 <= r <= largest
    ]
    if lora.variant in ONE_RANK and head.kind == "lora":
        found = f"lora: {lora.variant} gives all matrices of a model the same rank, the head's too"
        problems.append(Problem("head.kind", "stock or linear", found, "For example --set head.kind=linear."))
    if lora.variant == "bitfit" and not sum(layer.biases for layer in inventory.layers):
        found = "bitfit: the layers of this encoder have no biases"
        problems.append(Problem("lora.variant", "one with adapters", found))
    if inventory.output.outputs < 2:
        problems.append(Problem("labels", "at least 2 classes", str(inventory.output.outputs)))
    if problems:
        raise BadInput(problems)


def _by_layer(
    inventory: Inventory, adapted: list[int], matrices: Mapping[str, Matrix], lora: LoraRecipe
) -> list[dict[str, Any]]:
    """Count each layer's adapters and trained biases."""
    by_layer = []
    for index, layer in enumerate(inventory.layers):
        carried = matrices if index in adapted else {}
        parts = {f"lora.{name}": in_adapter(lora.variant, lora.r, matrix) for name, matrix in carried.items()}
        of_carried = sum(matrix.tensors.biases for matrix in carried.values())
        biases = {"none": 0, "lora_only": of_carried, "all": layer.biases}[lora.bias]
        parts |= {"bias": biases} if biases else {}
        by_layer.append({"layer": index, "trainable": sum(parts.values()), "parts": parts})
    return by_layer


def _head_parts(inventory: Inventory, lora: LoraRecipe, head: HeadRecipe) -> list[tuple[str, int, str]]:
    """Return name, size and arithmetic of what the head trains: its biases count where its weights do."""
    projection, output = inventory.projection, inventory.output
    wide, deep = f"{projection.inputs:,}", f"{projection.outputs:,}"
    parts = []
    if head.kind == "stock":
        bias = f" + {deep}" if projection.bias else ""
        parts.append(("head.projection", projection.tensors.total, f"{wide} x {deep}{bias}"))
        parts.append(("head.norm", inventory.norm.total, f"{inventory.norm.total:,} scales and shifts"))
    if head.kind == "lora":
        adapter = (lora.variant, head.r, projection)
        parts.append(("head.lora", in_adapter(*adapter), _working(*adapter)))
    working = f"{output.inputs:,} x {output.outputs:,} + {output.outputs:,}"
    return [*parts, ("head.output", output.tensors.total, working)]


def _other_biases(inventory: Inventory, lora: LoraRecipe, head: HeadRecipe) -> int:
    """Count trained biases outside the layers that belong to no trained part, as peft marks them.

    Under `all` that is every bias, a frozen projection's and norm's too; under `lora_only` a projection's
    with an adapter.
    """
    projection = inventory.projection.tensors.biases
    if lora.bias == "all":
        in_head = 0 if head.kind == "stock" else projection + inventory.norm.biases
        return inventory.outside.biases + in_head
    return projection if lora.bias == "lora_only" and head.kind == "lora" else 0
