"""Collects the tensors that the packed kernels read: frozen weights, embedding tables, biases, adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from submillion.model.page_release import release_pages
from submillion.native import interface

if TYPE_CHECKING:
    from submillion.families.family import Family

# By target, the names of its parts in the kernels' interface, one below the other in the matrix.
PARTS = {
    "query": ("q",),
    "key": ("k",),
    "value": ("v",),
    "qkv": ("q", "k", "v"),
    "attention_output": ("out",),
    "ffn_up": ("up",),
    "ffn_down": ("down",),
}
GATED_PARTS = PARTS | {"ffn_up": ("up", "gate")}


class Adapter(NamedTuple):
    """The LoRA of one matrix: W x + scale * B A dropout(x); DoRA, if it has a magnitude."""

    a: nn.Parameter
    """[r, inputs]."""
    b: nn.Parameter
    """[outputs, r]."""
    scale: float
    dropout: float
    """Share of the inputs that is dropped."""
    magnitude: nn.Parameter | None = None
    """[outputs], of DoRA."""
    weight_squares: Tensor | None = None
    """The sum of the squares of each row of W, [outputs], with DoRA."""

    @property
    def trained(self) -> list[nn.Parameter]:
        """A, B and the magnitude if there is one."""
        return [value for value in (self.a, self.b, self.magnitude) if value is not None]


def adapters_of(layer: nn.Module, family: Family) -> list[Adapter | None]:
    """Return the adapter of each of the kernels' targets, None for one without an adapter.

    An adapter of query, key and value as one matrix takes the place of the query.
    """
    adapters: list[Adapter | None] = []
    for target in interface.TARGETS:
        own = "qkv" if target == "query" and "qkv" in family.suffixes else target
        module: Any = layer.get_submodule(family.suffixes[own]) if own in family.suffixes else None
        if not hasattr(module, "lora_A"):
            adapters.append(None)
            continue
        dropout = getattr(module.lora_dropout["default"], "p", 0.0)
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        adapter = Adapter(a, b, float(module.scaling["default"]), float(dropout))
        if module.use_dora.get("default"):
            weight = module.base_layer.weight.detach()
            squares = torch.linalg.vector_norm(weight.float(), dim=1).square()
            release_pages([weight])
            magnitude = module.lora_magnitude_vector["default"].weight
            adapter = adapter._replace(magnitude=magnitude, weight_squares=squares)
        adapters.append(adapter)
    return adapters


def layer_tensors(layer: nn.Module, family: Family) -> dict[str, Tensor]:
    """Return a layer's frozen weights by their names in the kernels' interface."""
    tensors: dict[str, Tensor] = {}
    for target, names in _parts(family).items():
        module: Any = layer.get_submodule(family.suffixes[target])
        linear = getattr(module, "base_layer", module)
        tensors |= _split(names, linear.weight)
        tensors |= _split([f"{name}_bias" for name in names], _or_zeros(linear.bias, len(linear.weight)))
    for number, path in enumerate(family.kernels.norms, 1):
        norm: Any = layer.get_submodule(path)
        if isinstance(norm, nn.LayerNorm):
            beta = _or_zeros(norm.bias, len(norm.weight))
            tensors |= {f"norm{number}_gamma": norm.weight, f"norm{number}_beta": beta}
    return tensors


def layer_values(layer: nn.Module, family: Family, merged: bool) -> dict[str, Tensor]:
    """Return a layer's weights as the kernels read them: float32, contiguous.

    Args:
        layer: of the encoder.
        family: the encoder's.
        merged: add the adapters to the matrices.
    """
    tensors = layer_tensors(layer, family)
    values = {name: value.detach().float().contiguous() for name, value in tensors.items()}
    if merged:
        for target, names in _parts(family).items():
            module: Any = layer.get_submodule(family.suffixes[target])
            if hasattr(module, "lora_A"):
                for name, delta in _split(names, _delta(module)).items():
                    values[name] = values[name] + delta
    return values


def release_layer(layer: nn.Module, family: Family) -> None:
    """Release the pages of a layer's frozen weights, once the kernels have their own layout of them."""
    tensors = layer_tensors(layer, family).values()
    release_pages(value.detach() for value in tensors if not value.requires_grad)


def _delta(module: Any) -> Tensor:
    """Return what merging its adapter adds to a matrix, float32 [outputs, inputs]."""
    delta: Tensor = module.get_delta_weight("default").detach().float()
    if not module.use_dora.get("default"):
        return delta
    weight: Tensor = module.base_layer.weight.detach().float()
    merged = weight + delta
    magnitude: Tensor = module.lora_magnitude_vector["default"].weight.detach()
    scales: Tensor = magnitude / torch.linalg.vector_norm(merged, dim=1)
    return scales[:, None] * merged - weight


