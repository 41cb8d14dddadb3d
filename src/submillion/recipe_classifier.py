"""The sections `encoder`, `lora` and `head` of a recipe, with the help of every field."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from submillion.errors import BadInput, Problem
from submillion.recipe_fields import Count, Section, Source, printable

TARGETS = ("query", "key", "value", "qkv", "attention_output", "ffn_up", "ffn_down")
TARGET_ALIASES = {
    "q": "query",
    "k": "key",
    "v": "value",
    "o": "attention_output",
    "up": "ffn_up",
    "down": "ffn_down",
}
"""Common short names of the same matrices."""
ALL_LINEAR = "all-linear"
BITFIT = "bitfit"


def _top(layers: str) -> str:
    """Return layers that are counted from the top; refuses other text."""
    if not re.fullmatch("top-[1-9][0-9]{0,3}", layers):
        raise ValueError("top-N")
    return layers


class EncoderRecipe(Section):
    """The pretrained encoder and its regularisation."""

    source: Source
    """Catalog name (roberta-base, minilm, mpnet-base ...), hub id (org/name) or local folder."""
    revision: Annotated[str, AfterValidator(printable), Field(max_length=255)] | None = None
    """Hub revision: branch, tag or commit. Default: the main branch."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on hidden states in training. Default: from the encoder's config.json."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on attention probabilities in training. Default: from the encoder's config.json."""
    classifier_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout before the head's output layer. Default: from the encoder's config.json."""


class LoraRecipe(Section):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685), W x + (alpha / r) B A x, and its variants."""

    variant: Literal["lora", "dora", "pissa", "eva", "adalora", "vera", "bitfit"] = "lora"
    """lora; dora: separate magnitude and direction (arXiv:2402.09353); pissa: A and B start as the principal
    part of W (arXiv:2404.02948), best without dropout; eva: A starts as the principal directions of the
    matrix's input (arXiv:2410.07170); adalora: prunes a third of the ranks during training
    (arXiv:2303.10512); vera: random A and B, shared by all matrices, and two trained vectors per matrix
    (arXiv:2310.11454); bitfit: trains only biases (arXiv:2106.10199)."""
    r: Count = 8
    """Rank of the adapters; unused by bitfit."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scales the adapter's output by alpha / r (alpha / sqrt(r) with rslora); unused by vera."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on the adapter's input."""
    targets: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: ["query", "value"])
    """Adapted matrices: query, key, value, attention_output, ffn_up, ffn_down (ModernBERT: qkv for the fused
    first three), or all-linear for all of them."""
    layers: Literal["all"] | Annotated[str, AfterValidator(_top)] | list[int] = "all"
    """Adapted layers: all, top-N, or a list of indices from 0. The layers below the lowest one run once per
    text, and their output is cached."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Encoder biases to train: none, all, or lora_only (those of the adapted matrices). bitfit: all."""
    rslora: bool = False
    """Scale by alpha / sqrt(r) instead of alpha / r (Kalajdzievski 2023, arXiv:2312.03732)."""

    @model_validator(mode="before")
    @classmethod
    def _bitfit_trains_biases(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("variant") == BITFIT:
            return {"bias": "all"} | values
        return values

    @model_validator(mode="after")
    def _variant_supports_fields(self) -> LoraRecipe:
        if self.rslora and self.variant not in ("lora", "dora", "pissa", "eva"):
            raise ValueError(f"variant lora, dora, pissa or eva with rslora=true|{self.variant}")
        if self.variant == BITFIT and self.bias != "all":
            raise ValueError(f"bias=all with variant=bitfit|{self.bias}")
        return self

    @field_validator("targets", mode="before")
    @classmethod
    def _canonical_targets(cls, value: Any) -> Any:
        names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return value
        canonical = [TARGET_ALIASES.get(name, name) for name in names]
        unknown = [name for name in canonical if name not in (*TARGETS, ALL_LINEAR)]
        if unknown:
            raise ValueError(f"targets among {', '.join((*TARGETS, ALL_LINEAR))}|{unknown[0]}")
        if ALL_LINEAR in canonical:
            return [ALL_LINEAR]
        return list(dict.fromkeys(canonical))

    @field_validator("layers")
    @classmethod
    def _valid_layers(cls, value: Any) -> Any:
        if isinstance(value, list):
            if not value or min(value) < 0:
                raise ValueError("'all', 'top-N' or a list of layer indices from 0")
            return sorted(set(value))
        return value

    def layer_indices(self, n_layers: int) -> list[int]:
        """Return the indices of the adapted layers, ascending, in an encoder of `n_layers` layers.

        Raises:
            BadInput: the encoder does not have one of the layers.

        Example:
            >>> LoraRecipe(layers="top-2").layer_indices(12)
            [10, 11]
        """
        if self.layers == "all":
            return list(range(n_layers))
        if isinstance(self.layers, str):
            count = int(self.layers.removeprefix("top-"))
            indices = list(range(n_layers - count, n_layers))
        else:
            indices = list(self.layers)
        if indices[0] < 0 or indices[-1] >= n_layers:
            raise BadInput(
                Problem(
                    "lora.layers",
                    f"layers among the encoder's {n_layers} (0 to {n_layers - 1})",
                    repr(self.layers),
                    f"Choose layers with @{{lora.layers}}, for example top-{max(1, n_layers // 2)}.",
                )
            )
        return indices


def variant_of(values: Mapping[str, Any]) -> Any:
    """Return `lora.variant` in the keys of a recipe, None if they have none."""
    lora = values.get("lora")
    return lora.get("variant") if isinstance(lora, dict) else None


def settle_bias(values: dict[str, Any], before: Any, named: Collection[str]) -> None:
    """Drop the bias that a complete recipe states because of its variant, if a change names the variant alone.

    Bitfit trains all biases; the other variants train none unless a recipe says so.

    Args:
        values: keys of the changed recipe.
        before: the variant before the change.
        named: fields that the change names.
    """
    after = variant_of(values)
    if before == after or BITFIT not in (before, after) or "lora.bias" in named:
        return
    if values["lora"].get("bias") == ("all" if before == BITFIT else "none"):
        del values["lora"]["bias"]


class HeadRecipe(Section):
    """The classification head between the last hidden state and the logits."""

    kind: Literal["stock", "linear", "lora"] = "stock"
    """stock: trains the whole head of the encoder family; linear: only its output layer; lora: the output
    layer and a low-rank adapter on the projection before it."""
    pooling: Literal["first", "mean", "auto"] = "first"
    """Input of the head. first: the last state of the first token; mean: the mean of the last states of all
    tokens, special tokens included (needs kind linear); auto: the one the encoder was trained with."""
    normalize: bool = False
    """Scale the mean to length 1 before the output layer: sentence encoders are trained to compare
    directions, not lengths. Needs pooling mean."""
    start: Literal["random", "probe"] = "random"
    """Initial values of the output layer. probe: fit a logistic regression to the encoder's features of the
    training texts, so training starts at its accuracy (Kumar et al. 2022, arXiv:2202.10054); needs kind
    linear."""
    label_names: bool = False
    """Also fit the probe to the label names, three short texts each, if the encoder places them near the
    texts of their classes; needs start or finish probe."""
    finish: Literal["trained", "probe"] = "trained"
    """Final values of the output layer. trained: as training leaves them; probe: fit the same regression to
    the trained encoder's features of the training texts; needs kind linear and
    data.validation=cross-validation."""
    r: Count = 16
    """Rank of the projection's adapter, with kind lora."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scale of the projection's adapter, with kind lora."""

    @model_validator(mode="after")
    def _mean_is_linear(self) -> HeadRecipe:
        if self.pooling == "mean" and self.kind != "linear":
            raise ValueError(f"head.kind=linear with head.pooling=mean|{self.kind}")
        if self.normalize and self.pooling != "mean":
            raise ValueError(f"head.pooling=mean with head.normalize|{self.pooling}")
        return self
