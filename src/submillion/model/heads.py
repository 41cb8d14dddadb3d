"""The three heads: which of their modules are trained, which carries an adapter, how an absent one starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from submillion.families.families import Family
    from submillion.recipe import HeadRecipe

# peft's sequence classification adds these to the modules it trains fully, matching the end of any name.
SEQ_CLS_TRAINS = ("classifier", "score")


def head_modules(family: Family) -> list[str]:
    """Return the modules between the encoder's last hidden state and the logits that have parameters."""
    return [name for name in (family.projection, family.norm, family.output) if name is not None]


def task_type(head: HeadRecipe) -> str | None:
    """Return peft's task type for a head.

    Under SEQ_CLS peft trains every module whose name ends in `classifier`. That is right for a stock head;
    for the others it would train what is to stay frozen: RoBERTa's whole head, DistilBERT's pre_classifier.
    """
    return "SEQ_CLS" if head.kind == "stock" else None


def trained_modules(family: Family, head: HeadRecipe) -> list[str]:
    """Return the names to hand to peft as modules that are trained fully, beside those SEQ_CLS adds.

    peft matches the end of a name, so that DistilBERT's `classifier` cannot be named without its
    `pre_classifier`. Where that one is to stay as it is, the output layer is trained in place instead, and
    saved like every tensor that the checkpoint lacks.
    """
    if head.kind == "stock":
        return [name for name in head_modules(family) if not name.startswith(SEQ_CLS_TRAINS)]
    return [] if family.projection.endswith(family.output) else [family.output]


def adapted_modules(family: Family, head: HeadRecipe) -> list[str]:
    """Return the modules of the head that carry a LoRA of rank head.r."""
    return [family.projection] if head.kind == "lora" else []


def settle_projection(model: nn.Module, family: Family, head: HeadRecipe, drawn: Collection[str]) -> None:
    """Make a projection that stays frozen, and that the checkpoint lacks, pass its input through unchanged.

    A random projection that no step mends would only lose information; one that the checkpoint has stays.

    Args:
        drawn: names of the tensors that the checkpoint lacks.
    """
    if head.kind == "stock":
        return
    projection: Any = model.get_submodule(family.projection)
    with torch.no_grad():
        if f"{family.projection}.weight" in drawn:
            torch.nn.init.eye_(projection.weight)
        if f"{family.projection}.bias" in drawn:
            projection.bias.zero_()


def outside_head(family: Family, names: Iterable[str]) -> list[str]:
    """Return those tensor names that belong to the encoder itself."""
    owners = tuple(f"{name}." for name in head_modules(family))
    return sorted(name for name in names if not name.startswith(owners))