def embedding_tables(modules: Sequence[Any], family: Family) -> dict[str, Tensor]:
    """Return the tables, the norm and, if there is one, the projection by their names in the kernels' interface.

    All are float32. All tokens are of type 0, so its embedding is part of the positions.

    Args:
        modules: the embeddings and, if the family has one, the projection from embedding size to hidden size.
        family: the encoder's.
    """
    embeddings, names = modules[0], family.kernels.embeddings
    words, norm = embeddings.get_submodule(names.words), embeddings.get_submodule(names.norm)
    beta = _or_zeros(norm.bias, len(norm.weight))
    tables = {"words": words.weight, "norm_gamma": norm.weight, "norm_beta": beta}
    positions = None if names.positions is None else getattr(embeddings, names.positions)
    types = getattr(embeddings, "token_type_embeddings", None)
    if positions is not None:
        tables["positions"] = positions.weight.detach().float()
    elif types is not None:
        tables["positions"] = torch.zeros(embeddings.position_ids.shape[-1], types.embedding_dim)
    if types is not None:
        tables["positions"] = tables["positions"] + types.weight.detach()[0]
    for projection in modules[1:]:
        tables |= {"projection": projection.weight, "projection_bias": projection.bias}
    return {name: table.detach().float().contiguous() for name, table in tables.items()}


def rotations(encoder: Any, positions: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return ModernBERT's cosines and sines by kind of attention, as its own module computes them.

    Args:
        encoder: the module that holds the layers.
        positions: number of positions.

    Returns:
        For `full_attention` and `sliding_attention`, float32 [positions, half of a head's channels] each; the other
        half has the same angles.
    """
    rows, like = torch.arange(positions)[None], torch.empty(0)
    tables: dict[str, tuple[Tensor, Tensor]] = {}
    for kind in sorted(set(encoder.config.layer_types)):
        cos, sin = (
            value[0].chunk(2, dim=-1)[0].contiguous() for value in encoder.rotary_emb(like, rows, kind)
        )
        tables[kind] = cos, sin
    return tables


def final_norm(norm: Any) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the norm after the last layer, float32 [D]."""
    beta = _or_zeros(norm.bias, len(norm.weight))
    return norm.weight.detach().float().contiguous(), beta.detach().float().contiguous()


def embeddings_structure(
    tables: Mapping[str, Tensor], modules: Sequence[Any], family: Family
) -> interface.Embeddings:
    """Return the kernels' structure of `embedding_tables(modules, family)`; the tables must outlive its use."""
    return interface.Embeddings(
        **{name: table.data_ptr() for name, table in tables.items()},
        dropout=modules[0].get_submodule(family.kernels.embeddings.dropout).p,
        word_rows=len(tables["words"]),
        position_rows=len(tables["positions"]) if "positions" in tables else 0,
        channels=tables["words"].shape[1],
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


def relative_positions(encoder: Any, reach: int) -> tuple[Tensor, Tensor]:
    """Return DeBERTa's relative embeddings, and the row of each distance, as its own modules compute them.

    Args:
        encoder: the module that holds the layers.
        reach: number of positions.

    Returns:
        The embeddings, float32 [rows, D], and int32 [2 * reach - 1], for the distances from a key to its query from
        -(reach - 1) to reach - 1.
    """
    with torch.no_grad():
        one, all_positions = torch.empty(1, 0), torch.empty(reach, 0)
        of_keys: Tensor = encoder.get_rel_pos(all_positions, query_states=one).flatten()  # 0, -1, ...
        of_queries: Tensor = encoder.get_rel_pos(one, query_states=all_positions).flatten()  # 0, 1, ...
        span = encoder.layer[0].get_submodule("attention.self").pos_ebd_size
        distances = torch.cat([of_keys.flip(0), of_queries[1:]])
        rows = torch.clamp(distances + span, 0, 2 * span - 1).int().contiguous()
        table: Tensor = encoder.get_rel_embedding()[: 2 * span].float().contiguous()
    return table, rows


def ffn_size(family: Family, config: Mapping[str, Any]) -> int:
    """Return the channels of the feed-forward part, for an encoder with this config.json."""
    return family.matrices(family.values(config))["ffn_down"].inputs


def norm_and_dropouts(layer: Any, family: Family) -> tuple[float, float, float, float]:
    """Return the epsilon of a layer's norms, and the dropout of its attention, attention output and FFN output."""
    modules = family.kernels
    names = (modules.attention_dropout, *modules.output_dropouts)
    epsilon = layer.get_submodule(modules.norms[1]).eps
    attention, attention_output, ffn_output = (
        0.0 if name is None else getattr(layer.get_submodule(name), "p", 0.0) for name in names
    )
    return epsilon, attention, attention_output, ffn_output


def _parts(family: Family) -> dict[str, tuple[str, ...]]:
    parts = GATED_PARTS if family.kernels.pre_norm else PARTS
    return {target: parts[target] for target in family.targets}


def _split(names: Sequence[str], tensor: Tensor) -> dict[str, Tensor]:
    return dict(zip(names, tensor.chunk(len(names)), strict=True))


def _or_zeros(bias: Tensor | None, size: int) -> Tensor:
    return torch.zeros(size) if bias is None else bias
