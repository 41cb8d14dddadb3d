"""The three heads: which modules are trained, which carries an adapter, how a missing projection is initialised."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from submillion.families.family import Family
    from submillion.recipe import HeadRecipe

MEAN_TASK = "FEATURE_EXTRACTION"
"""peft's task type of an encoder without a head, whose last states are pooled by the mean."""
# peft's SEQ_CLS fully trains every module whose name ends in one of these.
SEQ_CLS_TRAINS = ("classifier", "score")


class PooledHead(nn.Module):
    """The head after pooling by the mean: length 1 if asked for, dropout, and one linear layer that starts at zero.

    Scaling is the module Normalize of sentence-transformers, with which all-MiniLM-L6-v2 and all-mpnet-base-v2 were
    trained (their modules.json).
    """

    def __init__(self, hidden: int, classes: int, normalize: bool = False) -> None:
        """Make a head of `classes` logits for features of size `hidden`, scaled to length 1 with `normalize`."""
        super().__init__()
        self.normalize = normalize
        self.dropout = nn.Dropout(0.0)
        self.layer = nn.Linear(hidden, classes)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits, float32 [B, C], for features [B, D]."""
        features = features.float()
        if self.normalize:
            features = nn.functional.normalize(features)
        logits: torch.Tensor = self.layer(self.dropout(features))
        return logits


def mean_over_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of the states of each text's tokens, [B, D].

    Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3.

    Args:
        states: [B, S, D].
        mask: [B, S], 0 for padding; at least one token of a text is none.
    """
    real = mask[:, :, None].to(states.dtype)
    means: torch.Tensor = (states * real).sum(dim=1) / real.sum(dim=1)
    return means


def head_modules(family: Family) -> list[str]:
    """Return the modules with parameters between the encoder's last hidden state and the logits."""
    if family.headless:
        return []
    return [name for name in (family.projection, family.norm, family.output) if name is not None]


def task_type(head: HeadRecipe) -> str | None:
    """Return peft's task type for a head.

    Under SEQ_CLS peft trains every module whose name ends in `classifier`. That is right for a stock head. For the
    others it would train modules that must stay frozen: RoBERTa's whole head, DistilBERT's pre_classifier. With
    pooling by the mean, the model is the encoder alone.
    """
    if head.pooling == "mean":
        return MEAN_TASK
    return "SEQ_CLS" if head.kind == "stock" else None


def trained_modules(family: Family, head: HeadRecipe) -> list[str]:
    """Return the modules to name to peft as fully trained, in addition to those that SEQ_CLS trains.

    peft matches the end of a name, so DistilBERT's `classifier` cannot be named without its `pre_classifier`. If the
    latter must stay frozen, the output layer is trained in place instead, and saved like every tensor that the
    checkpoint lacks.
    """
    if family.headless:
        return []
    if head.kind == "stock":
        return [name for name in head_modules(family) if not name.startswith(SEQ_CLS_TRAINS)]
    return [] if family.projection.endswith(family.output) else [family.output]


def adapted_modules(family: Family, head: HeadRecipe) -> list[str]:
    """Return the modules of the head that carry a LoRA of rank head.r."""
    return [family.projection] if head.kind == "lora" else []


def init_identity_projection(
    model: nn.Module, family: Family, head: HeadRecipe, missing: Collection[str]
) -> None:
    """Initialise a frozen projection that the checkpoint lacks as the identity.

    A random projection that is never trained would only lose information. A projection that the checkpoint has does
    not change.

    Args:
        model: the encoder with its head.
        family: the encoder's family.
        head: the recipe's head section.
        missing: names of the tensors that the checkpoint lacks.
    """
    if head.kind == "stock" or family.headless:
        return
    projection: Any = model.get_submodule(family.projection)
    with torch.no_grad():
        if f"{family.projection}.weight" in missing:
            torch.nn.init.eye_(projection.weight)
        if f"{family.projection}.bias" in missing:
            projection.bias.zero_()


def outside_head(family: Family, names: Iterable[str]) -> list[str]:
    """Return the tensor names that belong to the encoder itself."""
    owners = tuple(f"{name}." for name in head_modules(family))
    if not owners:
        return sorted(names)
    return sorted(name for name in names if not name.startswith(owners))
