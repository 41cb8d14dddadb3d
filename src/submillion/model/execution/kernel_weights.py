"""Collects the tensors that the packed kernels read: frozen weights, embedding tables, biases, adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from submillion import native

if TYPE_CHECKING:
    from submillion.families.family import Family, KernelModules

MATRICES = (
    "q",
    "k",
    "v",
    "out",
    "up",
    "down",
)  # names in the kernels' interface, in the order of the targets


class Adapter(NamedTuple):
    """The LoRA of one matrix: W x + scale * B A dropout(x)."""

    a: nn.Parameter
    """[r, inputs]."""
    b: nn.Parameter
    """[outputs, r]."""
    scale: float
    dropout: float
    """Share of the inputs that is dropped."""


def adapters_of(layer: nn.Module, family: Family) -> list[Adapter | None]:
    """Return the adapter of each target matrix of a layer, None for a matrix without one."""
    adapters: list[Adapter | None] = []
    for name in family.suffixes.values():
        module: Any = layer.get_submodule(name)
        if not hasattr(module, "lora_A"):
            adapters.append(None)
            continue
        dropout = getattr(module.lora_dropout["default"], "p", 0.0)
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        adapters.append(Adapter(a, b, float(module.scaling["default"]), float(dropout)))
    return adapters


def layer_tensors(layer: nn.Module, family: Family) -> dict[str, Tensor]:
    """Return a layer's frozen weights by their names in the kernels' interface."""
    tensors: dict[str, Tensor] = {}
    for name, target in zip(MATRICES, family.suffixes.values(), strict=True):
        module: Any = layer.get_submodule(target)
        linear = getattr(module, "base_layer", module)
        tensors[name], tensors[f"{name}_bias"] = linear.weight, linear.bias
    for number, path in enumerate(_modules(family).norms, 1):
        norm: Any = layer.get_submodule(path)
        tensors[f"norm{number}_gamma"], tensors[f"norm{number}_beta"] = norm.weight, norm.bias
    return tensors


def adapter_deltas(layer: nn.Module, family: Family) -> dict[str, Tensor]:
    """Return what merging the adapters adds to a layer's matrices, float32 [outputs, inputs] each."""
    deltas: dict[str, Tensor] = {}
    for name, target in zip(MATRICES, family.suffixes.values(), strict=True):
        module: Any = layer.get_submodule(target)
        if hasattr(module, "lora_A"):
            deltas[name] = module.get_delta_weight("default").detach().float()
    return deltas


def embedding_tables(modules: Sequence[Any]) -> list[Tensor]:
    """Return the word and position tables, weight and bias of the norm, and those of the projection if there is one.

    All are float32. All tokens are of type 0, so its embedding is part of the positions.

    Args:
        modules: the embeddings and, if the family has one, the projection from embedding size to hidden size.
    """
    embeddings = modules[0]
    positions = embeddings.position_embeddings.weight.detach().float()
    if hasattr(embeddings, "token_type_embeddings"):
        positions = positions + embeddings.token_type_embeddings.weight.detach()[0]
    tables = [
        embeddings.word_embeddings.weight,
        positions,
        embeddings.LayerNorm.weight,
        embeddings.LayerNorm.bias,
        *(value for projection in modules[1:] for value in (projection.weight, projection.bias)),
    ]
    return [table.detach().float().contiguous() for table in tables]


def embeddings_structure(tables: Sequence[Tensor], modules: Sequence[Any]) -> native.Embeddings:
    """Return the kernels' structure of `embedding_tables(modules)`; the tables must outlive its use."""
    words, positions, gamma, beta, *projection = tables
    return native.Embeddings(
        *(table.data_ptr() for table in (words, positions, gamma, beta)),
        *((table.data_ptr() for table in projection) if projection else (None, None)),
        modules[0].dropout.p,
        *(len(words), len(positions), words.shape[1]),
    )


def position_bias(encoder: Any, reach: int) -> Tensor:
    """Return MPNet's bias of the attention scores by relative position (arXiv:2004.09297, section 2.3).

    Args:
        encoder: the module that holds the layers.
        reach: number of positions.

    Returns:
        float32 [heads, 2 * reach - 1], for the distances from -(reach - 1) to reach - 1.
    """
    with torch.no_grad():
        buckets = encoder.relative_position_bucket(torch.arange(-(reach - 1), reach))
        table: Tensor = encoder.relative_attention_bias(buckets).float().t().contiguous()
    return table


def ffn_size(family: Family, config: Mapping[str, Any]) -> int:
    """Return the channels of the feed-forward part, for an encoder with this config.json."""
    return family.matrices(family.values(config))["ffn_up"].outputs


def norm_and_dropouts(layer: Any, family: Family) -> tuple[float, float, float, float]:
    """Return the epsilon of a layer's norms, and the dropout of its attention, attention output and FFN output."""
    modules = _modules(family)
    names = (modules.attention_dropout, *modules.output_dropouts)
    epsilon = layer.get_submodule(modules.norms[0]).eps
    attention, attention_output, ffn_output = (
        0.0 if name is None else layer.get_submodule(name).p for name in names
    )
    return epsilon, attention, attention_output, ffn_output


def _modules(family: Family) -> KernelModules:
    if family.kernels is None:
        raise ValueError(f"there are no kernels for {family.name} encoders")
    return family.kernels
